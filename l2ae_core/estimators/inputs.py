"""What the estimators take: tables (N, F), flat images (N, H·W·C), images, and files of images.

Images of 8 bits stay as they are stored (`StoredImages`), in memory or in a file.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from sklearn.preprocessing import StandardScaler

from l2ae_core import data
from l2ae_core.data import Preparation
from l2ae_core.data.in_memory import is_pillow
from l2ae_core.data.stored import StoredImages, in_colour, store
from l2ae_core.data.values import AT_ONCE, out_of_range, require_channels_last
from l2ae_core.images import Images
from l2ae_kernels.arrays import Array, is_dask

if TYPE_CHECKING:
    from l2ae_core.distributed.images import DaskImages

ImageShape: TypeAlias = tuple[int, int, int]  # (H, W, C)


def on_workers(images: Any) -> "TypeGuard[DaskImages]":
    """Whether images are those of a Dask array."""
    module = sys.modules.get("l2ae_core.distributed.images")
    return module is not None and isinstance(images, module.DaskImages)


def read_images(
    method: str,
    X: Any,
    preparation: Preparation | None,
    flat: Sequence[int] | None,
    *,
    unit: bool,
    progress: bool,
) -> Any:
    """Return images that X names or holds as (N, H, W, C) float32 in [0, 1]; else X as it is.

    These are a folder, a file, a list of files, of images of Pillow or of arrays, what `data.load`
    returned, and arrays of images that are divided (`unit`: uint8 and bool) or prepared. They are
    an array, or `StoredImages`; those of a Dask array are `DaskImages`. `flat` is the (H, W[, C])
    of images in the rows of X. ValueError, by the method, for what `data.load` refuses.
    """
    if is_dask(X):
        from l2ae_core.distributed.images import dask_images

        return dask_images(method, X, preparation, flat)
    chosen = Preparation() if preparation is None else preparation
    if isinstance(X, data.Dataset):
        X = X.images
    if isinstance(X, StoredImages):
        if not chosen.changes_pixels and chosen.levels is None:
            return X
        X = np.asarray(X)
    rows = tuple(flat or chosen.image_shape or ())
    source = _source(X)
    if source is not None:
        try:
            chosen = replace(chosen, image_shape=rows or None)
            return data.load(source, preparation=chosen, labels=False, progress=progress).images
        except data.DataError as error:
            raise ValueError(f"{method}: {error}") from error
    X = _as_array(X)
    divided = unit and isinstance(X, np.ndarray) and X.dtype in (np.uint8, np.bool_)
    if not isinstance(X, np.ndarray) or not (divided or preparation is not None):
        return X
    if rows and X.ndim == 2:
        return store(X, f"{method}: X", replace(chosen, image_shape=rows))
    if X.ndim == 3 and X.shape[2] in (3, 4) and X.shape[1:] != rows[:2]:
        raise ValueError(
            f"{method}: X is {X.shape}, which looks like one colour image (H, W, C) but expected "
            "(N, H, W) or (N, H, W, C); write X[None] for N = 1"
        )
    return store(X, f"{method}: X", chosen) if X.ndim in (3, 4) else X


def _source(X: Any) -> Any:
    """Return X where `data.load` reads it: a path, or a sequence of paths or of single images."""
    if isinstance(X, str | Path):
        return X
    first = None
    if isinstance(X, list | tuple) or getattr(X, "ndim", 0) == 1:
        first = next(iter(X), None)
    if isinstance(first, str | Path) or is_pillow(first):
        return list(X)
    images = isinstance(first, np.ndarray) and first.ndim in (2, 3)
    return list(X) if images and len({np.shape(image) for image in X}) > 1 else None


def _as_array(X: Any) -> Any:
    """Return a list of arrays as one array."""
    stacks = isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], np.ndarray)
    return np.asarray(X) if stacks else X


def shape_of(X: Any) -> tuple[int, ...] | None:
    """Return the shape of an array or of nested lists, None for what `data.load` reads."""
    if is_pillow(X) or _source(X) is not None:
        return None
    if isinstance(X, np.ndarray | list | tuple):
        return tuple(np.shape(X))
    return tuple(getattr(X, "shape", ()))


def image_shape_of(X: Any) -> ImageShape | None:
    """Return (H, W, C) when X is an array or nested list (N, H, W[, C]), None for all else."""
    arrays = isinstance(X, np.ndarray | StoredImages | list | tuple) or on_workers(X)
    shape: tuple[int, ...] = np.shape(X) if arrays else ()
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


def agreed_image_shape(X: Any, given: ImageShape | None) -> ImageShape | None:
    """Return the (H, W, C) that X and the parameter agree on; None for a table.

    Raises ValueError when they do not agree, and when X looks like images with channels first and
    no shape is given that says that it is none.
    """
    found = image_shape_of(X)
    if given is None and found is not None:
        require_channels_last("fit", np.shape(X))
    if given is not None and found is not None and given != found:
        raise ValueError(
            f"fit: image_shape is {given} but the images of X {np.shape(X)} are {found}"
        )
    return given or found


def require_several(method: str, X: Any, fitted: ImageShape | None) -> None:
    """Raise ValueError for one image of the shape of those of `fit`, without the axis N."""
    shape = shape_of(X) or ()
    one = is_pillow(X) or (fitted is not None and shape in (fitted, fitted[:2]))
    if one and image_shape_of(X) != fitted:
        how = "[X]" if is_pillow(X) else "X[None]"
        raise ValueError(f"{method}: X is {shape or 'an image'}, one image; write {how} for N = 1")


def require_same_images(method: str, X: Any, fitted: ImageShape | None) -> Any:
    """Return X, grey images in three equal channels where those of `fit` had three.

    Raises ValueError when X has other image axes than those of `fit`.
    """
    found = image_shape_of(X)
    if found is None or found == fitted:
        return X
    if fitted is not None and found == (*fitted[:2], 1) and fitted[2] == 3:
        if isinstance(X, StoredImages):
            return in_colour(X)
        if on_workers(X):
            return X.in_colour()
        return np.repeat(np.asarray(X).reshape(len(X), *found), 3, axis=3)
    what = "a table (N, F)" if fitted is None else f"images of shape {fitted}"
    raise ValueError(f"{method}: X is {np.shape(X)} but the estimator was fitted to {what}")


def as_float32(images: Images) -> Images:
    """Return images (N, H, W, C) in float32; those that are stored in another form already are."""
    return images.astype(np.float32, copy=False) if isinstance(images, np.ndarray) else images


def in_pieces(x: Array) -> Iterator[Array]:
    """Yield x (N, F), AT_ONCE rows of a memory map at a time, and anything else as one piece."""
    if not isinstance(x, np.memmap):
        yield x
        return
    for start in range(0, max(1, len(x)), AT_ONCE):
        yield x[start : start + AT_ONCE]


def require_unit_range(method: str, low: float, high: float) -> None:
    """Raise ValueError unless values from `low` to `high` lie in [0, 1]."""
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
