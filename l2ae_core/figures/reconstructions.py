"""What the network reconstructs worst and best."""

import numpy as np
from matplotlib.figure import Figure, SubFigure

from l2ae_core.anomaly import reconstruction_error
from l2ae_core.figures.style import (
    IMAGE,
    INK,
    LABEL,
    PANEL,
    TICK,
    bare,
    default_style,
    new_figure,
)
from l2ae_kernels.arrays import Array


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
