"""How measured cells grow with N: slopes on log axes, a table, and a figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from l2ae_bench.scale.cells import FLOATS, MAPPED, MEMORY, OURS, PEERS, WORKERS
from l2ae_bench.scale.measure import Row
from l2ae_bench.text import sources
from l2ae_core.figures.style import (
    CLASS_COLOURS,
    FAINT,
    INK,
    LINES,
    TICK,
    default_style,
    dress,
    new_figure,
)
from l2ae_core.paper.tables import Table

FROM = 100_000  # samples: below, what is paid once is most of the time
STYLES = {MEMORY: ("#000000", "-"), MAPPED: (LINES[0][0], "--"), FLOATS: ("#000000", ":")}
STYLES |= {name: (colour, "-.") for name, colour in
           zip(WORKERS, ("#7FC8A9", "#009E73", "#00573F"), strict=True)}  # fmt: skip
STYLES |= {name: (CLASS_COLOURS[i], ":") for name, i in zip(PEERS, (5, 6, 7, 8), strict=True)}


def slope(rows: Sequence[Row]) -> float | None:
    """Return s of seconds ~ N^s, by least squares on log axes; None of fewer than two sizes."""
    large = [row for row in rows if row.N >= FROM]
    if len({row.N for row in large}) < 2:
        return None
    x, y = np.log([row.N for row in large]), np.log([row.seconds for row in large])
    return float(np.polyfit(x, y, 1)[0])


def groups(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Return the rows of each work, by its title, and of each contender, ascending in N."""
    found: dict[str, dict[str, list[Row]]] = {}
    order = [FLOATS, *OURS, *PEERS]
    for row in sorted(rows, key=lambda r: (r.work, r.d * r.k, order.index(r.contender), r.N)):
        title = f"k-means, d = {row.d}, k = {row.k}" if row.work == "k-means" else row.work
        found.setdefault(title, {}).setdefault(row.contender, []).append(row)
    return found


def table(rows: Sequence[Row]) -> Table:
    """Return seconds and megabytes of each contender at each N, and the slope of its seconds."""
    sizes = sorted({row.N for row in rows})
    lines = []
    for title, contenders in groups(rows).items():
        for name, own in contenders.items():
            at = {row.N: f"{_number(row.seconds)} · {_megabytes(row.bytes)}" for row in own}
            found = slope(own)
            lines.append([title, name, *(at.get(N, "") for N in sizes),
                          "" if found is None else f"{found:.2f}"])  # fmt: skip
    columns = ["work", "who", *(f"N = {N:,}" for N in sizes), "slope"]
    machines = [("scale", row.machine) for row in rows[:1]]
    note = f"Seconds · MB above the process before; slope of log seconds from N = {FROM:,} on. "
    return Table("scale", "Growth", columns, lines, note + sources(machines), 2)


@default_style()
def figure(rows: Sequence[Row]) -> Figure:
    """Draw seconds (above) and memory (below) by N, a column for each work."""
    found = groups(rows)
    drawn = new_figure(3.3 * len(found), 6.6, "Growth with the number of samples", "")
    panels = drawn.subplots(2, len(found), sharex=True, squeeze=False)
    named: dict[str, Line2D] = {}
    for column, (title, contenders) in zip(panels.T, found.items(), strict=True):
        for name, own in contenders.items():
            colour, line = STYLES[name]
            x = [row.N for row in own]
            for ax, y in zip(
                column, ([r.seconds for r in own], [max(r.bytes, 1e5) / 1e6 for r in own]),
                strict=True,
            ):  # fmt: skip
                (curve,) = ax.plot(x, y, color=colour, linestyle=line, marker="o", markersize=4)
                named.setdefault(name, curve)
        dress(column[0], x="", y="seconds" if column[0] is panels[0, 0] else "", panel=title)
        dress(column[1], x="samples N", y="MB above" if column[1] is panels[1, 0] else "")
        for ax in column:
            ax.set(xscale="log", yscale="log")
            ax.xaxis.set_minor_locator(NullLocator())
    for ax in panels[0]:  # when all have the limits that they share
        _linear(ax)
    drawn.legend(handles=[*named.values()], labels=[*named], loc="outside lower center", ncols=5,
                 fontsize=TICK, frameon=False, labelcolor=INK)  # fmt: skip
    return drawn


def _linear(ax: Axes) -> None:
    """Draw a line of slope 1 through the middle of a panel."""
    (low, high), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    middle = np.sqrt(bottom * top) / np.sqrt(low * high)
    ax.plot([low, high], [low * middle, high * middle], color=FAINT, linewidth=0.8, zorder=0)
    ax.set(xlim=(low, high), ylim=(bottom, top))


def _number(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"


def _megabytes(count: int) -> str:
    return f"{max(count, 0) / 1e6:.0f} MB"
