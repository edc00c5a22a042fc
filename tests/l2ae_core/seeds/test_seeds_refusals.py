"""What `l2ae fit --seeds` refuses, before a file changes; the lock of its folder."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from l2ae_core import commands
from l2ae_core.locks import locked
from l2ae_core.seeds import fit as seeds_fit
from l2ae_core.seeds.fit import fit_seeds
from l2ae_core.seeds.runs import SeedRuns

from .small import SMALL


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("seeds", [1, 0, -3, 1001, 2.5, True, "3"])
def test_a_number_of_seeds_that_cannot_be_is_named(seeds: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fit: seeds is "):
        fit_seeds(tmp_path / "runs", SMALL, seeds, progress=False)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"seed": (1 << 64) - 2}, "seed is"),
        ({"seed": -1}, "seed is -1"),
        ({"clusters": 5000}, "clusters is 5000"),
        ({"anomaly_class": 3}, "seeds is 3 but anomaly_class is 3"),
        ({"batchsize": 8}, "no setting 'batchsize'"),
        ({"data": "nowhere"}, "nowhere"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_a_file(
    given: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, OSError), match=named):
        fit_seeds(tmp_path / "runs", SMALL | given, 3, progress=False)
    assert not (tmp_path / "runs").exists()


Refusal = tuple[Callable[[Path], object], str]
REFUSED: dict[str, Refusal] = {
    "fresh": (lambda runs: fit_seeds(runs, SMALL, 3), "holds runs of several seeds already"),
    "single": (lambda runs: commands.fit(runs, SMALL), "holds runs of several seeds: choose"),
    "in a run": (lambda runs: fit_seeds(runs / "seed-7", SMALL, 2), "is a single run"),
    "resume a run": (lambda runs: fit_seeds(runs / "seed-7", {}, resume=True), "no runs of"),
    "other number": (lambda runs: fit_seeds(runs, {}, 4, resume=True), "seeds is 4 but .* with 3"),
    "other seed": (lambda runs: fit_seeds(runs, {"seed": 8}, resume=True), "is 8 but .* with 7"),
    "norm": (lambda runs: fit_seeds(runs, {"norm": "none"}, resume=True), "norm is 'none' but"),
    "batch size": (lambda runs: fit_seeds(runs, {"batch_size": 9}, resume=True), "size is 9 but"),
    "clusters": (lambda runs: fit_seeds(runs, {"clusters": 5000}, resume=True), "clusters is 5000"),
}  # fmt: skip


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_the_folder_is_refused(case: str, runs: Path) -> None:
    call, named = REFUSED[case]
    before = {p: p.read_bytes() for p in runs.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=named):
        call(runs)
    assert {p: p.read_bytes() for p in runs.rglob("*") if p.is_file()} == before


@pytest.mark.usefixtures("no_training")
def test_a_run_that_is_there_is_not_overwritten(runs: Path) -> None:
    (runs / "seeds.json").unlink()
    with pytest.raises(ValueError, match=r"seed-7: already trained"):
        fit_seeds(runs, SMALL, 2, progress=False)


def test_the_folder_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first training to the comparison."""
    tried, plain = [], seeds_fit.fit

    def watched(*arguments: Any, **keywords: Any) -> Any:
        with ThreadPoolExecutor(1) as other:
            tried.append(other.submit(locked(tmp_path).__enter__).exception(timeout=20))
        return plain(*arguments, **keywords)

    monkeypatch.setattr(seeds_fit, "fit", watched)
    fit_seeds(tmp_path, SMALL, 2, progress=False)
    assert [type(error) for error in tried] == [BlockingIOError] * 2


GOOD: dict[str, Any] = {
    "format": "l2ae-seeds", "version": 1, "seeds": [0, 1, 2],
    "agreement": {"nmi": [[1, 0.5, 0.5]] * 3, "mean_nmi": [0.5] * 3, "chosen": 0,
                  "verdicts": ["agrees", "agrees", "stands apart"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"version": 2}, "'version' is 2"),
        ({"format": "l2ae-result"}, "'format' is 'l2ae-result'"),
        ({"seeds": [0]}, "two or more"),
        ({"seeds": [0, 0, 1]}, "different integers"),
        ({"seeds": [0, 1, -1]}, "≥ 0"),
        ({"seeds": ["../../x", "a", "b"]}, r"seeds\[0\]"),
        ({"seeds": [0, 1]}, "not that of the 2 seeds"),
        ({"agreement": GOOD["agreement"] | {"chosen": 3}}, "not that of the 3 seeds"),
        ({"agreement": GOOD["agreement"] | {"nmi": [[1.0]]}}, "not that of the 3 seeds"),
        ({"agreement": GOOD["agreement"] | {"verdicts": ["agrees"] * 2}}, "not that of the 3"),
        ({"agreement": GOOD["agreement"] | {"verdicts": None}}, "verdicts"),
        ({"agreement": GOOD["agreement"] | {"verdicts": ["good"] * 3}}, "verdicts"),
    ],
)
def test_a_damaged_file_is_refused(changed: dict[str, Any], named: str, tmp_path: Path) -> None:
    (tmp_path / "seeds.json").write_text(json.dumps(GOOD))
    assert SeedRuns.read(tmp_path).agreement is not None
    (tmp_path / "seeds.json").write_text(json.dumps(GOOD | changed))
    with pytest.raises(ValueError, match=named) as told:
        SeedRuns.read(tmp_path)
    assert str(told.value).startswith(str(tmp_path / "seeds.json"))
