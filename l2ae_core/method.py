"""The paper's method, Fig. 2: train an auto-encoder, cluster its codes, score images by them.

    images (N,H,W,C) ─ E → z (N,D) ─ z/|z| → u ─ D → reconstruction
                                              ├─ k-means → labels, centers       clustering
                                              └─ v = max_j u·c_j/|c_j|           anomaly detection

Where each equation is computed:

    Eq. 1  z = E(I)             AutoEncoder.latent            networks/autoencoder.py
    Eq. 2  Î = D(u)             AutoEncoder.decode            networks/autoencoder.py
    Eq. 3  loss Σ (Î − I)²      reconstruction_loss           training/loss.py
    Eq. 4  u = z/|z|            L2Normalize                   layers/normalize.py
    Eq. 5  v                    cosine_normality              anomaly.py
    Eq. 6  ACC                  accuracy                      clustering/metrics.py

`train` minimises Eq. 3 with the constraint of Eq. 4 in the one loop of training/loop.py; `cluster`
is k-means of clustering/kmeans.py; the arithmetic of both is in kernels/l2ae_kernels.

    model, history = train(images, Architecture("cae", (28, 28, 1)), epochs=50)
    u, clustering = cluster(model, images, n_clusters=10, rng=rngs(0).kmeans)
    v = score(model, clustering.centers, new_images).v

The command line (commands/), the estimators, the demo and the tables of the paper call these.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.random import Generator

from l2ae_core.anomaly import cosine_normality, reconstruction_error
from l2ae_core.clustering.kmeans import Clustering, kmeans
from l2ae_core.clustering.metrics import chance_scores, clustering_scores
from l2ae_core.devices import DeviceName
from l2ae_core.images import Images
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.progress import Bar
from l2ae_core.seeding import rngs
from l2ae_core.settings import CHOICES, DEFAULTS
from l2ae_core.training.augment import Augmentation, Warp
from l2ae_core.training.history import History, TrainingError
from l2ae_core.training.loop import fit
from l2ae_core.training.loss import Reduction
from l2ae_core.training.optim import make_optimizer
from l2ae_core.training.session import OnEpoch
from l2ae_core.training.validation import Validation
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device

AT_ONCE = 8192  # reconstructions; a multiple of the batches of a network


class Network(Protocol):
    """Encodes images (N, H, W, C) to codes u (N, D) and decodes these: on whatever device."""

    def encode(self, images: Images) -> Array: ...
    def decode(self, u: Array) -> Array: ...


class AnomalyScores(NamedTuple):
    """How normal images are; the two scores point in opposite directions."""

    u: Array  # (N, D), the codes
    v: Array  # (N,) Eq. 5, in [−1, 1], high is normal
    error: Array  # (N,) float64, Σ (Î − I)² of an image, high is anomalous


def train(
    images: Images,
    architecture: Architecture,
    *,
    epochs: int = DEFAULTS["epochs"],
    batch_size: int = DEFAULTS["batch_size"],
    optimizer: str = DEFAULTS["optimizer"],
    learning_rate: float = DEFAULTS["learning_rate"],
    reduction: Reduction = DEFAULTS["reduction"],
    seed: int = DEFAULTS["seed"],
    weights: str = DEFAULTS["weights"],
    warp: Warp | None = None,
    validation: float | Array = DEFAULTS["validation"],
    patience: int | None = DEFAULTS["patience"],
    callbacks: Sequence[OnEpoch] = (),
    run_dir: Path | None = None,
    checkpoint_every: int | str = 10,
    resume: bool = False,
    progress: bool = False,
    device: Device | DeviceName | None = None,
) -> tuple[AutoEncoder, History]:
    """Build the network and train it on images (N, H, W, C) float32 (Eqs. 3 and 4).

    `seed` gives the first weights, the order of the batches and their warps. With a `warp` every
    batch is warped at random, and its loss is that of the warped images. The model has the weights
    of the epoch with the lowest loss, or with weights="last" those of the last one.

    A `validation` above 0 is the share of the images, drawn from the seed, that no step is made on;
    an array (M, H, W, C) float32 has others. Their loss is recorded, and the lowest is that of the
    best epoch. `patience`, `callbacks`, `run_dir`, `resume`, `device`, progress and errors are
    those of `training.loop.fit`.
    """
    if weights not in CHOICES["weights"]:
        raise ValueError(f"train: weights is {weights!r} but expected one of {CHOICES['weights']}")
    start = begin(images, architecture, optimizer=optimizer, learning_rate=learning_rate, seed=seed,
                  warp=warp, validation=validation)  # fmt: skip
    model: AutoEncoder = start["model"]
    history = fit(
        **start,
        epochs=epochs,
        batch_size=batch_size,
        reduction=reduction,
        patience=patience,
        callbacks=callbacks,
        run_dir=run_dir,
        checkpoint_every=checkpoint_every,
        resume=resume,
        progress=progress,
        device=device,
    )
    if weights == "best":
        history.restore_best(model)
    return model, history


def begin(
    images: Images,
    architecture: Architecture,
    *,
    optimizer: str = DEFAULTS["optimizer"],
    learning_rate: float = DEFAULTS["learning_rate"],
    seed: int = DEFAULTS["seed"],
    warp: Warp | None = None,
    validation: float | Array = DEFAULTS["validation"],
) -> dict[str, Any]:
    """Return what `train` begins with, as arguments of `fit`: all that is drawn from the seed."""
    random = rngs(seed)
    return {
        "model": build(architecture, random.init),
        "images": images,
        "optimizer": make_optimizer(optimizer, learning_rate),
        "rng": random.shuffle,
        "hooks": None if warp is None else Augmentation(warp),
        "validation": _validation(images, validation, random.validation),
    }


def _validation(images: Images, chosen: float | Array, rng: Generator) -> Validation | None:
    if isinstance(chosen, np.ndarray):
        return Validation(chosen)
    return Validation.split(images, chosen, rng) if chosen else None


def cluster(
    model: Network,
    images: Images,
    n_clusters: int = DEFAULTS["clusters"],
    *,
    rng: Generator,
    n_init: int = DEFAULTS["n_init"],
    spherical: bool = False,
    progress: bool = False,
) -> tuple[Array, Clustering]:
    """Encode images (N, H, W, C) and cluster the codes: return u (N, D) and k-means on it.

    `rng`, of a seed `rngs(seed).kmeans`, gives the first centers of each of n_init restarts.
    TrainingError when a code is NaN or Inf, as the last update of a training can make it;
    ValueError as in `kmeans`.
    """
    u = model.encode(images)
    if not np.isfinite(u).all():
        raise TrainingError("cluster: codes hold NaN or Inf: a smaller learning_rate may help")
    return u, kmeans(u, n_clusters, n_init=n_init, rng=rng, spherical=spherical, progress=progress)


def score(
    model: Network, centers: Array, images: Images, *, progress: bool = False
) -> AnomalyScores:
    """Score images (N, H, W, C) by centers (K, D) of the codes of training images (Eq. 5).

    Codes of a network without the constraint are brought to unit length for v, as cosines are.
    """
    u = model.encode(images)
    errors = reconstruction_errors(model, images, u, progress=progress)
    return AnomalyScores(u, cosine_normality(u, centers), errors)


def reconstruction_errors(
    model: Network, images: Images, u: Array, *, progress: bool = False
) -> Array:
    """Return Σ (D(u) − I)² (N,) float64 of images I (N, H, W, C) and their codes u (N, D).

    Of the reconstructions only AT_ONCE are in memory at a time.
    """
    parts = [slice(start, start + AT_ONCE) for start in range(0, len(images), AT_ONCE)]
    bar = Bar(parts, desc="reconstruct", delay=1.0, disable=not progress)
    errors = [reconstruction_error(images[part], model.decode(u[part])) for part in bar]
    return np.concatenate(errors) if errors else np.zeros(0)


def agreement(true: Array, labels: Array, n_clusters: int, rng: Generator) -> dict[str, Any]:
    """Return ACC (Eq. 6), NMI and ARI of labels (N,) against classes (N,), and of random labels.

    The keys are "acc", "nmi", "ari" and "chance", which holds the same three. Classes are looked
    at here alone, after training and clustering.
    """
    return {**clustering_scores(true, labels), "chance": chance_scores(true, n_clusters, rng)}
