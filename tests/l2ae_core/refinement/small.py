"""Small self-labellings of 150 digits: images, networks, settings, and what ends one early."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from l2ae_core.data.digits import load_digits
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.refinement import SelfLabelled, SelfLabelling, self_label
from l2ae_core.refinement.step import JointStep
from l2ae_core.training.augment import Warp
from l2ae_core.training.history import EpochRecord
from l2ae_kernels.arrays import Array

N, BATCH, ROUNDS = 150, 32, 3  # 5 steps a round, the last of 22 images
STEPS = 5 * ROUNDS
SETTINGS = SelfLabelling(
    10, rounds=ROUNDS, tol=0.0, batch_size=BATCH, n_init=3, warp=Warp(20.0, 0.2, 0.1)
)
TIMES = {"seconds", "images_per_second"}  # of a record


def images() -> Array:
    return load_digits(None, "all").images[:N]


def network(kind: str = "dense", norm: str = "l2", seed: int = 0) -> AutoEncoder:
    sizes: dict[str, Any] = {"latent_dim": 4, "hidden": (16, 8), "filters": (4, 6, 8)}
    if kind == "dense":
        sizes["slope"] = 0.3
    return build(Architecture(kind, (8, 8, 1), norm=norm, **sizes), np.random.default_rng(seed))


def run(
    model: AutoEncoder | None = None, start: Any = None, **changes: Any
) -> tuple[AutoEncoder, SelfLabelled]:
    """Self-label a small network; return it with what was found."""
    names = ("run_dir", "resume", "checkpoint_every")
    arguments = {name: changes.pop(name) for name in names if name in changes}
    model, start = model or network(), np.random.default_rng(5) if start is None else start
    found = self_label(
        model, images(), start, replace(SETTINGS, **changes), rng=np.random.default_rng(7),
        progress=False, **arguments,
    )  # fmt: skip
    return model, found


def untimed(record: EpochRecord) -> dict[str, Any]:
    return {name: value for name, value in record.to_dict().items() if name not in TIMES}


def bits(model: AutoEncoder, found: SelfLabelled) -> Any:
    """All that was found and trained, but for the seconds."""
    arrays = {**model.params, **model.state, "centers": found.assignment.centers}
    arrays |= {"labels": found.labels, "start_labels": found.start_labels}
    kept = {name: (a.dtype.name, a.tobytes()) for name, a in arrays.items()}
    return kept, [untimed(r) for r in found.history], found.stopped


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let step number `after`, counted from 0, be a Ctrl-C."""
    real, calls = JointStep.__call__, iter(range(10**6))

    def interrupted(step: JointStep, x: Array) -> float:
        if next(calls) == after:
            raise KeyboardInterrupt
        return real(step, x)

    monkeypatch.setattr(JointStep, "__call__", interrupted)
