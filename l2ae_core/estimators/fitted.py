"""Parameters of the estimators, the fitted network, and what it makes of new images."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from l2ae_core import method, refinement
from l2ae_core.clustering.kmeans import Clustering
from l2ae_core.data import Preparation
from l2ae_core.data.stored import StoredImages
from l2ae_core.devices import DeviceName
from l2ae_core.estimators import inputs, storage
from l2ae_core.estimators.parameters import make_architecture
from l2ae_core.images import Images
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.settings import DEFAULTS
from l2ae_core.tables import counted
from l2ae_core.training.augment import Warp
from l2ae_core.training.session import OnEpoch
from l2ae_kernels.arrays import Array, is_dask

DTYPES = (np.float64, np.float32)  # kept; every other dtype becomes the first


@dataclass(eq=False, repr=False)  # __init__ stores the parameters, as scikit-learn wants it
class AutoEncoderParameters:
    """The parameters that all estimators have; they are described in `AutoEncoderClusterer`."""

    n_clusters: int = DEFAULTS["clusters"]
    _: KW_ONLY
    model: str = "auto"
    image_shape: Sequence[int] | None = None
    preparation: Preparation | None = None
    latent_dim: int = DEFAULTS["latent_dim"]
    norm: str = DEFAULTS["norm"]
    hidden_norm: str = DEFAULTS["hidden_norm"]
    affine: bool = DEFAULTS["affine"]
    hidden: Sequence[int] = DEFAULTS["hidden"]
    filters: Sequence[int] = DEFAULTS["filters"]
    kernels: Sequence[int] = DEFAULTS["kernels"]
    slope: float = DEFAULTS["slope"]
    scale: str = "auto"
    epochs: int = DEFAULTS["epochs"]
    batch_size: int = DEFAULTS["batch_size"]
    optimizer: str = DEFAULTS["optimizer"]
    learning_rate: float = DEFAULTS["learning_rate"]
    reduction: str = DEFAULTS["reduction"]
    weights: str = DEFAULTS["weights"]
    validation: float | Array = DEFAULTS["validation"]
    patience: int | None = DEFAULTS["patience"]
    callbacks: Sequence[OnEpoch] = ()
    n_init: int = DEFAULTS["n_init"]
    spherical: bool = False
    augment: bool | Warp = DEFAULTS["augment"]
    self_label: bool | refinement.SelfLabelling = DEFAULTS["self_label"]
    run_dir: str | Path | None = None
    resume: bool = False
    device: DeviceName | None = None
    random_state: int | RandomState | None = None
    verbose: int = 0


@dataclass(eq=False, repr=False)
class FittedNetwork(AutoEncoderParameters, BaseEstimator):  # type: ignore[misc]
    """An auto-encoder and the k-means clusters of its codes u = E_c(x) (Eq. 4).

    The fitted attributes are described in `AutoEncoderClusterer`.
    """

    def _start(self, X: Any) -> Images:
        """Return the images (N, H, W, C) of X; decide on their shape, scaling and architecture."""
        self.autoencoder_: AutoEncoder  # these are set by `fitting`, or `runs`
        self.embedding_: Array
        self.labels_: Array
        self.cluster_centers_: Array
        self.inertia_: float
        self.n_iter_: int
        self.reconstruction_errors_: Array | None
        self.history_: list[dict[str, Any]]
        self.self_labelling_history_: list[dict[str, Any]] | None
        given = inputs.parse_image_shape(self.image_shape)
        inputs.require_several("fit", X, given)
        read = self._read("fit", X, self.image_shape)
        if read is X or inputs.on_workers(read):
            self.image_shape_ = inputs.agreed_image_shape(read, given)
        else:
            if len(inputs.shape_of(X) or ()) > 2:  # images, perhaps of another size than prepared
                inputs.agreed_image_shape(X, given)
            self.image_shape_ = inputs.image_shape_of(read)
        x = self._finite(read, reset=True)
        features = prod(x.shape[1:])
        if self.image_shape_ is not None and prod(self.image_shape_) != features:
            raise ValueError(
                f"fit: image_shape is {self.image_shape_}, "
                f"{counted(prod(self.image_shape_), 'value')} an image, but X is {x.shape}"
            )
        if len(x) < self.n_clusters:
            raise ValueError(
                f"fit: n_clusters is {self.n_clusters} but X has only n_samples={len(x)}"
            )
        self.architecture_ = make_architecture(self.get_params(), self.image_shape_, features)
        self.mean_: Array | None = None
        self.scale_: Array | None = None
        if self.scale == "standard" or (self.scale == "auto" and self.image_shape_ is None):
            self.mean_, self.scale_ = inputs.standardization(np.asarray(x))
        self._require_range("fit", x)
        return self._to_network(x)

    def _take_clusters(self, clustering: Clustering) -> None:
        self.labels_ = clustering.labels
        self.cluster_centers_ = clustering.centers
        self.inertia_ = clustering.inertia
        self.n_iter_ = clustering.n_iter

    def _validation(self) -> float | Images:
        """Return the share to be held out, or the images for it as those of the network."""
        if isinstance(self.validation, int | float | np.number):
            return float(self.validation)
        return inputs.as_float32(self._checked("validation", self.validation))

    def _read(self, method: str, X: Any, flat: Sequence[int] | None) -> Any:
        if is_dask(X) and self.scale != "auto":
            raise ValueError(
                f"{method}: scale is {self.scale!r} but X is a Dask array, taken with scale "
                "'auto' alone: scale it with Dask, or X.compute() if it fits in memory"
            )
        return inputs.read_images(
            method, X, self.preparation, flat, unit=self.scale == "auto",
            progress=self.verbose > 0,
        )  # fmt: skip

    def _validated(self, method: str, X: Any) -> Images:
        """Return the images (N, H, W, C) of new X, which fits what the estimator was fitted to."""
        check_is_fitted(self)
        return self._checked(method, X)

    def _checked(self, method: str, X: Any) -> Images:
        inputs.require_several(method, X, self.image_shape_)
        flat = self.image_shape
        if flat is None and self.preparation is None:
            flat = self.image_shape_
        read = inputs.require_same_images(method, self._read(method, X, flat), self.image_shape_)
        x = self._finite(read, reset=False)
        self._require_range(method, x)
        return self._to_network(x)

    def _finite(self, read: Any, *, reset: bool) -> Images:
        """Return what was read as (N, F), or as it is stored, after the checks of scikit-learn.

        They look at a memory map in pieces, of which none is copied. What is stored has no NaN, and
        a Dask array is looked at chunk by chunk: only the number of features is checked here.
        """
        stored = isinstance(read, StoredImages) and self.scale == "auto"
        if stored or inputs.on_workers(read):
            validate_data(self, np.zeros((1, prod(read.shape[1:])), np.float32), reset=reset)
            return read  # type: ignore[no-any-return]
        if isinstance(read, StoredImages):
            read = np.asarray(read)
        x = inputs.flatten(read)
        if not isinstance(x, np.memmap) or x.dtype not in DTYPES or not x.flags.c_contiguous:
            checked: Array = validate_data(self, x, dtype=DTYPES, order="C", reset=reset)
            return checked
        for piece in inputs.in_pieces(x):
            validate_data(self, piece, dtype=DTYPES, reset=reset)
        return x

    def _require_range(self, method: str, x: Images) -> None:
        if self.scale == "auto" and self.image_shape_ is not None and isinstance(x, np.ndarray):
            pairs = [(float(piece.min()), float(piece.max())) for piece in inputs.in_pieces(x)]
            inputs.require_unit_range(method, min(pairs)[0], max(high for _, high in pairs))

    def _to_network(self, x: Images) -> Images:
        """Return x (N, F), scaled, as the network's images (N, H, W, C); the dtype is kept."""
        if not isinstance(x, np.ndarray):
            return x
        x = x.view(np.ndarray)
        scaled = x if self.mean_ is None else ((x - self.mean_) / self.scale_).astype(x.dtype)
        return scaled.reshape(len(x), *self.architecture_.input_shape)

    def _from_network(self, images: Array) -> Array:
        """Inverse of `_to_network`."""
        x = images.reshape(len(images), -1)
        return x if self.mean_ is None else (x * self.scale_ + self.mean_).astype(x.dtype)

    def _network(self, dtype: Any) -> AutoEncoder:
        """The network for arithmetic in `dtype`; the weights are float32 numbers in both."""
        return self.autoencoder_ if dtype == np.float32 else self.autoencoder_.astype(dtype)

    def _of_images(
        self, method: str, X: Any, function: str, dtype: Any = None, shape: tuple[int, ...] = ()
    ) -> Array:
        """Return what the method named `function` makes of the network's images (N, H, W, C) of X.

        Of a Dask array it is one, lazy, with entries of that dtype (None: that of codes) and shape.
        """
        images = self._validated(method, X)
        if not inputs.on_workers(images):
            found: Array = getattr(self, function)(images)
            return found
        from l2ae_core.distributed import estimators

        lazy: Array = estimators.apply(self, function, images, dtype or images.code_dtype, shape)
        return lazy

    def _encode(self, images: Images) -> Array:
        """Return the codes u (N, D) of the network's images (N, H, W, C), in their dtype."""
        return self._network(images.dtype).encode(images)

    def _errors(self, images: Images, u: Array) -> Array:
        """Return Σ (x̂ − x)² float64 (N,) of images x (N, H, W, C) and their codes u (N, D)."""
        return method.reconstruction_errors(self._network(images.dtype), images, u)

    def reconstruct(self, X: Any) -> Array:
        """Return what the network makes of X, D(E_c(X)), in the shape and units of X.

        Files, and images that a preparation resizes, give (N, H, W, C); 8 bits give values around
        [0, 1]. Raises ValueError when X does not fit what the estimator was fitted to.
        """
        check_is_fitted(self)
        image = self.architecture_.input_shape
        found = self._of_images("reconstruct", X, "_reconstructed", shape=image)
        shape = inputs.shape_of(X)
        if shape is None or prod(shape) != found.size:
            shape = len(found), *image
        return found.reshape(shape)

    def _reconstructed(self, images: Images) -> Array:
        found = self._from_network(self._network(images.dtype).reconstruct(images))
        return found.reshape(images.shape)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to `path`, one .npz file without any pickle; atomically.

        A `RandomState` as random_state is written as the integer seed that was drawn from it.
        What belongs to one call of fit is not written: callbacks, run_dir, resume, device, and
        validation images.
        """
        check_is_fitted(self)
        storage.save(Path(path), self)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; the result predicts, transforms and scores with the same bits.

        Raises FileNotFoundError when there is no such file, ValueError, naming the file, when it is
        damaged, foreign, of a newer format or of another estimator.
        """
        return storage.load(Path(path), cls)
