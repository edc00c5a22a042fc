"""A roofline: how fast every rung is, against how much it computes for each byte of its arrays.

No call is faster than the multiply-adds in registers, nor than its arrays can be read and written:
the roof is the lower of both. It has one slope for arrays that no cache holds, and one for those
that stay in the fastest cache, so a point between the two is of arrays that some cache holds.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from sklearn.isotonic import isotonic_regression

from l2ae_bench.comparison import OURS, Measurement
from l2ae_bench.rates import Ceilings
from l2ae_bench.work import FMA, Work, is_ceiling, triad_name
from l2ae_core.figures.style import (
    FAINT,
    INK,
    LABEL,
    TICK,
    class_style,
    default_style,
    dress,
    new_figure,
)
from l2ae_kernels.operations import IMPLEMENTATIONS

WIDTH, HEIGHT = 11.0, 7.5  # inches
OUTLINE = [withStroke(linewidth=3.0, foreground="white")]  # of text that lines run through
LABELS = 0.16  # inches between two names
RUNGS = ("reference", "im2col", "tiled", "blocked", "fused", "register", "winograd", "compiled",
         OURS)  # fmt: skip
PEER = "library or peer"


class Point(NamedTuple):
    """One rung, or a peer, of a workload."""

    workload: str
    rung: str
    intensity: float  # FLOP/byte
    rate: float  # GFLOP/s


def points(rows: Sequence[Measurement], threads: int) -> list[Point]:
    """Return a point for every row with work and each of its peers, one for each name."""
    found = {
        (point.workload, point.rung): point
        for row in rows
        if row.threads == threads and row.work is not None and not is_ceiling(row.workload)
        for point in _points(row, row.work)
        if row.work.flop and row.work.bytes
    }
    return list(found.values())


def _points(row: Measurement, work: Work) -> Iterator[Point]:
    operation = row.workload.partition("-")[0]
    workload, rung = row.workload, OURS
    if operation in IMPLEMENTATIONS:
        workload, _, rung = row.workload.rpartition("-")
    for name, ms in (row.peers | {rung: row.ours_ms}).items():
        yield Point(workload, name, work.intensity, work.rate(ms, "flop"))


@default_style()
def roofline(rows: Sequence[Measurement], machine: dict[str, Any], threads: int) -> Figure:
    """Return the figure; ValueError without points, or without the ceilings of so many threads."""
    found, ceilings = points(rows, threads), Ceilings(rows)
    peak, triads = ceilings.rate(FMA, threads), ceilings.triads(threads)
    if not found:
        raise ValueError(f"roofline: no row of {threads} threads knows its work; time them again")
    if peak is None or not triads:
        raise ValueError(f"roofline: no ceilings ({FMA}, triads) of {threads} threads")
    words = [machine.get("processor"), f"vectors {machine.get('vectors')}",
             f"{threads} thread{'s' * (threads > 1)}"]  # fmt: skip
    figure = new_figure(WIDTH, HEIGHT, "Roofline", ", ".join(filter(None, words)))
    ax = figure.subplots()
    ax.set_xscale("log")
    ax.set_yscale("log")
    x, y = (np.array([getattr(p, name) for p in found]) for name in ("intensity", "rate"))
    ridges = peak / max(triads.values()), peak / min(triads.values())
    ax.set_xlim(min(x.min() / 2, ridges[0] / 8), max(x.max() * 2, ridges[1] * 4))
    ax.set_ylim(min(y.min() / 1.6, peak / 16), max(peak, y.max()) * 1.5)
    dress(ax, x="floating-point operations for each byte of the arrays", y="GFLOP/s")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    _draw_roofs(ax, peak, triads)
    _draw_points(ax, found)
    _name_workloads(ax, found)
    figure.legend(loc="outside lower center", ncols=len(RUNGS) + 1, fontsize=TICK, frameon=False,
                  labelcolor=INK, handletextpad=0.2, columnspacing=1.6)  # fmt: skip
    return figure


def _draw_roofs(ax: Axes, peak: float, triads: dict[int, float]) -> None:
    """The multiply-adds, the triad of the most bytes, and the fastest one."""
    x = np.geomspace(*ax.get_xlim(), 400)
    slowest, fastest = max(triads), max(triads, key=lambda size: triads[size])
    for size, style in ((slowest, "-"), *([(fastest, "--")] if fastest != slowest else [])):
        bandwidth = triads[size]
        ax.plot(x, np.minimum(peak, bandwidth * x), style, color=INK, linewidth=1.3, zorder=1)
        at = 1.15 * max(ax.get_xlim()[0], ax.get_ylim()[0] / bandwidth)
        words = f"{triad_name(size)}: {bandwidth:.0f} GB/s"
        ax.text(at, 1.12 * bandwidth * at, words, fontsize=TICK, color=INK,
                rotation=np.degrees(np.arctan(bandwidth)), rotation_mode="anchor",
                transform_rotates_text=True, ha="left", va="bottom",
                path_effects=OUTLINE)  # fmt: skip
    ridge = peak / triads[slowest]
    ax.text(1.25 * ridge, 1.06 * peak, f"multiply-adds: {peak:.0f} GFLOP/s", fontsize=TICK,
            color=INK, ha="left", va="bottom", zorder=4, path_effects=OUTLINE)  # fmt: skip


def _draw_points(ax: Axes, found: list[Point]) -> None:
    """Rungs by colour and marker; a line joins those of a workload."""
    for workload in dict.fromkeys(p.workload for p in found):
        rates = [p.rate for p in found if p.workload == workload]
        x = next(p.intensity for p in found if p.workload == workload)
        ax.plot([x, x], [min(rates), max(rates)], color=FAINT, linewidth=0.7, zorder=2)
    there = {p.rung if p.rung in RUNGS else PEER for p in found}
    for rung in (*(r for r in RUNGS if r in there), *({PEER} & there)):
        chosen = [p for p in found if (p.rung if p.rung in RUNGS else PEER) == rung]
        peer = rung == PEER
        ax.scatter(
            [p.intensity for p in chosen], [p.rate for p in chosen], s=30 if peer else 44, zorder=3,
            color=FAINT if peer else class_style(RUNGS.index(rung))[0], label=rung,
            marker="x" if peer else "o", edgecolor=None if peer else "white",
            linewidth=1.2 if peer else 0.6,
        )  # fmt: skip


def _name_workloads(ax: Axes, found: list[Point]) -> None:
    """Names above the chart, moved apart, each with a line to its highest point."""
    top: dict[str, Point] = {}
    for p in sorted(found, key=lambda p: p.rate):
        top[p.workload] = p
    named = sorted(top.values(), key=lambda p: (p.intensity, -p.rate))
    low, high = np.log10(ax.get_xlim())
    gap = (high - low) * LABELS / WIDTH
    steps = gap * np.arange(len(named))
    places = isotonic_regression(np.log10([p.intensity for p in named]) - steps) + steps
    places += min(0.0, high - places[-1]) + max(0.0, low - places[0])
    for p, place in zip(named, places, strict=True):
        ax.annotate(p.workload, (p.intensity, p.rate), (10**place, 1.02), rotation=90,
                    textcoords=ax.get_xaxis_transform(), fontsize=LABEL - 2.5, color=INK,
                    ha="center", va="bottom",
                    arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.4,
                                "relpos": (0.5, 0.0)})  # fmt: skip
