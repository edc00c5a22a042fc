"""`l2ae fit --seeds --resume`: what is missing is trained, what is there stays."""

from pathlib import Path
from typing import Any

import pytest

from l2ae_core.cli import main
from l2ae_core.seeds.fit import fit_seeds
from l2ae_core.training import loop
from l2ae_core.training.history import read_history

from .small import OPTIONS, SMALL, assert_equal_runs


class Interruption:
    """Ctrl-C after so many epochs of all trainings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.trained, plain = 0, loop._train_epoch

        def train_epoch(*arguments: Any) -> Any:
            if self.trained == after:
                raise KeyboardInterrupt
            self.trained += 1
            return plain(*arguments)

        monkeypatch.setattr(loop, "_train_epoch", train_epoch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trainings of two epochs each, without interruption."""
    out = tmp_path_factory.mktemp("seeds") / "whole"
    fit_seeds(out, SMALL | {"epochs": 2}, 3, checkpoint_every=1, progress=False)
    return out


@pytest.mark.parametrize(
    "after", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 5))]
)
def test_a_resume_goes_on_with_what_is_missing(
    after: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The folder ends like one without interruption."""
    call = ["fit", "--seeds", "3", "--out", str(tmp_path / "runs"), *OPTIONS, "--epochs", "2",
            "--checkpoint-every", "1"]  # fmt: skip
    with monkeypatch.context() as patch:
        Interruption(patch, after)
        assert main(call) == 130
    said = capsys.readouterr().err
    assert f"seed {7 + after // 2}" in said
    assert f"l2ae fit --resume --out {tmp_path / 'runs'}" in said
    assert main(["cluster", str(tmp_path / "runs"), "--data", "digits"]) == 1
    assert "not all 3 are trained" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        rest = Interruption(patch, 99)
        assert main(["fit", "--resume", "--out", str(tmp_path / "runs"), "--quiet"]) == 0
    assert rest.trained == 6 - after
    assert_equal_runs(tmp_path / "runs", whole, range(7, 10))


@pytest.mark.usefixtures("no_training")
def test_finished_runs_are_left_as_they_are(runs: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in runs.glob("seed-*/*")}
    assert main(["fit", "--resume", "--seeds", "3", "--out", str(runs), "--quiet"]) == 0
    assert {p: p.stat().st_mtime_ns for p in runs.glob("seed-*/*")} == before


@pytest.mark.slow
def test_a_resume_may_have_more_epochs_and_other_clusters(runs: Path, tmp_path: Path) -> None:
    changed = {"epochs": 2, "clusters": 5}
    fit_seeds(tmp_path / "fresh", SMALL | changed, 3, progress=False)
    fit_seeds(runs, changed, resume=True, progress=False)
    assert_equal_runs(runs, tmp_path / "fresh", range(7, 10))


@pytest.mark.slow
def test_more_epochs_for_some_of_the_runs_have_to_be_named(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Interruption(patch, 1)
        assert main(["fit", "--resume", "--epochs", "2", "--out", str(runs), "--quiet"]) == 130
    with pytest.raises(ValueError, match=r"epochs is 1 in .*seed-9 but 2 in .*seed-7: give one"):
        fit_seeds(runs, {}, resume=True, progress=False)
    fit_seeds(runs, {"epochs": 2}, resume=True, progress=False)
    assert [len(read_history(runs / f"seed-{seed}")) for seed in (7, 8, 9)] == [2, 2, 2]
