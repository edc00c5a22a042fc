"""`l2ae fit --seeds`: a folder of runs, how far they agree, and the run that stands for them."""

import json
from pathlib import Path

import numpy as np
import pytest

from l2ae_core import commands
from l2ae_core.cli import main
from l2ae_core.clustering.agreement import RunAgreement, agreement_between_runs
from l2ae_core.clustering.metrics import nmi
from l2ae_core.seeds.fit import TrainedSeeds, fit_seeds
from l2ae_core.seeds.runs import SeedAgreement, SeedRuns
from l2ae_core.seeds.table import format_table

from .small import OPTIONS, SMALL, assert_equal_runs, clusters, labels_of


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


@pytest.mark.slow
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
