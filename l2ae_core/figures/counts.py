"""Criteria for the number of clusters, one panel each."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from l2ae_core.figures.style import ANOMALY, INK, LABEL, NORMAL, default_style, dress, new_figure
from l2ae_core.tables import counted

WIDTH, HEAD, PANEL_HEIGHT = 6.4, 1.3, 1.9  # inches


@default_style()
def cluster_counts(
    clusters: Sequence[int],
    criteria: Mapping[str, Sequence[float]],
    *,
    preferred: Mapping[str, int] | None = None,
    title: str = "",
) -> Figure:
    """Draw each criterion against the numbers of clusters, in ascending order, one above the other.

    criteria maps a name to one value for each number; a value that is NaN leaves a gap. `preferred`
    maps some of these names to the number that is marked as preferred. ValueError when there is
    nothing to draw, lengths differ, or a mark is not among the numbers.
    """
    k, marks = np.asarray(clusters), preferred or {}
    if not len(k) or not criteria:
        raise ValueError("cluster_counts: nothing to draw but expected numbers and criteria")
    for name, values in criteria.items():
        if len(values) != len(k):
            raise ValueError(
                f"cluster_counts: {name!r} has {counted(len(values), 'value')} but expected "
                f"{len(k)}"
            )
    for name, mark in marks.items():
        if name not in criteria or mark not in k:
            raise ValueError(f"cluster_counts: preferred has {name!r}: {mark}, which is not drawn")
    heading = "Criteria for the number of clusters"
    figure = new_figure(WIDTH, HEAD + PANEL_HEIGHT * len(criteria), heading, title)
    axes = figure.subplots(len(criteria), sharex=True, squeeze=False)[:, 0]
    for ax, (name, values) in zip(axes, criteria.items(), strict=True):
        ax.plot(k, values, "o-", color=NORMAL, linewidth=1.8, markersize=4)
        dress(ax, x="clusters K" if ax is axes[-1] else "", y=name)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
        ax.margins(y=0.18)  # space for the mark
        if name in marks:
            value = values[k.tolist().index(marks[name])]
            ax.axvline(marks[name], color=ANOMALY, linewidth=1, linestyle="--", zorder=1)
            ax.plot(marks[name], value, "o", color=ANOMALY, markersize=9, markeredgecolor="white")
            ax.annotate(f"K = {marks[name]}", (marks[name], value), (7, 5),
                        textcoords="offset points", fontsize=LABEL, color=INK)  # fmt: skip
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure
