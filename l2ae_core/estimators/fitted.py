"""Parameters of the estimators, the fitted network, and what it makes of new images."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from l2ae_core import method, refinement
from l2ae_core.clustering.kmeans import Clustering
from l2ae_core.data import Preparation
from l2ae_core.devices import DeviceName
from l2ae_core.estimators import inputs, storage
from l2ae_core.estimators.parameters import make_architecture
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.settings import DEFAULTS
from l2ae_core.training.augment import Warp
from l2ae_core.training.session import OnEpoch
from l2ae_kernels.arrays import Array

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

    def _start(self, X: Any) -> Array:
        """Return X as (N, F), checked; decide on image shape, scaling and architecture."""
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
        self.image_shape_ = (
            inputs.agreed_image_shape(X, given) if read is X else inputs.image_shape_of(read)
        )
        x: Array = validate_data(self, inputs.flatten(read), dtype=DTYPES, order="C")
        if self.image_shape_ is not None and np.prod(self.image_shape_) != x.shape[1]:
            raise ValueError(
                f"fit: image_shape is {self.image_shape_}, {np.prod(self.image_shape_)} values an "
                f"image, but X is {x.shape}"
            )
        if len(x) < self.n_clusters:
            raise ValueError(
                f"fit: n_clusters is {self.n_clusters} but X has only n_samples={len(x)}"
            )
        self.architecture_ = make_architecture(self.get_params(), self.image_shape_, x.shape[1])
        self.mean_: Array | None = None
        self.scale_: Array | None = None
        if self.scale == "standard" or (self.scale == "auto" and self.image_shape_ is None):
            self.mean_, self.scale_ = inputs.standardization(x)
        self._require_range("fit", x)
        return x

    def _take_clusters(self, clustering: Clustering) -> None:
        self.labels_ = clustering.labels
        self.cluster_centers_ = clustering.centers
        self.inertia_ = clustering.inertia
        self.n_iter_ = clustering.n_iter

    def _validation(self) -> float | Array:
        """Return the share to be held out, or the images for it as those of the network."""
        if isinstance(self.validation, int | float | np.number):
            return float(self.validation)
        images = self._to_network(self._checked("validation", self.validation))
        return images.astype(np.float32, copy=False)

    def _read(self, method: str, X: Any, flat: Sequence[int] | None) -> Any:
        return inputs.read_images(
            method, X, self.preparation, flat, unit=self.scale == "auto",
            progress=self.verbose > 0,
        )  # fmt: skip

    def _validated(self, method: str, X: Any) -> Array:
        """Return new X as (N, F), checked against what the estimator was fitted to."""
        check_is_fitted(self)
        return self._checked(method, X)

    def _checked(self, method: str, X: Any) -> Array:
        inputs.require_several(method, X, self.image_shape_)
        flat = self.image_shape
        if flat is None and self.preparation is None:
            flat = self.image_shape_
        read = inputs.require_same_images(method, self._read(method, X, flat), self.image_shape_)
        x: Array = validate_data(self, inputs.flatten(read), dtype=DTYPES, order="C", reset=False)
        self._require_range(method, x)
        return x

    def _require_range(self, method: str, x: Array) -> None:
        if self.scale == "auto" and self.image_shape_ is not None:
            inputs.require_unit_range(method, x)

    def _to_network(self, x: Array) -> Array:
        """Return x (N, F), scaled, as the network's images (N, H, W, C); the dtype is kept."""
        scaled = x if self.mean_ is None else ((x - self.mean_) / self.scale_).astype(x.dtype)
        return scaled.reshape(len(x), *self.architecture_.input_shape)

    def _from_network(self, images: Array) -> Array:
        """Inverse of `_to_network`."""
        x = images.reshape(len(images), -1)
        return x if self.mean_ is None else (x * self.scale_ + self.mean_).astype(x.dtype)

    def _network(self, dtype: Any) -> AutoEncoder:
        """The network for arithmetic in `dtype`; the weights are float32 numbers in both."""
        return self.autoencoder_ if dtype == np.float32 else self.autoencoder_.astype(dtype)

    def _encode(self, x: Array) -> Array:
        """Return the codes u (N, D) of checked x (N, F), in the dtype of x."""
        return self._network(x.dtype).encode(self._to_network(x))

    def _errors(self, x: Array, u: Array) -> Array:
        """Return Σ (x̂ − x)² float64 (N,) of checked, scaled x (N, F) and its codes u (N, D)."""
        return method.reconstruction_errors(self._network(x.dtype), self._to_network(x), u)

    def reconstruct(self, X: Any) -> Array:
        """Return what the network makes of X, D(E_c(X)), in the shape and units of X.

        Files, and images that a preparation resizes, give (N, H, W, C); 8 bits give values around
        [0, 1]. Raises ValueError when X does not fit what the estimator was fitted to.
        """
        x = self._validated("reconstruct", X)
        found = self._from_network(self._network(x.dtype).reconstruct(self._to_network(x)))
        shape = inputs.shape_of(X)
        if shape is None or np.prod(shape) != found.size:
            shape = len(x), *self.architecture_.input_shape
        return found.reshape(shape)

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
