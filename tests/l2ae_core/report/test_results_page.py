"""The page of a folder of results: well-formed, alone, and with the numbers of the files."""

import re
from pathlib import Path

import numpy as np
import pytest

from l2ae_core.paper import read_results
from l2ae_core.paper.published import PAIRS
from l2ae_core.report.results_page import results_page

from .made_up import (
    Page,
    clustering,
    detection,
    some_clustering,
    some_detection,
    write,
    write_figure1,
)

SECTIONS = ("glance", "runs", "tables", "gains", "figure1", "roc", "confusion", "loss", "norms",
            "restarts", "reconstructions", "environment")  # fmt: skip
PAPER = "https://arxiv.org/"


def test_the_page_is_well_formed_and_has_every_section(html: str) -> None:
    page = Page(html)
    assert [i for i in SECTIONS if i not in page.ids] == []
    assert [tag for tag, _ in page.elements].count("h1") == 1
    targets = {a["href"] for tag, a in page.elements if tag == "a" and a["href"]}
    assert {t[1:] for t in targets if t.startswith("#")} == {*SECTIONS, "missing"}


def test_the_page_needs_nothing_from_elsewhere(html: str) -> None:
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object"}
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "xlink:href"):
            value = attributes.get(name) or "#"
            own = value.startswith(("#", "data:image/png;base64,"))
            assert own or (tag == "a" and value.startswith(PAPER)), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"@import|url\((?!#)", html)


def test_every_picture_is_described(html: str) -> None:
    page = Page(html)
    for tag, attributes in page.elements:
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        if tag == "img":
            assert attributes["alt"]


def check_gains(page: Page, folder: Path) -> None:
    """AssertionError when a number of the paired gains is not that of the files."""
    by_seed = {
        s: {
            r.run.seed: r
            for r in read_results(folder)
            if r.run.system == s and r.run.task == "clustering"
        }
        for s in PAIRS[1]
    }
    for name in ("acc", "nmi", "ari"):
        with_l2, without = (
            np.array([r.scores[name] for _, r in sorted(by_seed[s].items())]) for s in PAIRS[1]
        )
        chance = np.mean([r.chance[name] for r in by_seed["cae-l2"].values()])
        means = (without.mean(), with_l2.mean(), (with_l2 - without).mean())
        row = next(r for r in page.tables["Clustering: with l2 minus without"]
                   if r[2] == name.upper())  # fmt: skip
        assert row[3:6] == [f"{100 * v:.2f}" for v in means]
        assert row[8] == f"{(with_l2 > without).sum()} of {len(without)}"
        assert float(row[9]) == pytest.approx(100 * chance, abs=0.006)


def test_a_longer_run_of_one_side_is_in_no_pair(tmp_path: Path) -> None:
    found = [*some_clustering(), clustering("cae-l2", 0, 0.99, epochs=60)]
    found += [detection(s, 7, 0, auc) for s, auc in (("cae", 0.6), ("cae-l2", 0.8))]
    write(tmp_path, [*found, detection("cae-l2", 7, 0, 0.99, epochs=60)])
    page = Page(results_page(tmp_path))
    tables = page.tables
    assert tables["Clustering: with l2 minus without"][1][3:6] == ["74.73", "90.90", "16.17"]
    rows = tables["Detection on MNIST, cosine score: AUC of CAE-l2 minus CAE"]
    assert rows[1][:4] == ["7", "0.600", "0.800", "0.200"]
    first = page.text.split("At a glance")[-1].split("What was run")[0]
    assert "USPS, accuracy of CAE-l2, 2 seeds 90.90 % without it 74.73 %" in first
    assert "mean over anomalies 7 0.800 without it 0.600" in first
    runs = next(rows for rows in tables.values() if "hours of training" in rows[0])
    assert [r[6] for r in runs if r[:3] == ["clustering", "USPS", "CAE-l2"]] == ["6", "60"]


def test_a_digit_counts_once_at_a_glance_however_many_partitions_it_has(tmp_path: Path) -> None:
    aucs = {0: (0.8, 0.6, 0.7), 1: (0.9,)}  # without l2 0.1 less; a partition without its partner
    found = [
        detection(s, d, seed, auc - less)
        for d, values in aucs.items()
        for seed, auc in enumerate(values)
        for s, less in (("cae-l2", 0.0), ("cae", 0.1))
    ]
    write(tmp_path, [*found, detection("cae-l2", 1, 1, 0.1)])  # fmt: skip
    text = Page(results_page(tmp_path)).text
    assert "mean over anomalies 0–1 0.800 without it 0.700 the paper 0.964" in text


def check_auc(page: Page, folder: Path) -> None:
    """AssertionError when an AUC below the ROC curves is not that of the files."""
    found = [r for r in read_results(folder) if r.run.task == "detection"]
    head, *rows = page.tables["Area under these curves"]
    for row in rows:
        cells = dict(zip(head, row, strict=True))
        for title, system, score in (
            ("CAE-l2, cluster", "cae-l2", "cosine"),
            ("CAE, cluster", "cae", "cosine"),
            ("CAE-l2, reconstruction", "cae-l2", "reconstruction"),
        ):
            key = system, int(row[0])
            auc = [r.scores[f"{score}.auc"] for r in found
                   if (r.run.system, r.run.digit) == key]  # fmt: skip
            assert cells[title] == f"{np.mean(auc):.3f} ± {np.std(auc, ddof=1):.3f}"
        assert cells["chance"] == "0.500"


def test_numbers_are_those_of_the_files(html: str, whole: Path) -> None:
    page = Page(html)
    check_gains(page, whole)
    check_auc(page, whole)
    assert "91.23" in page.text  # the accuracy in the caption of a confusion matrix


def test_gains_of_detection_are_those_of_the_files(html: str, whole: Path) -> None:
    found = [r for r in read_results(whole) if r.run.task == "detection"]
    tables = Page(html).tables
    for score in ("cosine", "euclidean", "reconstruction"):
        rows = tables[f"Detection on MNIST, {score} score: AUC of CAE-l2 minus CAE"][1:]
        assert [row[0] for row in rows] == ["0", "1"]
        for row in rows:
            means = [
                np.mean([r.scores[f"{score}.auc"] for r in found
                         if (r.run.system, r.run.digit) == (system, int(row[0]))])
                for system in ("cae", "cae-l2")
            ]  # fmt: skip
            expected = (*means, means[1] - means[0])
            np.testing.assert_allclose([float(c) for c in row[1:4]], expected, atol=5.1e-4)
            assert row[6:] == ["2", "0.500"]


def test_what_is_seen_first_stands_beside_the_paper_and_chance(html: str) -> None:
    text = Page(html).text.split("At a glance")[-1].split("What was run")[0]
    assert "USPS, accuracy of CAE-l2, 2 seeds 90.90 %" in text
    assert "without it 74.73 % the paper 91.35 %, without it 73.52 % chance 11.30 %" in text
    assert "MNIST, AUC of CAE-l2, mean over anomalies 0–1 0.940" in text
    paper = "the paper 0.964, without it 0.843"  # of the same two digits
    assert f"without it 0.730 {paper} by reconstruction error 0.740 chance 0.500" in text


def test_restarts_and_norms_are_counted(html: str) -> None:
    tables = Page(html).tables
    restarts = next(rows for rows in tables.values() if "solutions a run" in rows[0])
    assert ["USPS", "CAE-l2", "2", "4", "50 %", "3.0", "20.0 %"] in restarts
    norms = tables["|z| over all images at the best epoch"]
    assert ["USPS", "CAE", "1.00", "2.00", "3.00", "4.00", "5.00", "2"] in norms


def test_what_was_run_is_counted(html: str) -> None:
    rows = next(rows for rows in Page(html).tables.values() if "hours of training" in rows[0])
    assert ["clustering", "USPS", "CAE", "", "0–1", "2", "6", "256", "0.05"] in rows
    assert ["detection", "MNIST", "CAE", "0–1", "0–1", "4", "6", "256", "0.07"] in rows
    assert ["clustering", "USPS", "k-means on pixels", "", "0", "1", "", "", ""] in rows


def test_a_confusion_matrix_is_that_of_the_median_run(tmp_path: Path) -> None:
    for seed, acc in enumerate((0.7, 0.9, 0.8)):
        counts = np.eye(10, dtype=int) * (1000 + seed)
        write(tmp_path, [clustering("cae-l2", seed, acc, confusion=counts.tolist())])
    page = Page(results_page(tmp_path))
    caption, rows = next(t for t in page.tables.items() if "accuracy 80.00" in t[0])
    assert "seed 2 (median of 3)" in caption
    assert "chance 11.30" in caption
    assert rows[1][:2] == ["0", "1002"]


def test_surplus_clusters_have_no_digit_and_the_others_keep_theirs(tmp_path: Path) -> None:
    counts = np.hstack([np.eye(10, dtype=int) * 50, np.full((10, 2), 7)]).tolist()
    write(tmp_path, [clustering("gmvae", 0, 0.7, "mnist", confusion=counts)])
    html = results_page(tmp_path)
    head = next(rows[0] for rows in Page(html).tables.values() if rows[0][:2] == ["", "0"])
    assert head == ["", *map(str, range(10)), "–", "–"]
    assert html.count('class="own"') == 10


@pytest.mark.slow
def test_both_sides_of_every_pair_have_a_panel_of_restarts(tmp_path: Path) -> None:
    write(tmp_path, [clustering(s, 0, 0.7, "mnist") for pair in PAIRS for s in pair])
    html = results_page(tmp_path)
    for system in (s for pair in PAIRS for s in pair):
        assert f"inertia-mnist-{system}-" in html or f'inertia-mnist-{system}"' in html


def test_figure_1_stands_beside_its_measures(html: str, tmp_path: Path) -> None:
    page = Page(html)
    made = write_figure1(tmp_path)
    rows = {r[0].partition(":")[0]: r[1:] for r in page.tables["codes purity silhouette"][1:]}
    assert rows == {name: [f"{measures[m]:.3f}" for m in ("purity", "silhouette")]
                    for name, measures in made.measures.items()}  # fmt: skip
    assert page.text.count("neighbours 0.614, chance 0.471") == 1


@pytest.mark.slow
def test_a_fourth_panel_stands_beside_the_papers(tmp_path: Path) -> None:
    write(tmp_path, some_clustering())
    write_figure1(tmp_path)
    three = Page(results_page(tmp_path))
    assert "epochs on warped images" not in three.text
    made = write_figure1(tmp_path, fourth=True)
    page = Page(results_page(tmp_path))
    rows = {r[0][:1]: r[1:] for r in page.tables["codes purity silhouette"][1:]}
    assert rows["d"] == [f"{made.measures['d'][m]:.3f}" for m in ("purity", "silhouette")]
    assert "after 77 epochs on warped images and self-labelling" in page.text


@pytest.mark.slow
def test_sections_without_data_are_named_with_their_command(tmp_path: Path) -> None:
    write(tmp_path, some_clustering())
    page = Page(results_page(tmp_path))
    assert "roc" not in page.ids
    assert "figure1" not in page.ids
    missing = page.text.split("Not here yet")[-1]
    for command in ("table4", "figure1", "table2", "table5"):
        assert f"l2ae reproduce {command} --out {tmp_path}" in missing
    assert "Table II:" not in missing
    write(tmp_path, some_detection())
    page = Page(results_page(tmp_path))
    assert "roc" in page.ids
    assert "Anomalies" not in page.text.split("Not here yet")[-1]


def test_of_several_numbers_of_epochs_the_largest_counts(tmp_path: Path) -> None:
    write(tmp_path, [clustering("cae-l2", 0, 0.5, epochs=1), clustering("cae-l2", 0, 0.9)])
    text = Page(results_page(tmp_path)).text
    assert "accuracy 90.00 %" in text
    assert "accuracy 50.00 %" not in text


def test_text_of_a_file_is_escaped(html: str) -> None:
    assert "&lt;a processor &amp; more&gt;" in html
    assert "<a processor" not in html


@pytest.mark.slow
def test_equal_results_give_equal_bytes(html: str, whole: Path) -> None:
    assert results_page(whole) == html
