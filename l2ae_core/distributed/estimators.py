"""Estimators on Dask arrays: their methods on the images of each chunk, and what `fit` keeps."""

from copy import copy
from typing import Any

import dask
import dask.array as da
import numpy as np
from sklearn.base import BaseEstimator

from l2ae_core import method
from l2ae_core.distributed.images import DaskImages
from l2ae_core.images import Images
from l2ae_core.networks import AutoEncoder
from l2ae_core.training.history import TrainingError
from l2ae_kernels.arrays import Array

# What belongs to the X of fit, or to its call: the methods on other images need none of it.
OF_FIT = ("embedding_", "labels_", "reconstruction_errors_", "history_", "self_labelling_history_")


def apply(
    estimator: BaseEstimator, function: str, images: DaskImages, dtype: Any,
    shape: tuple[int, ...],
) -> da.Array:  # fmt: skip
    """Return what the method `function` of a fitted estimator makes of images, lazily (N, *shape).

    It is called on each chunk, with the network and the centers, which are sent once.
    """
    found = images.over_chunks(
        _method, dtype=dtype, shape=shape, estimator=_without_fit(estimator), called=function
    )
    return images.as_given(found)


def encode(network: AutoEncoder, images: DaskImages) -> tuple[da.Array, da.Array]:
    """Return codes u (N, D) and reconstruction errors (N,) of images, which workers keep.

    TrainingError when a code is NaN or Inf, as the last update of a training can make it.
    """
    u = images.over_chunks(
        _codes, dtype=images.code_dtype, shape=(network.latent_dim,), network=network
    )
    errors = images.over_chunks(_errors, u, dtype=np.float64, network=network)
    u, errors = dask.persist(u, errors)
    if not da.isfinite(u).all().compute():
        raise TrainingError("cluster: codes hold NaN or Inf: a smaller learning_rate may help")
    return u, errors


def of_rows(estimator: BaseEstimator, function: str, rows: da.Array, dtype: Any) -> da.Array:
    """Return what the method `function` makes of rows (N, D), such as codes, lazily (N,)."""
    light = dask.delayed(_without_fit(estimator), pure=False, traverse=False)
    return rows.map_blocks(
        _method, estimator=light, called=function, dtype=dtype, drop_axis=1, meta=np.empty(0, dtype)
    )


def _without_fit(estimator: BaseEstimator) -> BaseEstimator:
    light = copy(estimator)
    light.callbacks, light.validation, light.run_dir = (), 0.0, None
    for name in OF_FIT:
        if hasattr(light, name):
            delattr(light, name)
    return light


def _method(images: Images, estimator: BaseEstimator, called: str) -> Array:
    found: Array = getattr(estimator, called)(images)
    return found


def _codes(images: Images, network: AutoEncoder) -> Array:
    return network.encode(images)


def _errors(images: Images, u: Array, network: AutoEncoder) -> Array:
    return method.reconstruction_errors(network, images, u)
