"""Small refinements: images, networks, settings."""

from dataclasses import replace

import numpy as np

from l2ae_core.baselines.dec import DecSettings, refine
from l2ae_core.data.digits import load_digits
from l2ae_core.networks import Architecture, build
from l2ae_core.refinement.step import JointStep

N = 150  # images of the small runs: 4.7 batches
SMALL = {"update_interval": 4, "max_iter": 22, "batch_size": 32, "n_init": 3, "tol": 0.0}
SETTINGS = {
    "dec": DecSettings("dec", optimizer="sgd", learning_rate=0.05, **SMALL),
    "idec": DecSettings("idec", **SMALL),
    "dcec": DecSettings("dcec", **SMALL),
}
STARTS = [0, 4, 8, 12, 16, 20, 22]  # iterations at which the target is updated


def images(count=N):
    return load_digits(None, "all").images[:count]


def network(method="idec", norm="none", seed=0):
    kind = "cae" if method == "dcec" else "dense"
    sizes = {"latent_dim": 4, "hidden": (16, 8), "filters": (4, 6, 8), "slope": 0.3}
    return build(Architecture(kind, (8, 8, 1), norm=norm, **sizes), np.random.default_rng(seed))


def run(method="idec", model=None, start=None, **changes):
    """Refine a small network; return it with the result."""
    names = ("run_dir", "resume", "checkpoint_every")
    arguments = {name: changes.pop(name) for name in names if name in changes}
    model, settings = model or network(method), replace(SETTINGS[method], **changes)
    start = np.random.default_rng(5) if start is None else start
    return model, refine(model, images(), start, settings, progress=False, **arguments)


def bits(model, refined):
    arrays = {**model.params, "centers": refined.centers, "labels": refined.labels}
    arrays["start_labels"] = refined.start_labels
    return {name: (a.dtype.name, a.tobytes()) for name, a in arrays.items()}, refined.history


def interrupt(monkeypatch, after):
    """Let step number `after`, counted from 0, be a Ctrl-C."""
    real, calls = JointStep.__call__, []

    def interrupted(step, x):
        calls.append(None)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        return real(step, x)

    monkeypatch.setattr(JointStep, "__call__", interrupted)
