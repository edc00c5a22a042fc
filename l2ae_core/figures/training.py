"""How the training went: the loss of every epoch, and what the network reconstructs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from l2ae_core.anomaly import reconstruction_error
from l2ae_core.figures.style import (
    IMAGE,
    INK,
    LABEL,
    PANEL,
    TICK,
    bare,
    default_style,
    dress,
    line_styles,
    new_figure,
)
from l2ae_kernels.arrays import Array


@default_style()
def loss_curve(losses: Mapping[str, Sequence[float]], *, title: str = "") -> Figure:
    """Draw the training loss of each network, epochs 1, 2, …, on a log scale; mark the best epoch.

    losses maps the name of a network to its losses, all > 0. ValueError when there is none.
    """
    for name, values in losses.items():
        if not len(values) or not np.all(np.isfinite(values)) or min(values) <= 0:
            raise ValueError(
                f"loss_curve: losses of {name!r} expected to be finite, > 0, one or more"
            )
    if not losses:
        raise ValueError("loss_curve: losses is empty but expected one or more networks")
    figure = new_figure(7.6, 4.8, "Reconstruction loss while training", title)
    ax = figure.subplots()
    styles = line_styles(list(losses))
    for name, values in losses.items():
        colour, line = styles[name]
        best = int(np.argmin(values))
        label = f"{name}: best epoch {best + 1}, loss {values[best]:.5f}"
        ax.plot(range(1, len(values) + 1), values, color=colour, linestyle=line, linewidth=2)
        ax.plot([], [], color=colour, linestyle=line, marker="o", linewidth=2, label=label)
        ax.plot(best + 1, values[best], "o", color=colour, markersize=8, markeredgecolor="white",
                clip_on=False)  # fmt: skip
    ax.set_yscale("log")
    dress(ax, x="epoch", y="mean squared error per pixel")
    ax.grid(True, which="minor", axis="y", color="#F0F0F0", linewidth=0.6)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for axis_format in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        axis_format(_plain)
    ax.legend(loc="upper right", fontsize=TICK, frameon=False, handlelength=3.2)
    return figure


@default_style()
def reconstructions(
    images: Array, reconstructed: Array, *, count: int = 10, title: str = ""
) -> Figure:
    """Draw the `count` worst and the `count` best images by error: input, reconstruction, error.

    images and reconstructed are (N, H, W, C) with C = 1 or 3 and values in [0, 1]; values of a
    reconstruction outside are shown as 0 or 1. The error shown is the signed difference, averaged
    over channels, on one colour scale; the number is the sum of squares.
    ValueError when the shapes differ or fit no image, or count is not in 1 … N.
    """
    errors = reconstruction_error(images, reconstructed)  # (N,)
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"reconstructions: images is {images.shape} but expected (N, H, W, 1 or 3)"
        )
    if not 1 <= count <= len(images):
        raise ValueError(f"reconstructions: count is {count} but expected 1 … {len(images)}")
    order = np.argsort(-errors, kind="stable")
    picks = {"worst": order[:count], "best": order[::-1][:count]}
    wide = np.result_type(images, reconstructed, np.float32)  # integers wrap around
    signed = np.subtract(reconstructed, images, dtype=wide).mean(axis=3)  # (N, H, W)
    limit = float(np.abs(signed[np.concatenate(list(picks.values()))]).max())
    figure = new_figure(1.5 + 0.95 * count, 7.6, "Reconstructions, worst and best", title)
    parts = figure.subfigures(2, 1, squeeze=False)
    for row, (name, pick) in enumerate(picks.items()):
        part = parts[row, 0]
        part.suptitle(
            f"{name} {count} of {len(images):,} (number: sum of squared errors, mean of all "
            f"{errors.mean():.3f})",
            fontsize=PANEL,
            color=INK,
        )
        _rows(part, images[pick], reconstructed[pick], signed[pick], errors[pick], limit)
    return figure


def _plain(value: float, _: float) -> str:
    """Write a tick of the log axis as a plain number, and leave out those that crowd the axis."""
    leading = f"{value:.0e}"[0]
    return f"{value:g}" if leading in "1235" else ""


def _rows(
    part: SubFigure, images: Array, reconstructed: Array, signed: Array, errors: Array, limit: float
) -> None:
    """Draw three rows of images; the last, signed errors, has a colour bar."""
    axes = part.subplots(3, len(images), squeeze=False)
    for column in range(len(images)):
        for row, image in enumerate((images[column], reconstructed[column])):
            axes[row, column].imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, **IMAGE)
        shown = axes[2, column].imshow(
            signed[column], cmap="RdBu", vmin=-limit, vmax=limit, **IMAGE
        )
        axes[0, column].set_title(f"{errors[column]:.3f}", fontsize=TICK, color=INK)
    for ax in axes.flat:
        bare(ax)
    for row, name in enumerate(("input", "recon-\nstruction", "error")):
        axes[row, 0].set_ylabel(
            name, fontsize=LABEL, color=INK, rotation=0, ha="right", va="center"
        )
    bar = part.colorbar(shown, ax=axes[2, :], pad=0.01, aspect=8)
    bar.set_label("too dark   too bright", fontsize=7, color=INK)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
