"""Charts: curves by epoch, ROC curves, histograms, pairs of runs, restarts of k-means.

With a `title` a chart is a figure of its own, with heading and legend; without one it is a panel
for a page, legible at the width of a phone: the page sets heading, legend and caption, and
`styles` keeps a curve's look from panel to panel. Where a curve has several runs, the line is their
median and the band goes from the least to the greatest.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

from l2ae_core.figures.style import (
    ANOMALY,
    FAINT,
    INK,
    LABEL,
    NORMAL,
    TICK,
    default_style,
    dress,
    line_styles,
    new_figure,
)
from l2ae_kernels.arrays import Array

Styles: TypeAlias = Mapping[str, tuple[str, str]]  # name → colour, line style
Runs: TypeAlias = Mapping[str, Sequence[Sequence[float]]]  # name → one curve a run
RocCurve: TypeAlias = tuple[Array, Array]  # false- and true-positive rates (T,)
WIDE = (7.6, 4.8)  # inches of a figure of its own
SIZE = (3.9, 2.9)  # of a panel
SQUARE = (2.5, 2.6)
BAND = 0.18  # opacity
BINS = 40
HEADROOM = 1.45  # height of the axis over the highest bar: space for the legend
HIGH = 85  # per cent above which a number stands below its dots
SPREAD = 0.16  # how far dots of one column move apart, in columns
TICKS = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
)  # leading digits on a log axis, sparse first
FEWEST_TICKS = 3


@default_style()
def epoch_curves(
    runs: Runs,
    *,
    y: str,
    x: str = "epoch",
    title: str = "",
    panel: str = "",
    styles: Styles | None = None,
    log: bool = True,
) -> Figure:
    """Draw values epoch by epoch, 1, 2, …: median and range of the runs of each curve.

    `x` is what an epoch is called, such as "round".

    A figure of its own marks the epoch of the lowest median. ValueError when there is no curve, a
    curve has runs of different lengths, or a value cannot be drawn.
    """
    stacks = {name: _stacked("epoch_curves", name, curves, log) for name, curves in runs.items()}
    heading = f"{y[:1].upper()}{y[1:]}, by {x}"
    figure, ax = _canvas("epoch_curves", stacks, heading, title, WIDE, SIZE)
    looks = styles or line_styles([*runs])
    for name, values in stacks.items():
        _band(ax, np.arange(1, values.shape[1] + 1), values, looks[name])
        if title:
            _mark_lowest(ax, f"{name}: best {x}", np.median(values, axis=0), looks[name])
    dress(ax, x=x, y=y, panel=panel)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
    if log:
        _log_axis(ax, np.concatenate([v.ravel() for v in stacks.values()]))
    if title:
        ax.legend(loc="upper right", fontsize=TICK, frameon=False, handlelength=3.2)
    return figure


def _mark_lowest(ax: Axes, name: str, values: Array, style: tuple[str, str]) -> None:
    """Mark the epoch of the lowest of values (T,), and name it in the legend."""
    (colour, line), best = style, int(values.argmin())
    ax.plot(best + 1, values[best], "o", color=colour, markersize=8, markeredgecolor="white",
            clip_on=False)  # fmt: skip
    label = f"{name} {best + 1}, {values[best]:.5f}"
    ax.plot([], [], color=colour, linestyle=line, marker="o", linewidth=1.8, label=label)


@default_style()
def roc_curves(
    runs: Mapping[str, Sequence[RocCurve]],
    *,
    title: str = "",
    panel: str = "",
    styles: Styles | None = None,
) -> Figure:
    """Draw ROC curves and the line of chance; a figure of its own gives the area under the median.

    runs maps a score to the curve of each of its runs: false- and true-positive rates (T,), as
    `anomaly.roc` returns them; the runs of a score have the same false-positive rates.
    """
    figure, ax = _canvas("roc_curves", runs, "ROC: anomalies found against false alarms", title,
                         (6.4, 6.6), SQUARE)  # fmt: skip
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, label="chance: AUC 0.5")
    for name, curves in runs.items():
        tpr = _stacked("roc_curves", name, [t for _, t in curves])
        fpr, median = np.asarray(curves[0][0]), np.median(tpr, axis=0)
        label = f"{name}: AUC {np.trapezoid(median, fpr):.3f}"
        _band(ax, fpr, tpr, (styles or line_styles([*runs]))[name], label)
    if title:
        dress(ax, x="false-positive rate", y="true-positive rate", panel=panel)
        ax.legend(loc="lower right", fontsize=TICK, framealpha=0.95, edgecolor="none")
    else:
        dress(ax, x="false alarms", y="found", panel=panel)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(FixedLocator([0, 0.5, 1]))
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure


@default_style()
def histogram(
    kinds: Mapping[str, Array], tau: float, *, x: str, title: str = "", symbol: str = "τ"
) -> Figure:
    """Draw how the values (N,) of one or two kinds are spread, and the threshold τ, or `symbol`.

    Each histogram is in per cent of its kind. A figure of its own says which share of each kind
    lies below τ. ValueError for no values, or a number that is not finite.
    """
    stacks = {name: _stacked("histogram", name, [values])[0] for name, values in kinds.items()}
    if not np.isfinite(tau):
        raise ValueError(f"histogram: tau is {tau} but expected a finite number")
    heading = f"Distribution of the {x}"
    figure, ax = _canvas("histogram", stacks, heading, title, WIDE, SIZE)
    edges = np.histogram_bin_edges(np.concatenate([*stacks.values(), [tau]]), BINS)
    for (name, v), colour in zip(stacks.items(), (NORMAL, ANOMALY), strict=False):
        heights = 100 * np.histogram(v, edges)[0] / len(v)
        label = f"{name} ({len(v):,}), {100 * np.mean(v < tau):.0f} % below {symbol}"
        ax.stairs(heights, edges, color=colour, alpha=0.35, fill=True)
        ax.stairs(heights, edges, color=colour, linewidth=1.5, label=label)
    ax.axvline(
        tau, color=INK, linewidth=1.4, linestyle="--", label=f"threshold {symbol} = {tau:.4f}"
    )
    dress(ax, x=x, y="share of its kind, %" if len(kinds) > 1 else "share of images, %")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8 if title else 4))
    if title:
        ax.set_ylim(top=HEADROOM * ax.get_ylim()[1])
        ax.legend(loc="upper left", fontsize=TICK, framealpha=0.95, edgecolor="none")
    else:
        offset, side = (-5, "right") if tau > np.mean(ax.get_xlim()) else (5, "left")  # the wider
        ax.annotate(f"{symbol} = {tau:#.5g}", (tau, 0.98), (offset, 0), ha=side, va="top",
                    xycoords=("data", "axes fraction"), textcoords="offset points",
                    fontsize=LABEL, color=INK)  # fmt: skip
    return figure


@default_style()
def paired(columns: Mapping[str, Sequence[float]], *, chance: float, y: str, panel: str = "") -> (
    Figure
):  # fmt: skip
    """Draw one line a seed through its values in each column, in per cent, and chance.

    ValueError when the columns are of different lengths, or there is none.
    """
    values = _stacked("paired", "columns", list(columns.values()))  # (columns, seeds)
    figure, ax = _canvas("paired", columns, "", "", WIDE, SIZE)
    (colour, _), (faded, _) = line_styles(["", " "]).values()
    seeds, last = values.shape[1], len(columns) - 1
    shift = SPREAD * (2 * np.arange(seeds) - seeds + 1) / max(seeds - 1, 1)  # (seeds,)
    ax.plot(np.arange(last + 1)[:, None] + shift, values, color=FAINT, linewidth=0.9, alpha=0.6)
    for x, column in enumerate(values):
        tone = colour if x == last else faded
        ax.plot(x + shift, column, "o", color=tone, markersize=5, alpha=0.75)
        mean = float(np.mean(column))
        ax.plot([x - 0.25, x + 0.25], [mean, mean], color=INK, linewidth=1.5)
        below = mean > HIGH
        ax.annotate(f"{mean:.1f}", (x, column.min() if below else column.max()),
                    (0, -6 if below else 6), textcoords="offset points", ha="center",
                    va="top" if below else "bottom", fontsize=TICK, color=INK)  # fmt: skip
    ax.axhline(chance, color=FAINT, linewidth=1, linestyle="--")
    ax.annotate("chance", (-0.4, chance), (0, 3), textcoords="offset points",
                fontsize=TICK, color=FAINT)  # fmt: skip
    dress(ax, x="", y=y, panel=panel)
    ax.set(xlim=(-0.45, last + 0.45), ylim=(0, 100))
    ax.set_xticks(range(len(columns)), list(columns))
    ax.grid(False, axis="x")
    return figure


@default_style()
def restart_dots(inertia: Mapping[str, Sequence[float]], *, panel: str = "") -> Figure:
    """Draw how far each restart of k-means ended above the best of its run, one row a run.

    inertia maps the name of a run to the inertias of its restarts, all > 0. Restarts that fall into
    one solution lie on one spot, whose dot is then the darker.
    """
    size = SIZE[0], 1.2 + 0.2 * max(len(inertia), 3)
    figure, ax = _canvas("restart_dots", inertia, "", "", WIDE, size)
    (colour, _), *_ = line_styles([""]).values()
    for row, (name, values) in enumerate(inertia.items()):
        v = _stacked("restart_dots", name, [values], log=True)[0]
        above = 100 * (v / v.min() - 1)
        ax.plot(above, np.full(len(v), row), "o", color=colour, markersize=6, alpha=0.3,
                markeredgewidth=0, clip_on=False)  # fmt: skip
    dress(ax, x="inertia above the best restart, %", y="", panel=panel)
    ax.set_yticks(range(len(inertia)), list(inertia))
    ax.set_ylim(len(inertia) - 0.5, -0.5)
    ax.set_xlim(left=min(0.0, ax.get_xlim()[0]))
    return figure


def _canvas(
    function: str,
    content: Mapping[str, object],
    heading: str,
    title: str,
    wide: tuple[float, float],
    panel: tuple[float, float],
) -> tuple[Figure, Axes]:
    """Return an empty figure of its own where there is a title, else a panel, and its axes."""
    if not content:
        raise ValueError(f"{function}: nothing to draw but expected one or more curves")
    if title:
        figure = new_figure(*wide, heading, title)
    else:
        figure = Figure(figsize=panel, layout="constrained", facecolor="white")
    return figure, figure.subplots()


def _stacked(
    function: str, name: str, curves: Sequence[Sequence[float]] | Sequence[Array], log: bool = False
) -> Array:
    """Return curves as (runs, T) after checking that they can be drawn."""
    if len({len(curve) for curve in curves}) != 1 or not len(curves[0]):
        raise ValueError(
            f"{function}: runs of {name!r} have lengths {[len(c) for c in curves]} but expected "
            "one length, at least 1"
        )
    values = np.asarray(curves, np.float64)
    if not np.isfinite(values).all() or (log and values.min() <= 0):
        raise ValueError(f"{function}: {name!r} expected to be finite{' and > 0' if log else ''}")
    return values


def _band(ax: Axes, x: Array, values: Array, style: tuple[str, str], label: str = "") -> None:
    """Draw the median of values (runs, T) and their range."""
    colour, line = style
    if len(values) > 1:
        low, high = values.min(axis=0), values.max(axis=0)
        ax.fill_between(x, low, high, color=colour, alpha=BAND, linewidth=0)
    ax.plot(x, np.median(values, axis=0), color=colour, linestyle=line, linewidth=1.8, label=label)


def _log_axis(ax: Axes, values: Array) -> None:
    """A log axis with few plain numbers; a linear one where the values are too close for that."""
    low, high = float(values.min()), float(values.max())
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for leading in TICKS:
        ticks = np.outer(powers, leading).ravel()
        if np.sum((low <= ticks) & (ticks <= high)) >= FEWEST_TICKS:
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(FixedLocator(ticks.tolist()))
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
            return
