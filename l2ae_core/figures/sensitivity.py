"""How a score depends on a setting: values of the setting on a log axis."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from l2ae_core.figures.style import TICK, default_style, dress, line_styles, new_figure

SHIFT = 0.012  # of the axis: between the dots of two curves at one value
MARGIN = 0.08  # of the axis, beside the first and the last value


@default_style()
def sensitivity(
    curves: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    x: str,
    y: str,
    title: str = "",
    panel: str = "",
) -> Figure:
    """Draw for each curve a line through the means at each value, and a dot a run.

    curves maps a name to the values of the setting, all > 0, and these to the scores of their runs.
    With a `title` it is a figure of its own, with heading; without one a panel for a page.
    ValueError when there is nothing to draw, a value has no run, or a number cannot be drawn.
    """
    for name, runs in curves.items():
        _check(name, runs)
    if not curves:
        raise ValueError("sensitivity: curves is empty but expected one or more")
    if title:
        what = y.partition(",")[0]  # without its unit
        figure = new_figure(7.6, 4.8, f"{what[:1].upper()}{what[1:]} by {x}", title)
    else:
        figure = Figure(figsize=(3.9, 2.9), layout="constrained", facecolor="white")
    ax = figure.subplots()
    dress(ax, x=x, y=y, panel=panel)
    values = np.unique([value for runs in curves.values() for value in runs])  # ascending
    extent = np.log(values[-1] / values[0]) or 1.0
    for i, (name, (colour, line)) in enumerate(line_styles([*curves]).items()):
        own = sorted(curves[name])
        shift = np.exp(SHIFT * extent * (i - (len(curves) - 1) / 2))
        for value in own:
            dots = curves[name][value]
            ax.plot(np.full(len(dots), value * shift), dots, "o", color=colour, markersize=5,
                    alpha=0.55, markeredgewidth=0)  # fmt: skip
        means = [float(np.mean(curves[name][value])) for value in own]
        ax.plot(np.array(own) * shift, means, color=colour, linestyle=line, linewidth=1.8,
                label=name)  # fmt: skip
    edge = np.exp(MARGIN * extent)
    ax.set(xscale="log", xlim=(values[0] / edge, values[-1] * edge))
    ax.xaxis.set_major_locator(FixedLocator(values.tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(loc="best", fontsize=TICK, framealpha=0.95, edgecolor="none", handlelength=3.2)
    return figure


def _check(name: str, runs: Mapping[float, Sequence[float]]) -> None:
    """Raise ValueError for values of a curve, or scores of its runs, that cannot be drawn."""
    if not runs:
        raise ValueError(f"sensitivity: {name!r} has no value but expected one or more")
    for value, scores in runs.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"sensitivity: {name!r} has the value {value} but expected one > 0")
        if not len(scores) or not np.isfinite(scores).all():
            raise ValueError(
                f"sensitivity: {name!r} has scores {[*scores]} at {value:g} but expected finite "
                "ones, at least one"
            )
