"""What the clusterer and the detector share: parameters, the fitted network, its codes."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from l2ae_core import method, refinement
from l2ae_core.clustering.kmeans import Clustering
from l2ae_core.estimators import inputs, storage
from l2ae_core.estimators.parameters import (
    check_parameters,
    make_self_labelling,
    make_warp,
    require_images,
)
from l2ae_core.networks.architectures import Architecture, least_side
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.seeding import rngs
from l2ae_core.settings import DEFAULTS
from l2ae_core.training.augment import Warp
from l2ae_kernels.arrays import Array

DTYPES = (np.float64, np.float32)  # kept; every other dtype becomes the first


@dataclass(eq=False, repr=False)  # __init__ stores the parameters, as scikit-learn wants it
class AutoEncoderParameters:
    """The parameters that all estimators have; they are described in `AutoEncoderClusterer`."""

    n_clusters: int = DEFAULTS["clusters"]
    _: KW_ONLY
    model: str = "auto"
    image_shape: Sequence[int] | None = None
    latent_dim: int = DEFAULTS["latent_dim"]
    norm: str = DEFAULTS["norm"]
    hidden: Sequence[int] = DEFAULTS["hidden"]
    filters: Sequence[int] = DEFAULTS["filters"]
    kernels: Sequence[int] = DEFAULTS["kernels"]
    slope: float = DEFAULTS["slope"]
    scale: str = "auto"
    epochs: int = DEFAULTS["epochs"]
    batch_size: int = DEFAULTS["batch_size"]
    learning_rate: float = DEFAULTS["learning_rate"]
    n_init: int = DEFAULTS["n_init"]
    spherical: bool = False
    augment: bool | Warp = DEFAULTS["augment"]
    self_label: bool | refinement.SelfLabelling = DEFAULTS["self_label"]
    random_state: int | RandomState | None = None
    verbose: int = 0


@dataclass(eq=False, repr=False)
class AutoEncoderBase(AutoEncoderParameters, BaseEstimator):  # type: ignore[misc]
    """An auto-encoder and the k-means clusters of its codes u = E_c(x) (Eq. 4).

    The fitted attributes are described in `AutoEncoderClusterer`.
    """

    def _fit(self, X: Any) -> None:
        """Train the network on X, encode X, and cluster the codes."""
        check_parameters(self.get_params())
        x = self._start(X)  # (N, F)
        self.seed_ = _seed(self.random_state)
        self._train(self._to_network(x).astype(np.float32, copy=False))
        self.embedding_, clustering = method.cluster(
            self._network(x.dtype),
            self._to_network(x),
            int(self.n_clusters),
            n_init=int(self.n_init),
            rng=rngs(self.seed_).kmeans,
            spherical=bool(self.spherical),
            progress=self.verbose > 0,
        )
        self.reconstruction_errors_: Array | None = self._errors(x, self.embedding_)
        self._take_clusters(clustering)

    def _take_clusters(self, clustering: Clustering) -> None:
        self.labels_: Array = clustering.labels
        self.cluster_centers_: Array = clustering.centers
        self.inertia_: float = clustering.inertia
        self.n_iter_: int = clustering.n_iter

    def _train(self, images: Array) -> None:
        """Train the network on images (N, H, W, C) float32, then with its own labels if asked."""
        parameters, random = self.get_params(), rngs(self.seed_)
        self.autoencoder_, history = method.train(
            images,
            self.architecture_,
            epochs=int(self.epochs),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate),
            seed=self.seed_,
            warp=make_warp(parameters),
            progress=self.verbose > 0,
        )
        self.history_: list[dict[str, Any]] = history.to_dicts()
        self.self_labelling_history_: list[dict[str, Any]] | None = None
        images_alone = self.image_shape_ is not None
        if (chosen := make_self_labelling(parameters, images_alone)) is not None:
            found = refinement.self_label(
                self.autoencoder_,
                images,
                random.kmeans,
                chosen,
                rng=random.shuffle,
                progress=self.verbose > 0,
            )
            self.self_labelling_history_ = found.rounds()

    def _start(self, X: Any) -> Array:
        """Return X as (N, F), checked; decide on image shape, scaling and architecture."""
        self.image_shape_ = inputs.agreed_image_shape(X, self.image_shape)
        x: Array = validate_data(self, inputs.flatten(X), dtype=DTYPES, order="C")
        if self.image_shape_ is not None and np.prod(self.image_shape_) != x.shape[1]:
            raise ValueError(
                f"fit: image_shape is {self.image_shape_}, {np.prod(self.image_shape_)} values an "
                f"image, but X is {x.shape}"
            )
        if len(x) < self.n_clusters:
            raise ValueError(
                f"fit: n_clusters is {self.n_clusters} but X has only n_samples={len(x)}"
            )
        self.architecture_ = self._architecture(x.shape[1])
        self.mean_: Array | None = None
        self.scale_: Array | None = None
        if self.scale == "standard" or (self.scale == "auto" and self.image_shape_ is None):
            self.mean_, self.scale_ = inputs.standardization(x)
        self._require_range("fit", x)
        return x

    def _architecture(self, features: int) -> Architecture:
        """Return the network of the parameters; a table is an image of one pixel, F channels."""
        shape, model = self.image_shape_, self.model
        if shape is None:
            require_images(self.get_params())
        if model == "auto":
            cae = shape is not None and min(shape[:2]) >= least_side(self.filters)
            model = "cae" if cae else "dense"
        return Architecture(
            model=model,  # type: ignore[arg-type]  # Architecture checks the names
            input_shape=shape or (1, 1, features),
            latent_dim=int(self.latent_dim),
            norm=self.norm,  # type: ignore[arg-type]
            hidden=tuple(map(int, self.hidden)),
            filters=tuple(map(int, self.filters)),
            kernels=tuple(map(int, self.kernels)),
            slope=float(self.slope),
        )

    def _validated(self, method: str, X: Any) -> Array:
        """Return new X as (N, F), checked against what the estimator was fitted to."""
        check_is_fitted(self)
        inputs.require_same_images(method, X, self.image_shape_)
        x: Array = validate_data(self, inputs.flatten(X), dtype=DTYPES, order="C", reset=False)
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

        Raises ValueError when X does not fit what the estimator was fitted to.
        """
        x = self._validated("reconstruct", X)
        found = self._from_network(self._network(x.dtype).reconstruct(self._to_network(x)))
        return found.reshape(np.shape(X))

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to `path`, one .npz file without any pickle; atomically.

        A `RandomState` as random_state is written as the integer seed that was drawn from it.
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


def _seed(random_state: Any) -> int:
    """An integer is the seed itself (as of `l2ae fit --seed`), anything else draws one."""
    if isinstance(random_state, int | np.integer):
        if random_state < 0:
            raise ValueError(f"fit: random_state is {random_state} but expected an integer ≥ 0")
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
