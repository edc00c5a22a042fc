"""A training of a second, shared by the tests; as a script, one that ends only when it is killed.

python small_training.py RUN_DIR
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from sklearn.datasets import load_digits

from l2ae_core.networks import Architecture, build
from l2ae_core.seeding import rngs
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import Adam
from l2ae_kernels.cpu.threads import use_threads

ARCHITECTURE = Architecture(
    "cae", (8, 8, 1), latent_dim=4, norm="l2", hidden_norm="batch", affine=True, filters=(4, 6, 8)
)
FIT = {"batch_size": 32, "checkpoint_every": 2, "progress": False}


def digits(count=150):
    """The first images of scikit-learn's digits, (count, 8, 8, 1) float32; 150 is 4.7 batches."""
    return (load_digits().images[:count, :, :, None] / 16).astype(np.float32)


def start(seed=0, architecture=ARCHITECTURE, learning_rate=1e-2):
    """A model, an optimizer and a generator as they are before the first epoch."""
    s = rngs(seed)
    model = build(architecture, s.init)
    return SimpleNamespace(model=model, optimizer=Adam(learning_rate), rng=s.shuffle)


def train(epochs, run_dir=None, *, seed=0, resume=False, **changes):
    """Start and fit; returns what `start` does, with the history."""
    t = start(seed)
    t.history = fit(
        t.model,
        digits(),
        epochs=epochs,
        optimizer=t.optimizer,
        rng=t.rng,
        run_dir=run_dir,
        resume=resume,
        **(FIT | changes),
    )
    return t


if __name__ == "__main__":
    use_threads(1)
    train(10**9, Path(sys.argv[1]))
