"""Runs of several seeds on the embedded digits."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from l2ae_core.cli import main
from l2ae_core.training import loop

from .small import OPTIONS


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs on the embedded digits."""
    out = tmp_path_factory.mktemp("seeds") / "runs"
    assert main(["fit", "--seeds", "3", "--out", str(out), *OPTIONS]) == 0
    return out


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "runs")


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train_epoch(*arguments: Any) -> None:
        pytest.fail("a step was taken")

    monkeypatch.setattr(loop, "_train_epoch", train_epoch)
