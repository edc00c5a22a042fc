"""Images of three kinds, and runs on them that go on with their own labels."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core.commands import TrainedRun, fit

from .small_runs import SMALL


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """48 images of three kinds, with labels."""
    rng, y = np.random.default_rng(0), np.arange(48) % 3
    x = rng.random((48, 8, 8)) * 0.2
    for kind in range(3):
        x[y == kind, :, kind * 3 : kind * 3 + 2] += 0.8
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=x, y=y)
    return str(path)


@pytest.fixture
def start(images: str, tmp_path: Path) -> Callable[..., TrainedRun]:
    """Train into a folder, every epoch and round with a checkpoint."""

    def train(name: str, resume: bool = False, **settings: Any) -> TrainedRun:
        given = settings if resume else {"data": images, **settings}
        return fit(tmp_path / name, given, resume=resume, checkpoint_every=1, progress=False)

    return train


@pytest.fixture(scope="module")
def whole(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SMALL that never stopped; tests read it, or copy it."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    fit(run, {"data": images, **SMALL}, progress=False)
    return run


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")
