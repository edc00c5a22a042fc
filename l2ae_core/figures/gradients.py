"""What a gradient check found, entry by entry."""

from collections.abc import Mapping
from math import ceil, prod

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap
from matplotlib.figure import Figure

from l2ae_core.figures.style import (
    FAINT,
    INK,
    LABEL,
    PANEL,
    TICK,
    default_style,
    new_figure,
)
from l2ae_kernels.arrays import Array

RIGHT = ("#F1F5F9", "#D5E3F0", "#A9C8E2")  # below the tolerance, and further below it
WRONG = ("#FCD0A1", "#F79646", "#D55E00", "#8C2D04")  # above it, up to 1 and more
SKIPPED = "#BBBBBB"
WIDTH, HEIGHT = 2.7, 2.3  # inches of a panel


@default_style()
def gradient_errors(
    errors: Mapping[str, Mapping[str, Array]], tolerance: float, *, title: str = ""
) -> Figure:
    """Draw the relative error of every entry: a row a layer, a panel a block.

    errors: {layer: {block: array of the shape of the block}}, NaN where nothing was compared.
    Entries up to `tolerance` are blue, those above it orange. A block of more than two axes is
    drawn with its first half of axes, flattened, downwards, and the others across.
    """
    if not errors or not all(errors.values()):
        raise ValueError("gradient_errors: expected one or more blocks of one or more layers")
    columns = max(map(len, errors.values()))
    size = max(WIDTH * columns + 1.2, 6.4), HEIGHT * len(errors) + 1.3
    figure = new_figure(*size, "Relative error of the gradient, entry by entry", title)
    colours, norm = _scale(tolerance)
    axes = figure.subplots(len(errors), columns, squeeze=False)
    for row, (layer, blocks) in zip(axes, errors.items(), strict=True):
        for ax in row[len(blocks) :]:
            ax.set_axis_off()
        for ax, (block, values) in zip(row, blocks.items(), strict=False):
            _draw(ax, block, values, tolerance, colours, norm)
        row[0].set_ylabel(layer, fontsize=LABEL, color=INK)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes.ravel().tolist(), extend="both",
                          fraction=0.05, pad=0.02)  # fmt: skip
    bar.ax.set_yticks(norm.boundaries, [f"{b:.0e}" for b in norm.boundaries], fontsize=TICK)
    bar.set_label("grey: not compared (a kink)", fontsize=TICK, color=FAINT)
    return figure


def _scale(tolerance: float) -> tuple[Colormap, BoundaryNorm]:
    """Return colours that change from blue to orange at the tolerance."""
    below = [tolerance * 10.0**power for power in (-4, -2)]
    above = [tolerance ** (1 - part) for part in (1 / 3, 2 / 3)]
    colours = ListedColormap([*RIGHT[1:], *WRONG[:-1]])
    norm = BoundaryNorm([*below, tolerance, *above, 1.0], colours.N)
    return colours.with_extremes(under=RIGHT[0], over=WRONG[-1], bad=SKIPPED), norm


def _draw(
    ax: Axes, block: str, values: Array, tolerance: float, colours: Colormap,
    norm: BoundaryNorm,
) -> None:  # fmt: skip
    half = ceil(values.ndim / 2) if values.ndim > 1 else 0
    flat = values.reshape(prod(values.shape[:half]), -1)
    ax.imshow(np.ma.masked_invalid(np.where(np.isposinf(flat), 2.0, flat)), cmap=colours,
              norm=norm, aspect="auto", origin="upper", interpolation="nearest")  # fmt: skip
    wrong, compared = int((values > tolerance).sum()), int((~np.isnan(values)).sum())
    shape = " × ".join(map(str, values.shape)) or "1"
    ax.set_title(f"{block}  ({shape})\n{wrong} of {compared} wrong", fontsize=PANEL, color=INK)
    ax.set_xticks(_ticks(flat.shape[1]))
    ax.set_yticks(_ticks(flat.shape[0]))
    ax.tick_params(labelsize=TICK, color=FAINT, labelcolor=INK)


def _ticks(length: int) -> list[int]:
    """First and last index, and not the same twice."""
    return sorted({0, length - 1})
