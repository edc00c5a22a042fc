"""One look for all figures: colours that colour-blind readers can tell apart, sizes, saving.

The colours of classes are Paul Tol's "muted" scheme and a grey; those of curves are three of
Okabe and Ito's. Nothing is told by colour alone: classes are also named in place, curves differ in
line style. Settings are given to each artist, and every other one is matplotlib's default: the
user's `matplotlibrc` and `matplotlib.rcParams` have no say, and are as before afterwards.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from l2ae_core.files import atomic_file
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

CLASS_COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#808080",
)  # fmt: skip
CLASS_MARKERS = ("o", "^", "s", "D")  # one for each pass through the colours, then they repeat
LINES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#000000", ":"))
NORMAL, ANOMALY = "#0072B2", "#D55E00"
INK, FAINT, GRID = "#222222", "#767676", "#E4E4E4"

FORMATS: dict[str, dict[str, None]] = {  # suffix: what is left out, since it tells date or version
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
IMAGE: dict[str, Any] = {"origin": "upper", "interpolation": "antialiased"}  # of every image

TITLE, PANEL, LABEL, TICK = 13, 11, 10.5, 9.5  # points


@contextmanager
def default_style() -> Iterator[None]:
    """Inside, matplotlib has its defaults: for what makes artists, and for what renders them."""
    defaults: dict[Any, Any] = {
        name: value
        for name, value in mpl.rcParamsDefault.items()
        if name != "backend" and mpl.rcParams[name] != value
    }
    with mpl.rc_context(defaults):
        yield


def new_figure(width: float, height: float, heading: str, title: str) -> Figure:
    """Return an empty figure of width × height inches; `title` stands behind the heading."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    text = f"{heading}\n{title}" if title else heading
    figure.suptitle(text, fontsize=TITLE, color=INK, linespacing=1.4)
    return figure


def dress(ax: Axes, *, x: str, y: str, panel: str = "", grid: bool = True) -> None:
    """Label the axes of a chart, and take away what carries no information."""
    ax.set_xlabel(x, fontsize=LABEL, color=INK)
    ax.set_ylabel(y, fontsize=LABEL, color=INK)
    if panel:
        ax.set_title(panel, fontsize=PANEL, color=INK)
    ax.tick_params(labelsize=TICK, color=FAINT, labelcolor=INK)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    if grid:
        ax.grid(True, color=GRID, linewidth=0.8)
        ax.set_axisbelow(True)


def bare(ax: Axes) -> None:
    """Take ticks and frame away: for images, and for maps whose coordinates mean nothing."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def class_style(index: int) -> tuple[str, str]:
    """Return colour and marker of the class at `index` ≥ 0."""
    repeat, position = divmod(index, len(CLASS_COLOURS))
    return CLASS_COLOURS[position], CLASS_MARKERS[repeat % len(CLASS_MARKERS)]


def line_styles(names: list[str]) -> dict[str, tuple[str, str]]:
    """Return colour and line style of each curve; the fifth curve looks like the first again."""
    return dict(zip(names, cycle(LINES), strict=False))


def class_labels(function: str, values: Array, names: Sequence[str] | None) -> list[str]:
    """Return the names of the classes, sorted: those given, or the label values themselves."""
    if names is None:
        return [str(value) for value in values.tolist()]
    if len(names) != len(values):
        raise ValueError(
            f"{function}: class_names has {counted(len(names), 'name')} but expected "
            f"{len(values)}, one for each class"
        )
    return list(names)


def name_groups(
    ax: Axes, points: Array, group: Array, names: Sequence[str], size: float = PANEL
) -> None:
    """Write names[g] at the point of points (N, 2) in group g that is nearest to its medians."""
    outline = [withStroke(linewidth=3.0, foreground="white")]  # keeps text legible on points
    for index, name in enumerate(names):
        members = points[group == index]
        middle = np.median(members, axis=0)
        x, y = members[((members - middle) ** 2).sum(axis=1).argmin()]
        ax.text(x, y, name, fontsize=size, weight="bold", color=INK, ha="center", va="center",
                path_effects=outline)  # fmt: skip


@default_style()
def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write the figure as PNG, SVG or PDF, atomically: an interruption leaves the old file or none.

    Equal figures give equal bytes: neither date nor version is stored. ValueError when the path
    ends in none of FORMATS.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(
            f"save: path is {path} but expected a name that ends in {' or '.join(FORMATS)}"
        )
    with atomic_file(path) as file, mpl.rc_context({"svg.hashsalt": "l2ae"}):  # ids of the SVG
        figure.savefig(file, format=suffix[1:], dpi=dpi, metadata=FORMATS[suffix])
