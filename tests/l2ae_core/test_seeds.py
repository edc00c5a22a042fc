"""`l2ae fit --seeds`: a folder of runs, how far they agree, and the run that stands for them."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import commands
from l2ae_core.cli import main
from l2ae_core.clustering.agreement import RunAgreement, agreement_between_runs
from l2ae_core.clustering.metrics import nmi
from l2ae_core.locks import locked
from l2ae_core.seeds import fit as seeds_fit
from l2ae_core.seeds.fit import TrainedSeeds, fit_seeds
from l2ae_core.seeds.runs import SeedAgreement, SeedRuns
from l2ae_core.seeds.table import format_table
from l2ae_core.training import loop
from l2ae_core.training.history import read_history

SMALL: dict[str, Any] = {"epochs": 1, "n_init": 1, "seed": 7}
OPTIONS = ["--quiet", "--epochs", "1", "--n-init", "1", "--seed", "7"]


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


def labels_of(run: Path, data: str = "digits") -> np.ndarray:
    return commands.cluster(run, data, progress=False)[0]["cluster"]


def clusters(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "clusters.npz") as file:
        return dict(file)


def assert_equal_runs(a: Path, b: Path, seeds: range) -> None:
    assert json.loads((a / "seeds.json").read_text()) == json.loads((b / "seeds.json").read_text())
    for seed in seeds:
        found, expected = clusters(a / f"seed-{seed}"), clusters(b / f"seed-{seed}")
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_every_seed_has_a_run_of_its_own(trained: Path, tmp_path: Path) -> None:
    assert {p.name for p in trained.iterdir()} == {
        "seeds.json",
        "gallery.npz",
        "seed-7",
        "seed-8",
        "seed-9",
    }
    commands.fit(tmp_path / "alone", SMALL | {"seed": 8}, progress=False)
    alone, found = clusters(tmp_path / "alone"), clusters(trained / "seed-8")
    np.testing.assert_array_equal(found["centers"], alone["centers"])


def test_seeds_json_tells_the_agreement_of_the_clusters(trained: Path) -> None:
    found = SeedRuns.read(trained)
    assert found.seeds == [7, 8, 9]
    labels = [labels_of(trained / f"seed-{seed}") for seed in found.seeds]
    expected = agreement_between_runs(labels)
    assert found.agreement is not None
    np.testing.assert_allclose(found.agreement.nmi, expected.nmi)
    np.testing.assert_allclose(found.agreement.mean_nmi, expected.mean)
    assert found.agreement.chosen == found.seeds[expected.medoid]
    assert found.agreement.verdicts is not None


def test_seeds_are_told_for_the_positions_of_runs() -> None:
    found = RunAgreement(np.eye(3), np.array([0.7, 0.2, 0.8]), 2, np.array([False, True, False]))
    by_seed = SeedAgreement.of(found, [4, 5, 6])
    assert by_seed.chosen == 6
    assert by_seed.verdicts == ["agrees", "stands apart", "agrees"]


def test_the_table_names_seeds_agreement_and_choice(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--resume", "--out", str(runs), "--quiet"]) == 0
    shown = capsys.readouterr().out
    found = SeedRuns.read(runs).agreement
    assert found is not None
    rows = {line.split()[0]: line for line in shown.splitlines()}
    for seed, mean in zip((7, 8, 9), found.mean_nmi, strict=True):
        assert f"{mean:.4f}" in rows[f"{seed}"]
    assert f"{runs / f'seed-{found.chosen}'} agrees most" in shown


def test_the_table_has_the_scores_of_the_clusters_that_are_compared(tmp_path: Path) -> None:
    scores = {"acc": 0.25, "chance": {"acc": 0.1}}
    metrics = [{"seconds": 1, "epochs": 2, "images": 3, "best": {"acc": 0.125}, "last": scores}] * 2
    low, high = ([[1.0, nmi], [nmi, 1.0]] for nmi in (0.25, 0.75))
    for matrix, warned in ((low, True), (high, False)):
        agreement = SeedAgreement(matrix, [matrix[0][1]] * 2, 0)
        shown = format_table(tmp_path, TrainedSeeds([0, 1], [], metrics, "last", agreement))
        assert "0.2500" in shown
        assert "0.1250" not in shown
        assert ("depend on the seed" in shown) == warned


def test_self_labelled_clusters_are_compared(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained runs go on; afterwards a change of what came before is refused, and loses nothing."""
    call = ["fit", "--resume", "--out", str(runs), "--quiet"]
    assert main([*call, "--self-label", "--rounds", "1"]) == 0
    found = SeedRuns.read(runs).agreement
    assert found is not None
    expected = agreement_between_runs([labels_of(runs / f"seed-{seed}") for seed in (7, 8, 9)])
    np.testing.assert_allclose(found.nmi, expected.nmi)
    metrics = json.loads((runs / "seed-8" / "metrics.json").read_text())
    assert f"{metrics['self_labelled']['acc']:.4f}" in capsys.readouterr().out
    assert main([*call, "--epochs", "2"]) == 1
    assert "self-labelled network of epochs 1" in capsys.readouterr().err
    assert SeedRuns.read(runs).agreement is not None


@pytest.mark.parametrize("command", ["cluster", "score"])
def test_commands_take_the_chosen_run(
    command: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the one that the training chose: the one that seeds.json names."""
    found = SeedRuns.read(runs)
    assert found.agreement is not None
    for chosen in found.seeds:
        agreement = SeedAgreement(found.agreement.nmi, found.agreement.mean_nmi, chosen,
                                  found.agreement.verdicts)  # fmt: skip
        SeedRuns(found.seeds, agreement).write(runs)
        run = runs / f"seed-{chosen}"
        assert main([command, str(runs), "--data", "digits", "--device", "cpu"]) == 0
        of_folder = capsys.readouterr()
        assert main([command, str(run), "--data", "digits", "--device", "cpu"]) == 0
        of_run = capsys.readouterr()
        assert of_folder.out == of_run.out
        assert f"{run} is used" in of_folder.err
        assert "is used" not in of_run.err


def test_two_runs_have_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs"
    assert main(["fit", "--seeds", "2", "--out", str(out), *OPTIONS]) == 0
    shown = capsys.readouterr().out
    assert "agrees" not in shown
    assert "not which is better" in shown
    found = SeedRuns.read(out).agreement
    assert found is not None
    assert found.verdicts is None
    assert found.chosen == 7
    expected = nmi(labels_of(out / "seed-7"), labels_of(out / "seed-8"))
    np.testing.assert_allclose(found.mean_nmi, expected)


def test_labels_have_no_say(tmp_path: Path) -> None:
    digits = np.random.default_rng(0).random((40, 8, 8))
    for name, y in {"with": {"y": np.arange(40) % 3}, "without": {}}.items():
        np.savez(tmp_path / f"{name}.npz", x=digits, **y)
        settings = SMALL | {"data": str(tmp_path / f"{name}.npz"), "clusters": 4}
        fit_seeds(tmp_path / name, settings, 3, progress=False)
    assert_equal_runs(tmp_path / "with", tmp_path / "without", range(7, 10))


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


@pytest.mark.parametrize(
    "after", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)), 5]
)
def test_a_resume_goes_on_with_what_is_missing(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of three trainings of two epochs each; the folder ends like one without interruption."""
    settings = SMALL | {"epochs": 2}
    fit_seeds(tmp_path / "whole", settings, 3, checkpoint_every=1, progress=False)
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
    assert_equal_runs(tmp_path / "runs", tmp_path / "whole", range(7, 10))


@pytest.mark.usefixtures("no_training")
def test_finished_runs_are_left_as_they_are(runs: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in runs.glob("seed-*/*")}
    assert main(["fit", "--resume", "--seeds", "3", "--out", str(runs), "--quiet"]) == 0
    assert {p: p.stat().st_mtime_ns for p in runs.glob("seed-*/*")} == before


def test_a_resume_may_have_more_epochs_and_other_clusters(runs: Path, tmp_path: Path) -> None:
    changed = {"epochs": 2, "clusters": 5}
    fit_seeds(tmp_path / "fresh", SMALL | changed, 3, progress=False)
    fit_seeds(runs, changed, resume=True, progress=False)
    assert_equal_runs(runs, tmp_path / "fresh", range(7, 10))


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
