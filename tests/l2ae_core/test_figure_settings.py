"""Figures and the settings of matplotlib: neither changes the other."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from l2ae_core import figures
from l2ae_core.report.pictures import svg

from .made_up_figures import CLASSES, FIGURES, codes, roc_of_scores, scores

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
    "maps": lambda: figures.class_maps({"a": codes()[:, :2]}, CLASSES),
    "epochs": lambda: figures.epoch_curves({"l2": [[3.0, 1.0, 0.1], [4.0, 2.0, 0.2]]}, y="loss"),
    "roc panel": lambda: figures.roc_curves(roc_of_scores()),
    "paired": lambda: figures.paired({"a": [1.0, 2.0], "b": [3.0, 4.0]}, chance=10, y="ACC"),
    "restarts": lambda: figures.restart_dots({"seed 0": [1.0, 1.1]}),
    "values": lambda: figures.histogram({"v": scores()[0]}, 0.3, x="v"),
}


EVERY_DAY = ("loss", "embedding", "maps", "paired")  # a curve, dots in colours, panels, bars


@pytest.mark.parametrize(
    "name",
    [n if n in EVERY_DAY else pytest.param(n, marks=pytest.mark.slow) for n in MORE_FIGURES],
)
def test_the_settings_of_the_user_have_no_say(name: str, tmp_path: Path) -> None:
    """Neither where a figure is made nor where it is written."""
    draw, pixels = MORE_FIGURES[name], []
    for settings in ({}, HOSTILE):
        with mpl.rc_context(settings):
            before = dict(mpl.rcParams)
            figures.save(draw(), tmp_path / "a.png", dpi=40)
            assert dict(mpl.rcParams) == before
        pixels.append((tmp_path / "a.png").read_bytes())
    assert pixels[0] == pixels[1]


def test_the_settings_of_the_user_have_no_say_in_a_page() -> None:
    pages = []
    for settings in ({}, HOSTILE):
        with mpl.rc_context(settings):
            pages.append(svg(FIGURES["embedding"](), "a", "a figure"))
    assert pages[0] == pages[1]


def test_every_function_that_draws_is_tried_with_the_settings_of_the_user() -> None:
    drawing = {*figures.__all__} - {"save", "project", "SeedScores"}
    tried = {name for draw in MORE_FIGURES.values() for name in draw.__code__.co_names}
    assert drawing - {"embedding_scatter"} <= tried


def test_images_stand_upright() -> None:
    with mpl.rc_context(HOSTILE):
        figures = [FIGURES[name]() for name in ("confusion", "reconstructions")]
    for figure in figures:
        assert {image.origin for ax in figure.axes for image in ax.images} == {"upper"}
