"""Figures: what is drawn is what was given."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from l2ae_core import figures

from .made_up_figures import (
    CLASSES,
    FIGURES,
    N,
    by_value,
    clusters,
    codes,
    criteria,
    images,
    kinds,
    roc_of_scores,
    scores,
    seeds,
    texts,
)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_titled_drawn_and_saved(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]()
    assert "three clouds" in figure.get_suptitle()
    figures.save(figure, tmp_path / "a.png", dpi=60)
    pixels = imread(tmp_path / "a.png")
    assert pixels.shape[0] > 200
    assert 0.002 < (pixels[..., :3] < 0.9).any(axis=-1).mean() < 0.95  # neither blank nor black


def test_charts_name_their_axes() -> None:
    for name in ("agreement", "confusion", "roc", "histogram", "loss", "sensitivity"):
        ax = FIGURES[name]().axes[0]
        assert ax.get_xlabel(), name
        assert ax.get_ylabel(), name


def test_roc_says_auc_and_draws_chance() -> None:
    figure = figures.roc_curves(roc_of_scores(), title="three clouds")
    assert legend(figure) == ["chance: AUC 0.5", "right: AUC 1.000", "reversed: AUC 0.000"]
    chance, *curves = figure.axes[0].lines
    assert [tuple(point) for point in np.asarray(chance.get_xydata())] == [(0, 0), (1, 1)]
    assert curves[0].get_linestyle() != curves[1].get_linestyle()  # not told by colour alone


def test_the_roc_panel_has_the_median_of_the_runs() -> None:
    fpr = np.array([0, 0.5, 1])
    runs = [(fpr, np.array([0, 0.9, 1])), (fpr, np.array([0, 0.7, 1]))]
    _, curve = figures.roc_curves({"a": runs}).axes[0].lines
    np.testing.assert_allclose(curve.get_xydata(), [[0, 0], [0.5, 0.8], [1, 1]])


def test_histogram_counts_both_kinds_below_the_threshold() -> None:
    tau = float(scores()[0][14])  # above all 10 anomalies and 4 of the 80 normal images
    figure = figures.histogram(kinds(), tau, x="v", title="three clouds")
    normal, anomalies, line = legend(figure)
    assert normal == "normal (80), 5 % below τ"
    assert anomalies == "anomalies (10), 100 % below τ"
    assert f"{tau:.4f}" in line
    assert figure.axes[0].lines[0].get_xdata()[0] == tau
    heights = [p.get_data().values.sum() for p in figure.axes[0].patches]
    np.testing.assert_allclose(heights, 100)  # each kind sums to 100 %


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_the_name_of_a_threshold_is_inside_the_histogram(end: float) -> None:
    """Also where nearly all values are at one end, and the threshold beside them."""
    values = np.abs(end - np.append(np.linspace(0, 0.1, 99), 1.0))
    figure = figures.histogram({"error": values}, abs(end - 0.15), x="error", symbol="ε")
    figure.draw_without_rendering()
    (ax,) = figure.axes
    (text,) = ax.texts
    inside, box = ax.get_window_extent(), text.get_window_extent()
    assert inside.x0 <= box.x0
    assert box.x1 <= inside.x1


def test_curves_of_a_figure_of_its_own_mark_the_lowest_epoch() -> None:
    runs = {"l2": [[3.0, 0.5, 2.0]], "none": [[4.0, 3.0, 2.5]]}
    figure = figures.epoch_curves(runs, y="loss", title="three clouds")
    assert legend(figure) == ["l2: best epoch 2, 0.50000", "none: best epoch 3, 2.50000"]
    marked = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert [tuple(m.get_xydata()[0]) for m in marked] == [(2, 0.5), (3, 2.5)]
    assert figure.axes[0].get_yscale() == "log"


def test_criteria_for_the_number_of_clusters_are_drawn_one_above_the_other() -> None:
    figure = figures.cluster_counts([2, 3, 5], criteria(), preferred={"inertia": 3})
    assert [ax.get_ylabel() for ax in figure.axes] == ["inertia", "silhouette"]
    for ax, values in zip(figure.axes, criteria().values(), strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.stack([[2, 3, 5], values], 1))
    marked, unmarked = figure.axes
    assert [t.get_text() for t in marked.texts] == ["K = 3"]
    np.testing.assert_array_equal(marked.lines[-1].get_xydata(), [[3, 4]])
    assert len(unmarked.lines) == 1
    assert unmarked.get_xlabel() == "clusters K"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_equal_figures_give_equal_bytes(suffix: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in files:
        figures.save(FIGURES["counts"](), path)
    content, again = (path.read_bytes() for path in files)
    assert content == again
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    assert b"Date" not in content


def test_every_run_is_a_dot_named_by_its_seed() -> None:
    figure = figures.agreement_scatter(seeds())
    ax = figure.axes[0]
    dots = [np.asarray(line.get_xydata()).tolist() for line in ax.lines]
    assert dots == [[[0.86, 90], [0.87, 91], [0.7, 77]], [[0.9, 95]]]
    assert legend(figure) == ["plain", "warped"]
    assert ax.lines[0].get_marker() != ax.lines[1].get_marker()  # not told by colour alone
    named = {t.get_text(): tuple(t.xy) for t in ax.texts}
    assert named == {"0": (0.86, 90), "1": (0.87, 91), "2": (0.7, 77), "12": (0.9, 95)}


def test_the_names_of_near_runs_do_not_cover_each_other() -> None:
    runs = figures.SeedScores([0.9, 0.901, 0.902, 0.5], [90, 90, 90, 50], range(10, 14))
    figure = figures.agreement_scatter({"a": runs}, title="near")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_line_goes_through_the_means_of_the_dots_of_runs() -> None:
    figure = figures.sensitivity(by_value(), x="κ", y="accuracy, %", title="two data sets")
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    lines = {line.get_label(): line for line in ax.lines if line.get_marker() == "None"}
    for name, runs in by_value().items():
        x, y = np.asarray(lines[name].get_xydata()).T
        np.testing.assert_allclose(x, sorted(runs), rtol=0.05)  # moved aside
        np.testing.assert_allclose(y, [np.mean(runs[value]) for value in sorted(runs)])
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    drawn = sorted(y for line in dots for y in np.asarray(line.get_ydata()).tolist())
    assert drawn == sorted(y for runs in by_value().values() for v in runs.values() for y in v)
    assert legend(figure) == ["a", "b"]
    assert {"2", "5", "10", "Accuracy by κ\ntwo data sets"} <= set(texts(figure))


def test_a_single_value_is_drawn() -> None:
    figures.sensitivity({"a": {5.0: [97.0]}}, x="κ", y="ACC").draw_without_rendering()


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path) -> None:
    class Interrupted(Figure):
        def savefig(self, file, **_):
            file.write(b"half")
            raise KeyboardInterrupt

    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        figures.save(Interrupted(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


U = {"u": codes()}
BAD: dict[str, tuple[Callable[[], object], str]] = {
    "suffix": (lambda: figures.save(Figure(), Path("a.jpg")), r"ends in \.png or \.svg or \.pdf"),
    "method": (lambda: figures.project(codes(), "umap"), "method is 'umap'"),
    "flat codes": (lambda: figures.project(np.ones(9)), r"codes is \(9,\)"),
    "NaN codes": (lambda: figures.project(np.full((9, 3), np.nan)), "expected finite"),
    "no panel": (lambda: figures.embedding_scatter({}, CLASSES, {}), "one or more"),
    "panel names": (lambda: figures.embedding_scatter(U, CLASSES, {"z": CLASSES}), r"\['z'\]"),
    "lengths": (lambda: figures.embedding_scatter(U, CLASSES[1:], {"u": CLASSES}), "expected 89"),
    "class names": (
        lambda: figures.matched_confusion(CLASSES, clusters(), class_names=["a"]),
        "class_names has 1 name but expected 3",
    ),
    "no runs": (lambda: figures.agreement_scatter({}), "groups is empty"),
    "seeds": (
        lambda: figures.agreement_scatter({"a": figures.SeedScores([0.5], [50], [])}),
        r"'a' has \[1, 1, 0\]",
    ),
    "NaN accuracy": (
        lambda: figures.agreement_scatter({"a": figures.SeedScores([0.5], [np.nan], [0])}),
        "'a' expected to be finite",
    ),
    "no curve": (lambda: figures.sensitivity({}, x="κ", y="ACC"), "curves is empty"),
    "no value": (lambda: figures.sensitivity({"a": {}}, x="κ", y="ACC"), "'a' has no value"),
    "zero": (
        lambda: figures.sensitivity({"a": {0.0: [1]}}, x="κ", y="ACC"), "'a' has the value 0.0"),
    "no run": (lambda: figures.sensitivity({"a": {2.0: []}}, x="κ", y="ACC"), r"scores \[\] at 2"),
    "no score": (lambda: figures.roc_curves({}), "roc_curves: nothing to draw"),
    "tau": (lambda: figures.histogram(kinds(), np.nan, x="v"), "tau is nan"),
    "NaN": (lambda: figures.histogram({"v": np.array([np.nan])}, 0.5, x="v"), "'v' expected"),
    "nothing": (lambda: figures.cluster_counts([], {}), "cluster_counts: nothing to draw"),
    "values": (lambda: figures.cluster_counts([2, 3], {"a": [1.0]}), "'a' has 1 value but"),
    "mark": (
        lambda: figures.cluster_counts([2], {"a": [1.0]}, preferred={"a": 3}),
        "preferred has 'a': 3",
    ),
    "count": (lambda: figures.reconstructions(*images(), count=N + 1), f"count is {N + 1}"),
    "shapes": (lambda: figures.reconstructions(images()[0], images()[1][1:]), "one shape"),
    "channels": (lambda: figures.reconstructions(*np.zeros((2, 4, 5, 5, 2))), "1 or 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
