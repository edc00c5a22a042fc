"""The section on what goes beyond the paper: tables, sentences and figures of what was run."""

import re
from dataclasses import replace

import pytest

import agreement
import beyond
import beyond_tables
import results_page
from agreement import SeedAgreement
from l2ae_bench.machine import ROOT
from l2ae_core import data
from l2ae_core.clustering.metrics import nmi
from l2ae_core.clusters import SavedClusters
from l2ae_core.paper import Run, read_results
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.schedule import run_missing
from l2ae_core.training.run import load_run
from l2ae_kernels import ops
from scores import Numbers

BEST, WARPED, RECIPE = beyond_tables.BEST, beyond_tables.WARPED, beyond_tables.RECIPE


@pytest.fixture(scope="module")
def template():
    """A result of the repository, without what this section reads."""
    return read_results(ROOT / results_page.RUNS / "clustering-usps-cae.jsonl")[0]


@pytest.fixture
def made(template):
    """Return results of given accuracies, in percent, by data set and system."""

    def make(found):
        results = []
        for (source, system), accuracies in found.items():
            for seed, percent in enumerate(accuracies):
                scores = {"acc": percent / 100, "nmi": percent / 100 - 0.05, "ari": 0.5}
                if "self" in system:
                    scores |= {"argmax.acc": percent / 100 + 0.001, "argmax.nmi": 0.5, "rounds": 17}
                    scores["start.acc"] = percent / 100 - 0.1
                run = Run("clustering", system, source, seed, 100)
                results.append(replace(template, run=run, scores=scores))
        return Numbers(results)

    return make


USPS = {
    ("usps", RECIPE): [90.0, 92.0, 78.0],
    ("usps", WARPED): [92.0, 93.0, 94.0],
    ("usps", BEST): [98.0, 97.5],
}
AGREEMENT = SeedAgreement(
    data="usps", system=WARPED, epochs=100, seeds=[0, 1, 2], acc=[0.92, 0.93, 0.94],
    nmi=[[1, 0.7, 0.7], [0.7, 1, 0.9], [0.7, 0.9, 1]], mean_nmi=[0.7, 0.8, 0.8], medoid=1,
    apart=[0],
)  # fmt: skip


def test_without_runs_there_is_no_section(made):
    assert beyond.section(made({}), [], []) == []
    assert beyond.section(made({("usps", RECIPE): [90.0]}), [], []) == []
    assert beyond.figures(made({}), []) == {}


@pytest.mark.parametrize("system", [*beyond_tables.BEYOND])
@pytest.mark.parametrize("data", ["usps", "digits"])
def test_one_run_of_anything_makes_a_section(system, data, made):
    n = made({(data, system): [90.0]})
    assert beyond.section(n, [], [])[0] == "## Beyond the paper"
    beyond.figures(n, [])


def test_systems_stand_beside_the_recipe_and_the_published(made):
    table = beyond_tables.systems(made(USPS))
    rows = {row[1]: row[2:] for row in table.rows}
    assert rows["ConvDEC-DA, published"][0] == "98.70"
    assert rows["CAE-l2, the paper"][0] == "91.35"
    assert rows["CAE-l2"] == ["86.67 ± 7.57", "78.00 – 92.00", "81.67", "", "", "3 × 100"]
    acc, extent, score, argmax, gain, length = rows["CAE-l2, warped images, self-labelled"]
    assert acc == "97.75 ± 0.35"
    assert extent == "97.50 – 98.00"
    assert score == "92.75"
    assert argmax == "97.85, 50.00"
    # of the seeds that both have: 8 and 5.5, mean 6.75, t(1) = 12.706, sd/√2 = 1.25
    assert gain == "6.75 (−9.13 to 22.63), 2"
    assert length == "2 × 100, 17"
    assert [row[0] for row in table.rows] == ["USPS"] * 7


def test_ablations_are_compared_with_the_whole_method(made):
    assert beyond_tables.ablations(made(USPS)).rows == []
    rows = beyond_tables.ablations(made(USPS | {("usps", "cae-l2-self"): [95.0, 95.5]})).rows
    assert [row[2] for row in rows] == ["97.75 ± 0.35", "95.25 ± 0.35"]
    assert rows[0][6] == ""
    assert rows[1][6].startswith("−2.50 (")


def test_kappa_is_that_of_the_systems(made):
    assert beyond_tables.CONCENTRATIONS == {
        BEST: 5, "cae-l2-warp-self-2": 2, "cae-l2-warp-self-10": 10, "cae-l2-warp-self-20": 20,
    }  # fmt: skip
    n = made(USPS | {("usps", "cae-l2-warp-self-10"): [96.0], ("mnist", BEST): [98.0]})
    rows = beyond_tables.concentrations(n).rows
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("USPS", "5", "97.75 ± 0.35"), ("USPS", "10", "96.00")
    ]  # fmt: skip
    figure = beyond.figures(n, [])[beyond.KAPPA]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["USPS"]  # one κ alone is no line


def test_goals_are_told_as_they_came(made):
    text = "\n".join(beyond.findings(made(USPS), []))
    assert "97.75 %** over 2 seeds, none below 97.50" in text
    assert "0.95 points below the best published, ConvDEC-DA's 98.7" in text
    assert "98.5 in the mean, missed by 0.75; no seed below 97, reached" in text
    assert "gains in 2 of 2 pairs" in text
    reached = "\n".join(beyond.findings(made(USPS | {("usps", BEST): [99.0, 98.9]}), []))
    assert "98.5 in the mean, reached" in reached
    assert "0.25 points above the best published" in reached


def test_starts_that_were_not_warped_stand_beside_those_that_were(made):
    assert "never saw" not in "\n".join(beyond.findings(made(USPS), []))
    n = made(USPS | {("usps", "cae-l2-self"): [95.0, 83.0]})
    text = "\n".join(beyond.findings(n, []))
    assert "USPS**: 85.0, 73.0 % become 95.0, 83.0" in text
    assert "none of 2 seeds ends below 97.50" in text


def test_the_section_shows_the_figures_that_are_made(made):
    n = made(USPS | {("usps", "cae-l2-warp-self-2"): [97.0]})
    text = "\n".join(beyond.section(n, [AGREEMENT], [beyond.FOURTH]))
    shown = re.findall(r"\(results/(.*?)\)", text)
    assert shown == ["kappa.png", "agreement-usps.png", beyond.FOURTH]
    assert set(beyond.figures(n, [AGREEMENT])) == {*shown[:2]}
    assert beyond.FOURTH not in "\n".join(beyond.section(n, [], []))


def test_agreement_says_whom_it_warns_of(made):
    row = beyond_tables.agreement([AGREEMENT]).rows[0]
    assert row == ["USPS", "CAE-l2, warped images", "3 × 100", "0.700 – 0.800", "0.87", "2 of 3",
                   "0: 92.00", "92.00"]  # fmt: skip
    text = "\n".join(beyond.findings(made(USPS), [AGREEMENT]))
    assert "3 seeds: seed 0 stands apart, the worst is among them" in text
    text = "\n".join(beyond.findings(made(USPS), [replace(AGREEMENT, apart=[])]))
    assert "3 seeds: none stands apart" in text


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two seeds of the network and of its self-labelling, on the digits, after one epoch."""
    folder = ResultsDir(tmp_path_factory.mktemp("results"))
    systems = (WARPED, BEST)
    run_missing([Run("clustering", s, "digits", seed, 1, n_init=2) for s in systems
                 for seed in (0, 1)], folder, progress=False)  # fmt: skip
    return folder


@pytest.mark.slow
def test_clusters_are_made_again_and_compared(networks, tmp_path):
    found = {one.system: one for one in agreement.measure(networks)}
    assert set(found) == {WARPED, BEST}
    results = {(r.run.system, r.run.seed): r for r in read_results(networks.path)}
    for system, one in found.items():
        assert one.seeds == [0, 1]
        assert one.apart is None  # two cannot tell
        assert one.acc == [results[system, seed].scores["acc"] for seed in (0, 1)]
    images, labels = data.load("digits", split="all").images, []
    for seed in (0, 1):
        training = networks.training(results[WARPED, seed].run)
        codes = load_run(training)[0].encode(images)
        labels.append(ops.assign(codes, SavedClusters.load(training).centers)[0])
    between = found[WARPED].nmi[0][1]
    assert 0.1 < between < 0.95
    assert between == pytest.approx(nmi(*labels), abs=0.02)  # k-means may have stopped short
    assert found[WARPED].mean_nmi == [found[WARPED].nmi[0][1]] * 2
    path = tmp_path / "agreement.json"
    agreement.merge(path, [AGREEMENT, found[WARPED]])
    agreement.merge(path, [replace(AGREEMENT, medoid=2)])
    assert agreement.read(path) == [found[WARPED], replace(AGREEMENT, medoid=2)]


@pytest.mark.slow
def test_clusters_of_another_training_are_refused(networks, monkeypatch):
    right = agreement.accuracy
    monkeypatch.setattr(agreement, "accuracy", lambda *labels: right(*labels) - 0.01)
    with pytest.raises(ValueError, match="clusters made again have accuracy .* but the result has"):
        agreement.measure(networks)


def test_lists_of_other_lengths_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('[{"data": "usps", "system": "cae", "epochs": 1, "seeds": [0],'
        ' "acc": [], "nmi": [[1]], "mean_nmi": [1], "medoid": 0}]')  # fmt: skip
    with pytest.raises(ValueError, match="cae on usps: lists do not fit 1 seeds"):
        agreement.read(tmp_path / "a.json")
