"""Maps whose points are drawn already: one panel a map, all with the colours of the classes."""

from collections.abc import Mapping
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from l2ae_core.clustering.metrics import encode_labels
from l2ae_core.figures.style import (
    CLASS_COLOURS,
    FAINT,
    GRID,
    INK,
    LABEL,
    PANEL,
    TICK,
    bare,
    class_style,
    default_style,
    name_groups,
    new_figure,
)
from l2ae_kernels.arrays import Array

DOT = 2.1  # points
SIDE = 4.0  # inches of a panel
MARGIN = 0.03  # of the map, around it
NUDGE = 1e-4  # length of a dot as a line, in map widths: renderers drop lines of length 0
ARM = 0.006  # length of the arms of a cross, in map widths
# A mark for each pass through the colours, then they repeat: width in points, lines in map widths.
MARKS: tuple[tuple[float, Array], ...] = (
    (DOT, np.array([[[0, 0], [NUDGE, 0]]])),
    (1.2, ARM * np.array([[[-1, 0], [1, 0]], [[0, -1], [0, 1]]])),
    (1.2, ARM * np.array([[[-0.7, -0.7], [0.7, 0.7]], [[-0.7, 0.7], [0.7, -0.7]]])),
    (1.6, ARM * np.array([[[-1, 0], [1, 0]]])),
)


@default_style()
def class_maps(
    maps: Mapping[str, Array], classes: Array, *, notes: Mapping[str, str] = {}, title: str = ""
) -> Figure:
    """Draw maps (N, 2), coloured by classes (N,); `notes` stand below each panel.

    Up to three stand side by side, more in two columns.
    Without a title it is a panel for a page, which names the maps.
    """
    if not maps:
        raise ValueError("class_maps: maps is empty but expected one or more")
    columns = len(maps) if len(maps) <= 3 else 2
    rows = ceil(len(maps) / columns)
    if title:
        heading = "Codes, drawn in 2-D by t-SNE"
        figure = new_figure(SIDE * columns + 0.4, SIDE * rows + 1.1, heading, title)
        figure.supxlabel("axes of a map have no unit", fontsize=TICK, color=FAINT)
    else:
        figure = Figure(
            figsize=(SIDE * columns, SIDE * rows), layout="constrained", facecolor="white"
        )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(maps) :]:
        ax.set_axis_off()
    for ax, (name, points) in zip(axes, maps.items(), strict=False):
        _draw(ax, points, classes)
        if title:
            ax.set_title(name, fontsize=PANEL, color=INK)
        ax.set_xlabel(notes.get(name, ""), fontsize=LABEL, color=INK)
    return figure


def _draw(ax: Axes, points: Array, classes: Array) -> None:
    """Draw the points of every class as one path, and the name of the class on top.

    A class that is an integer has the look of this number, whatever other classes there are.
    One path a class keeps a page small: 5,000 markers would be 5,000 elements of its SVG.
    """
    values, kind = encode_labels("class_maps", "classes", classes)
    if points.shape != (len(classes), 2) or not np.isfinite(points).all():
        raise ValueError(
            f"class_maps: a map is {points.shape} but expected finite ({len(classes)}, 2)"
        )
    scale = float(np.ptp(points)) or 1.0
    for index, value in enumerate(values.tolist()):
        members = points[kind == index]
        look = value if isinstance(value, int) and value >= 0 else index
        width, lines = MARKS[look // len(CLASS_COLOURS) % len(MARKS)]
        ends = (members[:, None, None] + scale * lines).reshape(-1, 2)
        path = Path(ends, [Path.MOVETO, Path.LINETO] * (len(ends) // 2))
        path.should_simplify = False
        colour, _ = class_style(look)
        ax.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=width, alpha=0.8,
                               capstyle="round", snap=False))  # fmt: skip
    name_groups(ax, points, kind, [str(value) for value in values.tolist()], PANEL + 2)
    _frame(ax, points)


def _frame(ax: Axes, points: Array) -> None:
    """A square window around the points, one scale for both axes."""
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    half = (0.5 + MARGIN) * (float(np.ptp(points, axis=0).max()) or 1.0)
    ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    ax.set_aspect("equal")
    bare(ax)
    for spine in ax.spines.values():
        spine.set(visible=True, color=GRID, linewidth=1)
