"""Clusters against classes, matched one to one by Eq. 6."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from l2ae_core.clustering.metrics import accuracy, confusion, matching
from l2ae_core.figures.style import (
    IMAGE,
    INK,
    LABEL,
    TICK,
    class_labels,
    default_style,
    dress,
    new_figure,
)
from l2ae_kernels.arrays import Array

WIDEST_LABELLED = 20  # classes; with more, numbers in the cells are too small to read


@default_style()
def matched_confusion(
    classes: Array,
    clusters: Array,
    *,
    title: str = "",
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draw true classes (rows) against clusters (columns), matched by Eq. 6.

    classes (N,) and clusters (N,) hold any label values. Cells have the number of images and its
    share of the class in per cent; a frame marks what Eq. 6 counts as right. Clusters without a
    class come last and are named so, as are classes without a cluster.
    ValueError as in `metrics.confusion`.
    """
    counts, rows, columns = confusion(classes, clusters)
    m = matching(classes, clusters)
    names = class_labels("matched_confusion", rows, class_names)
    size = 2.6 + 0.62 * max(counts.shape[1], 4), 2.4 + 0.55 * max(len(rows), 4)
    heading = f"Classes against matched clusters, ACC {accuracy(classes, clusters):.3f}"
    figure = new_figure(*size, heading, title)
    ax = figure.subplots()
    share = counts / counts.sum(axis=1, keepdims=True)  # (classes, clusters)
    image = ax.imshow(100 * share, cmap="Blues", vmin=0, vmax=100, aspect="auto", **IMAGE)
    row_of = {value: index for index, value in enumerate(rows.tolist())}
    matched = [m[c] for c in columns.tolist()]
    if max(counts.shape) <= WIDEST_LABELLED:
        _write_cells(ax, counts, share)
    for column, value in enumerate(matched):
        if value is not None:
            ax.add_patch(
                Rectangle(
                    (column - 0.47, row_of[value] - 0.47), 0.94, 0.94, fill=False, edgecolor=INK
                )
            )
    dress(ax, x="cluster, below the class that Eq. 6 gives it", y="true class", grid=False)
    ax.set_xticks(
        range(len(columns)),
        [
            f"{'no class' if value is None else names[row_of[value]]}\nc{c}"
            for c, value in zip(columns.tolist(), matched, strict=True)
        ],
    )
    ax.set_yticks(
        range(len(rows)),
        [
            name if value in matched else f"{name}\nno cluster"
            for name, value in zip(names, rows.tolist(), strict=True)
        ],
    )
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=ax, shrink=0.85, pad=0.02)
    bar.set_label("share of the class, %", fontsize=LABEL, color=INK)
    bar.ax.tick_params(labelsize=TICK)
    bar.outline.set_visible(False)
    return figure


def _write_cells(ax: Axes, counts: Array, share: Array) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if share[row, column] > 0.55 else INK
            ax.text(column, row - 0.13, f"{count}", fontsize=TICK, color=colour,
                    ha="center", va="center")  # fmt: skip
            ax.text(column, row + 0.23, f"{100 * share[row, column]:.0f} %", fontsize=7.5,
                    color=colour, ha="center", va="center")  # fmt: skip
