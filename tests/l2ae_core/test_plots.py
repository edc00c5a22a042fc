"""Figures: what is drawn is what was given, and nothing outside the figure changes."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from l2ae_core import plots
from l2ae_core.plots.style import CLASS_COLOURS, INK
from l2ae_core.report.pictures import svg
from l2ae_kernels.arrays import Array

N = 90
CLASSES = np.arange(N) % 3 + 5  # classes 5, 6, 7
WRONG = 4  # images in a cluster of another class


def codes(seed: int = 0) -> Array:
    """Three clouds of codes (N, 4)."""
    rng = np.random.default_rng(seed)
    return 6 * np.eye(3, 4)[CLASSES - 5] + rng.standard_normal((N, 4))


def clusters() -> Array:
    """Cluster 9 is class 5, 4 is class 6, 2 is class 7; the first four images are misplaced."""
    labels = np.array([9, 4, 2])[CLASSES - 5]
    labels[:WRONG] = np.array([4, 2, 9, 4])
    return labels


def embedding(**keywords: object) -> Figure:
    networks = {"with": codes(), "without": codes(1)}
    labels = {"with": clusters(), "without": clusters()}
    return plots.embedding_scatter(networks, CLASSES, labels, method="pca", **keywords)  # type: ignore[arg-type]


def scores() -> tuple[Array, Array]:
    """Normality (N,) and who is anomalous: the first ten, all below every normal image."""
    v = np.linspace(-0.2, 1, N)
    return v, np.arange(N) < 10


def images() -> tuple[Array, Array]:
    """Black images (N, 4, 6, 1); reconstruction i is grey i / N, so the error grows with i."""
    x = np.zeros((N, 4, 6, 1), np.float32)
    return x, x + (np.arange(N, dtype=np.float32) / N)[:, None, None, None]


FIGURES: dict[str, Callable[[], Figure]] = {
    "embedding": lambda: embedding(title="three clouds"),
    "confusion": lambda: plots.matched_confusion(CLASSES, clusters(), title="three clouds"),
    "roc": lambda: plots.roc_curves({"v": -scores()[0]}, scores()[1], title="three clouds"),
    "histogram": lambda: plots.score_histogram(*scores(), 0.5, title="three clouds"),
    "loss": lambda: plots.loss_curve({"l2": [3.0, 1.0, 2.0]}, title="three clouds"),
    "reconstructions": lambda: plots.reconstructions(*images(), count=3, title="three clouds"),
}


def texts(figure: Figure) -> list[str]:
    """All texts of the figure, tick labels included."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(Text)]  # type: ignore[attr-defined]
    return [text for text in found if text]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_titled_drawn_and_saved(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]()
    assert "three clouds" in figure.get_suptitle()
    plots.save(figure, tmp_path / "a.png", dpi=60)
    plots.save(FIGURES[name](), tmp_path / "b.png", dpi=60)
    pixels = imread(tmp_path / "a.png")
    assert pixels.shape[0] > 200
    assert 0.002 < (pixels[..., :3] < 0.9).any(axis=-1).mean() < 0.95  # neither blank nor black
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_charts_name_their_axes() -> None:
    for name in ("confusion", "roc", "histogram", "loss"):
        ax = FIGURES[name]().axes[0]
        assert ax.get_xlabel(), name
        assert ax.get_ylabel(), name


def test_global_settings_stay() -> None:
    before = dict(mpl.rcParams)
    for draw in FIGURES.values():
        draw()
    assert dict(mpl.rcParams) == before


HOSTILE = {
    "image.origin": "lower",
    "image.interpolation": "bicubic",
    "image.cmap": "hot",
    "text.usetex": True,
    "text.color": "red",
    "font.size": 23,
    "font.family": "serif",
    "figure.dpi": 33,
    "figure.autolayout": True,
    "savefig.dpi": 44,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "savefig.facecolor": "black",
    "axes.facecolor": "black",
    "axes.prop_cycle": mpl.cycler(color=["#ff0000"]),
    "axes.grid": True,
    "axes.formatter.use_locale": True,
    "axes.unicode_minus": False,
    "axes.spines.top": True,
    "legend.facecolor": "green",
    "lines.linewidth": 7,
    "path.sketch": (3, 100, 2),
    "xtick.labelbottom": False,
    "ytick.major.size": 20,
    "svg.fonttype": "path",
}
MORE_FIGURES: dict[str, Callable[[], Figure]] = {
    **FIGURES,
    "map": lambda: plots.class_map(codes()[:, :2], CLASSES),
    "maps": lambda: plots.class_maps({"a": codes()[:, :2]}, CLASSES, notes={}),
    "epochs": lambda: plots.epoch_bands({"l2": [[3.0, 1.0, 0.1], [4.0, 2.0, 0.2]]}, y="loss"),
    "roc bands": lambda: plots.roc_bands([0, 0.5, 1], {"v": [[0, 0.7, 1], [0, 0.8, 1]]}),
    "paired": lambda: plots.paired({"a": [1.0, 2.0], "b": [3.0, 4.0]}, chance=10, y="ACC"),
    "restarts": lambda: plots.restart_dots({"seed 0": [1.0, 1.1]}),
    "values": lambda: plots.value_histogram(scores()[0], 0.3, x="v", label="threshold"),
}


@pytest.mark.parametrize("name", MORE_FIGURES)
def test_the_settings_of_the_user_have_no_say(name: str, tmp_path: Path) -> None:
    """Neither where a figure is made nor where it is written, as PNG or into a page."""
    draw, pixels, pages = MORE_FIGURES[name], [], []
    for settings in ({}, HOSTILE):
        with mpl.rc_context(settings):
            before = dict(mpl.rcParams)
            figure = draw()
            plots.save(figure, tmp_path / "a.png", dpi=40)
            pages.append(svg(figure, "a", "a figure"))
            assert dict(mpl.rcParams) == before
        pixels.append((tmp_path / "a.png").read_bytes())
    assert pixels[0] == pixels[1]
    assert pages[0] == pages[1]


def test_every_function_that_draws_is_tried_with_the_settings_of_the_user() -> None:
    drawing = {name for name in plots.__all__ if name not in ("save", "project")}
    tried = {name for draw in MORE_FIGURES.values() for name in draw.__code__.co_names}
    assert drawing - {"embedding_scatter"} <= tried


def test_images_stand_upright() -> None:
    with mpl.rc_context(HOSTILE):
        figures = [FIGURES[name]() for name in ("confusion", "reconstructions")]
    for figure in figures:
        assert {image.origin for ax in figure.axes for image in ax.images} == {"upper"}


CLOSE: dict[str, Array] = {
    "one row apart": np.where(np.arange(40)[:, None] == 7, np.nextafter(1, 2), 1) * np.ones(10),
    "one feature apart": np.ones((120, 10)) + 4e-16 * np.eye(120, 10, -3),
    "float32, last place": np.float32([1, 1 + 1.2e-7])[np.arange(600).reshape(60, 10) % 7 // 6],
    "tiny": np.float32(1e-30) * np.random.default_rng(0).normal(size=(60, 10)).astype("f4"),
    "tiny in float64": 1e-200 * np.random.default_rng(0).normal(size=(60, 10)),
    "huge": np.float32(1e30) * np.random.default_rng(0).normal(size=(60, 10)).astype("f4"),
    "near the end of float64": 1e308 * np.random.default_rng(0).uniform(-1, 1, size=(60, 10)),
    "two points": np.repeat([[0.0, 0.0], [1e-17, 0.0]], 30, axis=0),
}  # fmt: skip


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("name", CLOSE)
def test_codes_that_nearly_fell_together_have_a_map(name: str, method: str) -> None:
    points = plots.project(CLOSE[name], method)  # type: ignore[arg-type]
    assert points.shape == (len(CLOSE[name]), 2)
    assert np.isfinite(points).all()
    assert np.ptp(points) > 0


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_equal_codes_lie_at_one_point(value: float, method: str, tmp_path: Path) -> None:
    equal = np.full((N, 10), value, np.float32)
    np.testing.assert_array_equal(plots.project(equal, method), np.zeros((N, 2)))  # type: ignore[arg-type]
    figure = plots.embedding_scatter({"u": equal}, CLASSES, {"u": clusters()}, method=method)  # type: ignore[arg-type]
    plots.save(figure, tmp_path / "a.png", dpi=30)
    plots.save(plots.class_map(np.zeros((N, 2)), CLASSES), tmp_path / "b.png", dpi=30)


def test_embedding_has_a_column_a_network_and_a_row_a_colouring() -> None:
    figure = embedding()
    assert len(figure.axes) == 4
    assert [ax.get_title() for ax in figure.axes[:2]] == ["with", "without"]
    assert all(f"{WRONG} errors" in ax.get_title() for ax in figure.axes[2:])
    found = texts(figure)
    assert {"5", "6", "7", "c9", "c4", "c2"} <= set(found)


def test_embedding_gives_a_cluster_the_colour_of_its_class() -> None:
    by_class, _, by_cluster, _ = embedding().axes
    where = {}
    for points in by_class.collections:
        for xy in np.asarray(points.get_offsets()).tolist():
            where[tuple(xy)] = to_hex(points.get_facecolor()[0])  # type: ignore[index]
    assert set(where.values()) == {colour.lower() for colour in CLASS_COLOURS[:3]}
    other = 0
    for points in by_cluster.collections:
        for xy in np.asarray(points.get_offsets()).tolist():
            colours = (
                points.get_facecolor() if len(points.get_facecolor()) else points.get_edgecolor()
            )  # type: ignore[arg-type]
            other += where[tuple(xy)] != to_hex(colours[0])  # type: ignore[index]
    assert other == WRONG


def test_labels_may_be_objects() -> None:
    names = np.array(["cat", "dog", 7], object)[CLASSES - 5]
    groups = np.array(["x", "y", "z"], object)[np.searchsorted([2, 4, 9], clusters())]
    figure = plots.matched_confusion(names, groups)
    assert {"cat", "dog", "7"} <= set(texts(figure))
    assert f"ACC {(N - WRONG) / N:.3f}" in figure.get_suptitle()
    figure = plots.embedding_scatter({"u": codes()}, names, {"u": groups}, method="pca")
    assert {"cat", "dog", "7", "cx", "cy", "cz"} <= set(texts(figure))
    assert f"{WRONG} errors" in figure.axes[1].get_title()
    assert {"cat", "dog", "7"} <= set(texts(plots.class_map(codes()[:, :2], names)))
    with pytest.raises(ValueError, match="clusters holds None"):
        plots.embedding_scatter(
            {"u": codes()}, names, {"u": np.where(groups == "x", None, groups)}, method="pca"
        )


def test_embedding_names_a_cluster_without_a_class() -> None:
    labels = clusters()
    labels[-3:] = 77
    figure = plots.embedding_scatter({"u": codes()}, CLASSES, {"u": labels}, method="pca")
    assert "c77, no class" in texts(figure)
    faces = {
        to_hex(c) for p in figure.axes[1].collections for c in np.atleast_2d(p.get_edgecolor())
    }  # type: ignore[arg-type]
    assert INK in faces


def test_projections_are_reproducible() -> None:
    for method in ("pca", "tsne"):
        first, second = (plots.project(codes(), method, seed=3) for _ in range(2))  # type: ignore[arg-type]
        assert first.shape == (N, 2)
        np.testing.assert_array_equal(first, second)


def test_pca_keeps_the_largest_spread_first() -> None:
    points = np.diag([1.0, 5.0, 3.0])[np.repeat([0, 1, 2], 4)] * np.tile([1, -1], 6)[:, None]
    spread = plots.project(points, "pca").std(axis=0)
    np.testing.assert_allclose(spread, [5 / np.sqrt(3), 3 / np.sqrt(3)])


def test_confusion_frames_the_matched_cells() -> None:
    figure = plots.matched_confusion(CLASSES, clusters())
    ax = figure.axes[0]
    assert f"ACC {(N - WRONG) / N:.3f}" in figure.get_suptitle()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["5\nc9", "6\nc4", "7\nc2"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["5", "6", "7"]
    share = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(np.diag(share), [100 * 28 / 30, 100 * 29 / 30, 100 * 29 / 30])
    assert {"28", "29", "93 %", "97 %"} <= set(texts(figure))
    assert len(ax.patches) == 3


def test_confusion_names_what_is_unmatched() -> None:
    more = clusters()
    more[-6:] = 11
    assert "no class\nc11" in texts(plots.matched_confusion(CLASSES, more))
    fewer = np.where(clusters() == 2, 4, clusters())
    figure = plots.matched_confusion(CLASSES, fewer, class_names=["five", "six", "seven"])
    assert "no cluster" in " ".join(texts(figure))
    assert len(figure.axes[0].patches) == 2


def test_roc_says_auc_and_draws_chance() -> None:
    v, anomalous = scores()
    figure = plots.roc_curves({"right": -v, "reversed": v}, anomalous)
    assert legend(figure) == ["right: AUC 1.000", "reversed: AUC 0.000", "chance: AUC 0.5"]
    *curves, chance = figure.axes[0].lines
    assert [tuple(point) for point in np.asarray(chance.get_xydata())] == [(0, 0), (1, 1)]
    assert curves[0].get_linestyle() != curves[1].get_linestyle()  # not told by colour alone
    assert "10 anomalies" in figure.axes[0].get_ylabel()


def test_histogram_counts_both_kinds_below_the_threshold() -> None:
    v, anomalous = scores()
    tau = float(v[14])  # above all 10 anomalies and 4 of the 80 normal images
    figure = plots.score_histogram(v, anomalous, tau)
    normal, anomalies, line = legend(figure)
    assert normal == "normal (80), 5 % below τ"
    assert anomalies == "anomalies (10), 100 % below τ"
    assert f"{tau:.4f}" in line
    assert figure.axes[0].lines[0].get_xdata()[0] == tau  # type: ignore[index]
    heights = [p.get_data().values.sum() for p in figure.axes[0].patches]  # type: ignore[attr-defined]
    np.testing.assert_allclose(heights, 100)  # each kind sums to 100 %


def test_loss_curve_marks_the_lowest_epoch() -> None:
    figure = plots.loss_curve({"l2": [3.0, 0.5, 2.0], "none": [4.0, 3.0, 2.5]})
    assert [text.split(", ")[0] for text in legend(figure)] == [
        "l2: best epoch 2",
        "none: best epoch 3",
    ]
    marked = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert [tuple(m.get_xydata()[0]) for m in marked] == [(2, 0.5), (3, 2.5)]  # type: ignore[index]
    assert figure.axes[0].get_yscale() == "log"


def test_reconstructions_are_sorted_by_error() -> None:
    x, x_hat = images()
    figure = plots.reconstructions(x, x_hat, count=3)
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    grey = [float(a.flat[0]) for a in shown]
    worst, best = [(N - 1) / N, (N - 2) / N, (N - 3) / N], [0, 1 / N, 2 / N]
    np.testing.assert_allclose(grey[:9], [0, 0, 0, *worst, *worst], atol=1e-6)
    np.testing.assert_allclose(grey[9:18], [0, 0, 0, *best, *best], atol=1e-6)
    assert {"input", "recon-\nstruction", "error"} <= set(texts(figure))


def test_the_error_of_integers_does_not_wrap_around() -> None:
    """White pixels of black-and-white images in uint8 that come out black are too dark, not 255."""
    white, black = np.ones((2, 4, 4, 1), np.uint8), np.zeros((2, 4, 4, 1), np.uint8)
    figure = plots.reconstructions(white, black, count=1)
    error = np.asarray(figure.axes[2].images[0].get_array())
    np.testing.assert_array_equal(error, -np.ones((4, 4)))


def test_colour_images_are_drawn() -> None:
    x = np.random.default_rng(0).random((5, 4, 4, 3), np.float32)
    plots.reconstructions(x, 1 - x, count=5).draw_without_rendering()


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path) -> None:
    class Interrupted(Figure):
        def savefig(self, file, **_):  # type: ignore[no-untyped-def]
            file.write(b"half")
            raise KeyboardInterrupt

    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        plots.save(Interrupted(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


U = {"u": codes()}
BAD: dict[str, tuple[Callable[[], object], str]] = {
    "suffix": (lambda: plots.save(Figure(), Path("a.jpg")), r"ends in \.png"),
    "method": (lambda: plots.project(codes(), "umap"), "method is 'umap'"),  # type: ignore[arg-type]
    "flat codes": (lambda: plots.project(np.ones(9)), r"codes is \(9,\)"),
    "NaN codes": (lambda: plots.project(np.full((9, 3), np.nan)), "expected finite"),
    "no panel": (lambda: plots.embedding_scatter({}, CLASSES, {}), "one or more"),
    "panel names": (lambda: plots.embedding_scatter(U, CLASSES, {"z": CLASSES}), r"\['z'\]"),
    "lengths": (lambda: plots.embedding_scatter(U, CLASSES[1:], {"u": CLASSES}), "expected 89"),
    "class names": (
        lambda: plots.matched_confusion(CLASSES, clusters(), class_names=["a"]),
        "class_names has 1 entries but expected 3",
    ),
    "no score": (lambda: plots.roc_curves({}, scores()[1]), "anomaly_scores is empty"),
    "one kind": (lambda: plots.roc_curves({"v": scores()[0]}, np.zeros(N, bool)), "both kinds"),
    "tau": (lambda: plots.score_histogram(*scores(), np.nan), "tau is nan"),
    "no losses": (lambda: plots.loss_curve({}), "losses is empty"),
    "bad loss": (lambda: plots.loss_curve({"l2": [1.0, np.inf]}), "losses of 'l2'"),
    "count": (lambda: plots.reconstructions(*images(), count=N + 1), f"count is {N + 1}"),
    "shapes": (lambda: plots.reconstructions(images()[0], images()[1][1:]), "one shape"),
    "channels": (lambda: plots.reconstructions(*np.zeros((2, 4, 5, 5, 2))), "1 or 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
