"""Tables of detection from made-up results: every number is that of the results, and no other."""

from dataclasses import replace

import numpy as np

from l2ae_core.paper import Run
from l2ae_core.paper.systems import LATENT_WIDTHS
from l2ae_core.paper.tables import paper_tables
from l2ae_core.paper.tables.table import MOST_COLUMNS

from .made_up_tables import AUCS, DETECTED, EPOCHS, SOME, columns, detection, named, row


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
