"""Tables from made-up results: every number in the text is that of the results, and no other."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from l2ae_core.paper import Result, Run
from l2ae_core.paper.index import ResultIndex
from l2ae_core.paper.published import DIGITS, TABLES
from l2ae_core.paper.result import ClusteringDetails, Count, DetectionDetails, Roc
from l2ae_core.paper.systems import LATENT_WIDTHS
from l2ae_core.paper.tables import Table, paper_tables, percent
from l2ae_core.paper.tables.table import MOST_COLUMNS

from .small_runs import made_up

EPOCHS = 7
CHANCE = {"acc": 0.1234, "nmi": 0.0021, "ari": -1e-6}


def counted(confusion: list[list[int]], classes: list[int]) -> ClusteringDetails:
    return ClusteringDetails(images=10, confusion=confusion, classes=classes)


UNCOUNTED = counted([[5], [5]], [0, 1])  # fewer clusters than classes: no worst pair


def clustering(
    system: str, seed: int, acc: float, data: str = "usps", epochs: int = EPOCHS, **scores: Any
) -> Result:
    found: dict[str, float] = {"acc": acc, "nmi": acc / 2, "ari": acc / 3, "inertia": 100 + acc}
    found["reconstruction_mse"] = (1 - acc) / 10
    run = Run("clustering", system, data, seed, 0 if system == "pixels" else epochs)
    return replace(made_up(run), scores=found | scores, chance=CHANCE, details=UNCOUNTED)


def detection(
    system: str, digit: int, seed: int, aucs: dict[str, float], data: str = "mnist"
) -> Result:
    scores = {f"{name}.auc": auc for name, auc in aucs.items()}
    scores |= {f"{name}.auprc": auc / 2 for name, auc in aucs.items()}
    run = Run("detection", system, data, seed, EPOCHS, digit)
    chance = {"auc": 0.5, "auprc": 0.09 + digit / 1000}
    roc = Roc([0.0, 1.0], {name: [0.0, 1.0] for name in aucs})
    details = DetectionDetails(images=Count(9, 8), anomalies=Count(0, 1), roc=roc)
    return replace(made_up(run), scores=scores, chance=chance, details=details)


def named(results: list[Result], name: str) -> Table:
    (table,) = (t for t in paper_tables(results) if t.name == name)
    return table


def rows(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def row(table: Table, **cells: str) -> dict[str, str]:
    (found,) = (r for r in rows(table) if all(r[k] == v for k, v in cells.items()))
    return found


ACCS = {"cae": (0.71, 0.7433, 0.7512), "cae-l2": (0.91, 0.8877, 0.9259)}
SOME = [
    clustering(s, seed, a, **{"post_hoc_l2.acc": a - 0.05, "post_hoc_l2.nmi": a / 4})
    for s, accs in ACCS.items()
    for seed, a in enumerate(accs)
]


def test_a_row_has_mean_spread_and_nmi_of_its_seeds() -> None:
    found = row(named(SOME, "table2"), system="CAE-l2, k-means")
    x = 100 * np.array(ACCS["cae-l2"])
    assert found == {
        "data": "USPS", "system": "CAE-l2, k-means", "paper": "91.35",
        "ACC": f"{x.mean():.2f} ± {x.std(ddof=1):.2f}", "min – max": "88.77 – 92.59",
        "NMI": f"{x.mean() / 2:.2f}", "seeds × epochs": "3 × 7", "worst pair": "",
    }  # fmt: skip


def test_after_training_is_another_row_with_its_own_nmi() -> None:
    found = row(named(SOME, "table2"), system="CAE, brought to unit length after training, k-means")
    mean = 100 * np.mean(ACCS["cae"])
    assert found["ACC"].startswith(f"{mean - 5:.2f} ±")
    assert found["NMI"] == f"{mean / 4:.2f}"
    assert found["paper"] == ""


def test_what_was_not_run_is_empty_beside_the_paper() -> None:
    found = row(named(SOME, "table2"), system="DCEC")
    assert found.pop("paper") == "79.00"
    assert (found.pop("data"), found.pop("system")) == ("USPS", "DCEC")
    assert set(found.values()) == {""}
    assert {r["data"] for r in rows(named(SOME, "table2"))} == {"USPS"}


def test_chance_stands_below_every_data_set() -> None:
    results = [*SOME, clustering("cae", 0, 0.8, "mnist")]
    table = named(results, "table2")
    for data, seeds in (("USPS", "3"), ("MNIST", "1")):
        found = row(table, data=data, system="chance")
        assert found["ACC"].startswith("12.34")
        assert (found["seeds × epochs"], found["paper"]) == (seeds, "")
    count = len(TABLES["table2"].columns) + 1
    assert [r["data"] for r in rows(table)] == ["MNIST"] * count + ["USPS"] * count


def test_one_seed_has_no_spread() -> None:
    found = row(named(SOME[:1], "table2"), system="CAE, k-means")
    assert [found[k] for k in ("ACC", "min – max", "seeds × epochs")] == ["71.00", "", "1 × 7"]


def test_of_several_trainings_the_longest_counts() -> None:
    longer = clustering("cae-l2", 5, 0.5, epochs=EPOCHS + 1)
    found = row(named([longer, *SOME], "table2"), system="CAE-l2, k-means")
    assert (found["ACC"], found["seeds × epochs"]) == ("50.00", "1 × 8")


def test_many_to_one_accuracy_does_not_stand_as_nmi() -> None:
    made = clustering("gmvae", 0, 0.5, "mnist")
    scores, chance = made.scores | {"many_to_one": 0.875}, CHANCE | {"many_to_one": 0.25}
    table = named([replace(made, scores=scores, chance=chance)], "table1")
    found = row(table, system="GMVAE, its own many-to-one accuracy")
    assert (found["ACC"], found["NMI"]) == ("87.50", "25.00")
    assert row(table, system="chance, many-to-one")["ACC"] == "25.00"
    assert "chance" not in {r["system"] for r in rows(table)}  # nothing here is judged by Eq. 6


def test_the_worst_pair_of_the_seeds_stands_under_the_names_of_its_classes() -> None:
    counts = [[[9, 0, 0], [0, 8, 2], [0, 4, 6]], [[9, 0, 0], [0, 9, 1], [0, 3, 7]]]
    results = [replace(r, details=counted(c, [3, 5, 8]))
               for r, c in zip(SOME[3:], counts, strict=False)]  # fmt: skip
    table = named([*SOME[:3], *results], "table2")
    assert row(table, system="CAE-l2, k-means")["worst pair"] == "5/8: 75.00"  # of 14/20, 16/20
    others = {r["worst pair"] for r in rows(table) if r["system"] != "CAE-l2, k-means"}
    assert others == {""}


def test_a_row_of_other_clusters_has_no_worst_pair() -> None:
    counts = counted([[5, 5], [0, 9]], [0, 1])
    table = named([replace(r, details=counts) for r in SOME], "table2")
    after = row(table, system="CAE, brought to unit length after training, k-means")
    assert after["worst pair"] == ""
    assert row(table, system="CAE, k-means")["worst pair"] == f"0/1: {100 * 14 / 19:.2f}"


def test_a_gain_is_that_of_common_seeds() -> None:
    results = [*SOME, clustering("cae-l2", 8, 0.1), clustering("cae", 9, 0.99)]
    found = row(named(results, "table2-pairs"), data="USPS")
    gain = np.subtract(ACCS["cae-l2"], ACCS["cae"])
    assert (found["gain in ACC"], found["pairs"]) == ("CAE-l2 − CAE", "3")
    assert found["mean"] == percent(gain.mean())
    half = 4.302653 * gain.std(ddof=1) / np.sqrt(3)  # t of 2 degrees of freedom
    assert (found["low"], found["high"]) == (
        percent(gain.mean() - half),
        percent(gain.mean() + half),
    )


def test_a_gain_is_that_of_equal_epochs() -> None:
    longer = [clustering("cae-l2", seed, 0.99, epochs=EPOCHS + 1) for seed in range(3)]
    found = row(named([*SOME, *longer], "table2-pairs"), data="USPS")
    assert found == row(named(SOME, "table2-pairs"), data="USPS")
    apart = [clustering("cae", 0, 0.7, epochs=3), clustering("cae-l2", 0, 0.9, epochs=4)]
    assert [t.name for t in paper_tables(apart, ["table2"])] == ["table2"]


def test_loss_and_accuracy_are_correlated_over_seeds() -> None:
    table = named(SOME, "table2-picks")
    for system in ("CAE-l2", "CAE"):
        found = row(table, data="USPS", system=system)
        assert (found["r loss"], found["r inertia"], found["seeds"]) == ("-1.00", "1.00", "3")
    mixed = [replace(r, scores=r.scores | {"reconstruction_mse": (i * i) % 5})
             for i, r in enumerate(SOME)]  # fmt: skip
    r = np.corrcoef(ACCS["cae-l2"], [4, 1, 0])[0, 1]
    assert row(named(mixed, "table2-picks"), system="CAE-l2")["r loss"] == f"{r:.2f}"


def test_other_data_sets_have_rows_without_the_paper() -> None:
    results = [clustering("cae", 0, 0.75, "digits"), clustering("pixels", 0, 0.6, "digits")]
    found = rows(named(results, "table2"))
    assert {r["data"] for r in found} == {"digits"}
    assert {r["paper"] for r in found} == {""}
    assert row(named(results, "table2"), system="CAE, k-means")["ACC"] == "75.00"
    assert [t.name for t in paper_tables(results)] == ["table2"]  # a control alone makes no rows
    asked = paper_tables(results, ["table1"], data=["digits"])
    assert row(asked[0], system="k-means on pixels")["ACC"] == "60.00"


AUCS = {"cae": {"cosine": 0.81}, "cae-l2": {"cosine": 0.91, "reconstruction": 0.61}}
DETECTED = [
    detection(system, digit, seed, {k: v + digit / 1000 + seed / 100 for k, v in aucs.items()})
    for system, aucs in AUCS.items() for digit in DIGITS for seed in (0, 1)
]  # fmt: skip


def columns(results: list[Result], name: str) -> dict[str, dict[str, str]]:
    """The columns of all parts of a table: head → name of the row → cell."""
    found: dict[str, dict[str, str]] = {}
    for table in paper_tables(results):
        if table.name.startswith(f"{name}-") and table.name.removeprefix(f"{name}-").isdigit():
            names, *others = zip(table.columns, *table.rows, strict=True)
            assert names[0] == "anomaly"
            for head, *cells in others:
                assert head not in found or head == "chance"
                found[head] = dict(zip(names[1:], cells, strict=True))
    return found


def test_a_digit_has_the_mean_over_its_partitions() -> None:
    found = columns(DETECTED, "table4-auc")
    sd = np.std([0, 0.01], ddof=1)
    for score, mean, paper in (("CAE-l2, cluster", "0.918", "0.938"),
                               ("CAE-l2, reconstruction", "0.618", "0.832"),
                               ("CAE, cluster", "0.818", "0.845")):  # fmt: skip
        ours, beside = found[f"{score}, ours"], found[f"{score}, paper"]
        assert ours["3"] == mean
        assert (ours["sd"], ours["partitions"], ours["epochs"]) == (f"{sd:.3f}", "2", "7")
        assert (beside["3"], beside["partitions"], beside["epochs"]) == (paper, "", "")
    assert not [head for head in found if head.startswith("CAE, reconstruction")]


def test_digits_of_unequal_partitions_or_epochs_are_told_and_not_averaged() -> None:
    longer = Run("detection", "cae-l2", "mnist", 0, EPOCHS + 1, 5)
    some = [replace(r, run=longer) if r.run == replace(longer, epochs=EPOCHS) else r
            for r in DETECTED]  # fmt: skip
    found = columns(some, "table4-auc")["CAE-l2, cluster, ours"]
    assert (found["3"], found["5"]) == ("0.918 (2)", "0.915 (1)")
    assert (found["partitions"], found["epochs"], found["mean"]) == ("", "7, 8", "")


def test_the_spread_is_the_root_mean_square_over_digits_of_that_of_partitions() -> None:
    spread = {0: 0.02, 1: 0.06}  # between two partitions
    some = [detection("cae-l2", digit, seed, {"cosine": 0.5 + seed * spread[digit]})
            for digit in spread for seed in (0, 1)]  # fmt: skip
    some.append(detection("cae-l2", 2, 0, {"cosine": 0.9}))  # one has none
    found = columns(some, "table4-auc")["CAE-l2, cluster, ours"]
    assert found["sd"] == f"{np.sqrt((0.02**2 + 0.06**2) / 2 / 2):.3f}"


def test_the_mean_over_digits_needs_all_of_them() -> None:
    found = columns(DETECTED, "table4-auc")
    assert found["CAE-l2, cluster, ours"]["mean"] == f"{0.91 + 0.0045 + 0.005:.3f}"
    paper = [found[f"{name}, paper"]["mean"] for name in
             ("CAE-l2, cluster", "CAE, cluster", "CAE-l2, reconstruction")]  # fmt: skip
    assert paper == ["0.907", "0.789", "0.672"]  # .90750, .78914, .67173
    some = [r for r in DETECTED if r.run.digit != 4]
    found = columns(some, "table4-auc")
    ours = found["CAE-l2, cluster, ours"]
    assert (ours["mean"], ours["4"]) == ("", "")
    assert found["CAE-l2, cluster, paper"]["4"] == "0.782"  # .7825
    chance = columns(some, "table4-auprc")["chance"]
    assert not {"4", "mean"} & chance.keys()  # no score has a number there


def test_auprc_stands_beside_its_own_chance_and_never_the_paper() -> None:
    found = columns(DETECTED, "table4-auprc")
    assert not [head for head in found if "paper" in head or "ours" in head]
    assert found["CAE-l2, cluster"]["0"].startswith(f"{(0.91 + 0.92) / 4:.3f}"[:4])
    assert [found["chance"][d] for d in "012"] == ["0.090", "0.091", "0.092"]
    assert found["chance"]["mean"] == f"{0.09 + 0.0045:.3f}"


def test_no_table_is_wider_than_a_page_and_the_parts_have_all_columns() -> None:
    scores = {"cae-l2": ("cosine", "reconstruction"), "ae-clean": ("reconstruction",),
              "cae": ("cosine", "dot", "euclidean", "reconstruction")}  # fmt: skip
    vaes = [f"vae-{d}-{p}" for d in LATENT_WIDTHS for p in ("gaussian", "bernoulli")]
    scores |= dict.fromkeys(vaes, ("reconstruction", "probability"))
    results = [detection(s, 0, 0, dict.fromkeys(names, 0.75)) for s, names in scores.items()]
    tables = paper_tables([*SOME, *results])
    assert max(len(table.columns) for table in tables) == MOST_COLUMNS
    assert len(columns(results, "table5-auc")) == 3 * 2 + 15
    for table in tables:  # a number of the paper is left of ours
        for i, head in enumerate(table.columns):
            if head.endswith(", paper"):
                assert table.columns[i + 1] == head.replace(", paper", ", ours")


def test_a_gain_in_detection_is_that_of_digits_and_partitions_that_both_have() -> None:
    lonely = [detection("cae-l2", 0, 7, {"cosine": 0.01}), detection("cae", 0, 8, {"cosine": 1.0})]
    made = [detection("cae", d, 0, {"cosine": 0.5 + d / 50}) for d in (0, 1, 2)]
    made += [detection("cae-l2", d, 0, {"cosine": 0.7 + d / 100, "dot": 0.9}) for d in (0, 1, 2)]
    found = row(named([*made, *lonely], "table4-pairs"), score="cosine, AUC")
    gain = 0.2 - np.arange(3) / 100
    half = 4.302653 * gain.std(ddof=1) / np.sqrt(3)  # t of 2 degrees of freedom
    assert found["gain"] == "CAE-l2 − CAE"
    assert (found["without"], found["with l2"], found["mean"]) == ("0.520", "0.710", "0.190")
    assert (found["low"], found["high"]) == (f"{0.19 - half:.3f}", f"{0.19 + half:.3f}")
    assert found["l2 ahead"] == "3 of 3"
    assert {t.name for t in paper_tables(made)} == {
        "table4-auc-1", "table4-auprc-1", "table4-pairs", "table5-auc-1", "table5-auprc-1",
    }  # fmt: skip


def test_detection_on_other_data_has_no_number_of_the_paper() -> None:
    table = named([detection("cae-l2", 1, 0, AUCS["cae-l2"], "digits")], "table4-auc-digits-1")
    assert table.columns == ["anomaly", "CAE-l2, reconstruction", "CAE-l2, cluster"]
    assert table.rows[0] == ["1", "0.610", "0.910"]  # what no digit has is no row
    assert "digits" in table.title


def test_no_result_makes_no_table() -> None:
    assert paper_tables([]) == []
    assert [t.name for t in paper_tables(SOME)] == [
        "table2", "table2-pairs", "table2-picks", "table3",
    ]  # fmt: skip
    assert [t.name for t in paper_tables(SOME, ["table3"])] == ["table3"]


def test_results_that_no_table_tells_apart_are_refused() -> None:
    run = Run("clustering", "cae", "usps", 0, EPOCHS, n_init=5)
    other = replace(SOME[0], run=run)
    with pytest.raises(ValueError, match=r"cae on usps, seed 0, but have n_init 20 and 5") as e:
        ResultIndex([*SOME, other])
    assert other.id in str(e.value)
    assert SOME[0].id in str(e.value)
    ResultIndex([*SOME, SOME[0]])


@pytest.mark.parametrize("made", [paper_tables([*SOME, *DETECTED])])
def test_both_kinds_of_text_have_every_cell(made: list[Table]) -> None:
    assert {t.name.split("-")[0] for t in made} == set(TABLES) - {"table1", "beyond"}
    for table in made:
        for text in (table.screen(), table.markdown()):
            assert table.title in text
            assert table.note in text
            for line in table.rows:
                assert any(all(cell in shown for cell in line) for shown in text.splitlines())
            assert all(part in text for head in table.columns for part in head.split(", "))
        lines = table.markdown().splitlines()
        assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.73521, "73.52"), (1, "100.00"), (-1e-6, "0.00"), (-0.123, "-12.30"), (0, "0.00")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize("share", [float("nan"), float("inf")])
def test_percent_of_no_number_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share is"):
        percent(share)
