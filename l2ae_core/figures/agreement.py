"""Runs of several seeds: how far each agrees with the others, and how good it is."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l2ae_core.figures.style import (
    CLASS_MARKERS,
    INK,
    LINES,
    TICK,
    default_style,
    dress,
    new_figure,
)
from l2ae_kernels.arrays import Array

OFFSETS = ((7, 0), (-7, 0), (0, 8), (0, -8), (7, 7), (-7, 7), (7, -7), (-7, -7))  # points
DIGIT = 6.0  # points, width of one in a label
HEIGHT = 9.0  # of a label
MARGIN = 0.12  # of the axes, around the dots


class SeedScores(NamedTuple):
    """Of R runs, one entry each."""

    agreement: Sequence[float] | Array  # mean NMI with the other runs
    accuracy: Sequence[float] | Array  # per cent
    seeds: Sequence[int]


@default_style()
def agreement_scatter(
    groups: Mapping[str, SeedScores], *, y: str = "accuracy, %", title: str = "", panel: str = ""
) -> Figure:
    """Draw a dot a run, named by its seed: its agreement with the others against its accuracy.

    groups maps the name of a way to train to its runs. With a `title` it is a figure of its own,
    with heading; without one a panel for a page. ValueError when there is no run, lengths differ,
    or a value is not finite.
    """
    points = {name: _points(name, scores) for name, scores in groups.items()}
    if not points:
        raise ValueError("agreement_scatter: groups is empty but expected one or more")
    if title:
        figure = new_figure(7.6, 4.8, "Agreement with the other seeds against accuracy", title)
    else:
        figure = Figure(figsize=(3.9, 2.9), layout="constrained", facecolor="white")
    ax = figure.subplots()
    dress(ax, x="mean NMI with the other runs", y=y, panel=panel)
    for i, (name, xy) in enumerate(points.items()):
        colour, marker = LINES[i % len(LINES)][0], CLASS_MARKERS[i % len(CLASS_MARKERS)]
        ax.plot(*xy.T, marker, color=colour, markersize=6, alpha=0.75, markeredgewidth=0,
                label=name, clip_on=False)  # fmt: skip
    ax.margins(MARGIN)
    if len(points) > 1:
        ax.legend(loc="best", fontsize=TICK, framealpha=0.95, edgecolor="none")
    figure.draw_without_rendering()  # the layout, for distances between labels
    seeds = [f"{seed}" for scores in groups.values() for seed in scores.seeds]
    _name_dots(ax, np.concatenate([*points.values()]), seeds)
    return figure


def _points(name: str, scores: SeedScores) -> Array:
    """Return agreement and accuracy (R, 2) after checking that they can be drawn."""
    lengths = [len(part) for part in scores]
    if len({*lengths}) > 1 or not lengths[0]:
        raise ValueError(
            f"agreement_scatter: {name!r} has {lengths} agreements, accuracies and seeds but "
            "expected as many of each, at least 1"
        )
    points = np.array([scores.agreement, scores.accuracy], np.float64).T
    if not np.isfinite(points).all():
        raise ValueError(f"agreement_scatter: {name!r} expected to be finite")
    return points


def _name_dots(ax: Axes, points: Array, names: Sequence[str]) -> None:
    """Write names beside points (R, 2), each where it covers least of dots and other names."""
    figure = ax.get_figure()
    assert figure is not None
    dots = ax.transData.transform(points) * 72 / figure.dpi  # in points of the page
    taken = [(x, y, DIGIT, DIGIT) for x, y in dots.tolist()]  # centre, width, height
    for name, (x, y), point in zip(names, dots.tolist(), points, strict=True):
        width = DIGIT * len(name)
        boxes = [
            (x + dx + np.sign(dx) * (width - DIGIT) / 2, y + dy, width, HEIGHT)
            for dx, dy in OFFSETS
        ]
        covered = [sum(_overlap(box, other) for other in taken) for box in boxes]
        best = boxes[int(np.argmin(covered))]
        taken.append(best)
        ax.annotate(name, point, (best[0] - x, best[1] - y), textcoords="offset points",
                    fontsize=TICK - 1, color=INK, ha="center", va="center")  # fmt: skip


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the area that two boxes, given as centre, width and height, have in common."""
    width = (a[2] + b[2]) / 2 - abs(a[0] - b[0])
    height = (a[3] + b[3]) / 2 - abs(a[1] - b[1])
    return max(width, 0.0) * max(height, 0.0)
