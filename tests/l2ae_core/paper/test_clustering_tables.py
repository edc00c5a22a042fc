"""Tables of clustering from made-up results: every number is that of the results, and no other."""

from dataclasses import replace

import numpy as np

from l2ae_core.paper.published import TABLES
from l2ae_core.paper.tables import paper_tables, percent

from .made_up_tables import (
    ACCS,
    CHANCE,
    EPOCHS,
    SOME,
    clustering,
    counted,
    named,
    row,
    rows,
)


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
