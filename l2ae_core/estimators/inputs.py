"""What the estimators take: tables (N, F), flat images (N, H·W·C) or images (N, H, W[, C])."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from sklearn.preprocessing import StandardScaler

from l2ae_core.data.array_files import out_of_range, require_channels_last
from l2ae_kernels.arrays import Array

ImageShape: TypeAlias = tuple[int, int, int]  # (H, W, C)


def image_shape_of(X: Any) -> ImageShape | None:
    """Return (H, W, C) when X is an array or nested list (N, H, W[, C]), None for all else."""
    shape = np.shape(X) if isinstance(X, np.ndarray | list | tuple) else ()
    if len(shape) not in (3, 4):
        return None
    H, W, *channels = shape[1:]
    return H, W, channels[0] if channels else 1


def flatten(X: Any) -> Any:
    """Return images as a table (N, H·W·C); leave everything else to scikit-learn's own checks."""
    if image_shape_of(X) is None:
        return X
    x = np.asanyarray(X)
    return x.reshape(len(x), math.prod(x.shape[1:]))


def parse_image_shape(image_shape: Sequence[int] | None) -> ImageShape | None:
    """Return the parameter `image_shape`, (H, W) or (H, W, C), as (H, W, C), or None.

    Raises ValueError for anything but two or three integers ≥ 1.
    """
    if image_shape is None:
        return None
    if (
        not isinstance(image_shape, Iterable)
        or len(image_shape) not in (2, 3)
        or not all(isinstance(side, int | np.integer) and side >= 1 for side in image_shape)
    ):
        raise ValueError(
            f"fit: image_shape is {image_shape!r} but expected (H, W) or (H, W, C), integers ≥ 1"
        )
    H, W, *channels = (int(side) for side in image_shape)
    return H, W, channels[0] if channels else 1


def agreed_image_shape(X: Any, image_shape: Sequence[int] | None) -> ImageShape | None:
    """Return the (H, W, C) that X and the parameter agree on; None for a table.

    Raises ValueError when they do not agree, and when X looks like images with channels first and
    `image_shape` does not say that it is none.
    """
    given, found = parse_image_shape(image_shape), image_shape_of(X)
    if given is None and found is not None:
        require_channels_last("fit", np.shape(X))
    if given is not None and found is not None and given != found:
        raise ValueError(
            f"fit: image_shape is {given} but the images of X {np.shape(X)} are {found}"
        )
    return given or found


def require_same_images(method: str, X: Any, fitted: ImageShape | None) -> None:
    """Raise ValueError when X has image axes other than those of `fit`."""
    found = image_shape_of(X)
    if fitted is not None and np.shape(X) in (fitted, fitted[:2]) and found != fitted:
        raise ValueError(f"{method}: X is {np.shape(X)}, one image; write X[None] for N = 1")
    if found is not None and found != fitted:
        what = "a table (N, F)" if fitted is None else f"images of shape {fitted}"
        raise ValueError(f"{method}: X is {np.shape(X)} but the estimator was fitted to {what}")


def require_unit_range(method: str, x: Array) -> None:
    """Raise ValueError unless all of the images x lie in [0, 1]."""
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        raise ValueError(f"{method}: X has {out_of_range(low, high)}")


def standardization(x: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation float64 (F,) of the columns of x (N, F).

    A constant column has 1 for its deviation. Raises ValueError when all are constant, as those of
    a single sample are: x would become 0, and the code of 0 has no direction.
    """
    if (x == x[0]).all():
        raise ValueError(
            f"fit: every column of X is constant (n_samples={len(x)}) but expected samples that "
            "differ"
        )
    scaler = StandardScaler().fit(x)
    return np.asarray(scaler.mean_), np.asarray(scaler.scale_)
