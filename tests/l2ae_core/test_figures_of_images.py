"""Figures of codes, images and gradients: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from l2ae_core import figures
from l2ae_core.figures.style import CLASS_COLOURS, INK

from .made_up_figures import (
    CLASSES,
    FIGURES,
    WRONG,
    N,
    clusters,
    codes,
    embedding,
    gradients,
    images,
    texts,
)


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
            where[tuple(xy)] = to_hex(points.get_facecolor()[0])
    assert set(where.values()) == {colour.lower() for colour in CLASS_COLOURS[:3]}
    other = 0
    for points in by_cluster.collections:
        for xy in np.asarray(points.get_offsets()).tolist():
            colours = (
                points.get_facecolor() if len(points.get_facecolor()) else points.get_edgecolor()
            )
            other += where[tuple(xy)] != to_hex(colours[0])
    assert other == WRONG


def test_labels_may_be_objects() -> None:
    names = np.array(["cat", "dog", 7], object)[CLASSES - 5]
    groups = np.array(["x", "y", "z"], object)[np.searchsorted([2, 4, 9], clusters())]
    figure = figures.matched_confusion(names, groups)
    assert {"cat", "dog", "7"} <= set(texts(figure))
    assert f"ACC {(N - WRONG) / N:.3f}" in figure.get_suptitle()
    figure = figures.embedding_scatter({"u": codes()}, names, {"u": groups}, method="pca")
    assert {"cat", "dog", "7", "cx", "cy", "cz"} <= set(texts(figure))
    assert f"{WRONG} errors" in figure.axes[1].get_title()
    assert {"cat", "dog", "7"} <= set(texts(figures.class_maps({"u": codes()[:, :2]}, names)))
    with pytest.raises(ValueError, match="clusters holds None"):
        figures.embedding_scatter(
            {"u": codes()}, names, {"u": np.where(groups == "x", None, groups)}, method="pca"
        )


def test_embedding_names_a_cluster_without_a_class() -> None:
    labels = clusters()
    labels[-3:] = 77
    figure = figures.embedding_scatter({"u": codes()}, CLASSES, {"u": labels}, method="pca")
    assert "c77, no class" in texts(figure)
    faces = {
        to_hex(c) for p in figure.axes[1].collections for c in np.atleast_2d(p.get_edgecolor())
    }
    assert INK in faces


def test_confusion_frames_the_matched_cells() -> None:
    figure = figures.matched_confusion(CLASSES, clusters())
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
    assert "no class\nc11" in texts(figures.matched_confusion(CLASSES, more))
    fewer = np.where(clusters() == 2, 4, clusters())
    figure = figures.matched_confusion(CLASSES, fewer, class_names=["five", "six", "seven"])
    assert "no cluster" in " ".join(texts(figure))
    assert len(figure.axes[0].patches) == 2


def test_reconstructions_are_sorted_by_error() -> None:
    x, x_hat = images()
    figure = figures.reconstructions(x, x_hat, count=3)
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    grey = [float(a.flat[0]) for a in shown]
    worst, best = [(N - 1) / N, (N - 2) / N, (N - 3) / N], [0, 1 / N, 2 / N]
    np.testing.assert_allclose(grey[:9], [0, 0, 0, *worst, *worst], atol=1e-6)
    np.testing.assert_allclose(grey[9:18], [0, 0, 0, *best, *best], atol=1e-6)
    assert {"input", "recon-\nstruction", "error"} <= set(texts(figure))


def test_the_error_of_integers_does_not_wrap_around() -> None:
    """White pixels of black-and-white images in uint8 that come out black are too dark, not 255."""
    white, black = np.ones((2, 4, 4, 1), np.uint8), np.zeros((2, 4, 4, 1), np.uint8)
    figure = figures.reconstructions(white, black, count=1)
    error = np.asarray(figure.axes[2].images[0].get_array())
    np.testing.assert_array_equal(error, -np.ones((4, 4)))


def test_colour_images_are_drawn() -> None:
    x = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    figures.reconstructions(x, 1 - x, count=1).draw_without_rendering()


def test_gradient_errors_have_a_panel_a_block_and_colours_by_tolerance() -> None:
    figure = FIGURES["gradients"]()
    panels = {ax.get_title(): ax.images[0] for ax in figure.axes if ax.images}
    assert list(panels) == [
        "W  (3 × 4)\n1 of 11 wrong", "b  (4)\n0 of 4 wrong", "x  (2 × 3 × 3 × 2)\n0 of 36 wrong",
    ]  # fmt: skip
    own, _, other = panels.values()
    assert other.get_array().shape == (6, 6)
    red, green, blue, _ = np.moveaxis(own.to_rgba(own.get_array()), -1, 0)
    wrong = gradients()["own"]["W"] > 1e-6
    np.testing.assert_array_equal(red > blue + 0.1, wrong)
    assert red[2, 3] == green[2, 3] == blue[2, 3]  # grey: not compared
    with pytest.raises(ValueError, match="expected one or more blocks"):
        figures.gradient_errors({"own": {}}, 1e-6)
