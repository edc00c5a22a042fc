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

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.random import Generator

from l2ae_core.anomaly import cosine_normality, reconstruction_error
from l2ae_core.clustering.kmeans import Clustering, kmeans
from l2ae_core.clustering.metrics import chance_scores, clustering_scores
from l2ae_core.devices import DeviceName
from l2ae_core.images import AT_ONCE, Images, parts
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

BATCH = 1024  # images through a network at once, as in `AutoEncoder.encode`
VALUES = 1 << 22  # of images that are in memory together


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
    validation: float | Images = DEFAULTS["validation"],
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
    images (M, H, W, C) float32 are others. Their loss is recorded, and the lowest is that of the
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
    validation: float | Images = DEFAULTS["validation"],
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


def _validation(images: Images, chosen: float | Images, rng: Generator) -> Validation | None:
    if isinstance(chosen, Images):
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
    u = encode(model, images, progress=progress)
    if not all(np.isfinite(u[part]).all() for part in parts(len(u))):
        raise TrainingError("cluster: codes hold NaN or Inf: a smaller learning_rate may help")
    return u, kmeans(u, n_clusters, n_init=n_init, rng=rng, spherical=spherical, progress=progress)


def encode(model: Network, images: Images, *, progress: bool = False) -> Array:
    """Return the codes u (N, D) of images (N, H, W, C), some of which are in memory at a time."""
    u: Array | None = None
    found = encoded(model, images, progress=progress)
    for part, codes in zip(parts(len(images)), found, strict=True):
        if u is None:
            u = np.empty((len(images), *codes.shape[1:]), codes.dtype)
        u[part] = codes
    assert u is not None  # no image at all is one empty part
    return u


def encoded(model: Network, images: Images, *, progress: bool = False) -> Iterator[Array]:
    """Yield the codes of each of the `parts` of the images, as `encode` returns them of all."""
    with _bar("encode", len(images), progress) as bar:
        for part in parts(len(images)):
            codes = []
            for some in batches_of(images, part):
                codes.append(model.encode(images[some]))
                bar.update(len(codes[-1]))
            yield np.concatenate(codes)


def batches_of(images: Images, part: slice | None = None) -> list[slice]:
    """Return slices of the images, or of a part of them, which networks are applied to one by one.

    They begin at multiples of BATCH, counted from the first of the part.
    """
    first, stop = (0, len(images)) if part is None else (part.start, part.stop)
    size = BATCH * min(max(VALUES // (BATCH * prod(images.shape[1:])), 1), AT_ONCE // BATCH)
    return [slice(i, min(i + size, stop)) for i in range(first, max(stop, first + 1), size)]


def score(
    model: Network, centers: Array, images: Images, *, progress: bool = False
) -> AnomalyScores:
    """Score images (N, H, W, C) by centers (K, D) of the codes of training images (Eq. 5).

    Codes of a network without the constraint are brought to unit length for v, as cosines are.
    """
    some = [*scored(model, centers, images, progress=progress)]
    return AnomalyScores(*(np.concatenate(each) for each in zip(*some, strict=True)))


def scored(
    model: Network, centers: Array, images: Images, *, progress: bool = False
) -> Iterator[AnomalyScores]:
    """Yield the scores of each of the `parts` of the images, as `score` returns them of all."""
    with _bar("score", len(images), progress) as bar:
        for part in parts(len(images)):
            codes, errors = [], []
            for some in batches_of(images, part):
                x = images[some]
                codes.append(model.encode(x))
                errors.append(reconstruction_error(x, model.decode(codes[-1])))
                bar.update(len(x))
            u = np.concatenate(codes)
            v = cosine_normality(u, centers, first=part.start)
            yield AnomalyScores(u, v, np.concatenate(errors))


def reconstruction_errors(
    model: Network, images: Images, u: Array, *, progress: bool = False
) -> Array:
    """Return Σ (D(u) − I)² (N,) float64 of images I (N, H, W, C) and their codes u (N, D).

    Of images and reconstructions only some are in memory at a time.
    """
    errors = np.empty(len(images))
    with _bar("reconstruct", len(images), progress) as bar:
        for some in batches_of(images):
            errors[some] = reconstruction_error(images[some], model.decode(u[some]))
            bar.update(len(errors[some]))
    return errors


def _bar(what: str, count: int, progress: bool) -> Bar:
    return Bar(total=count, desc=what, unit="image", delay=1.0, disable=not progress)


def agreement(true: Array, labels: Array, n_clusters: int, seed: int) -> dict[str, Any]:
    """Return ACC (Eq. 6), NMI and ARI of labels (N,) against classes (N,), and of random labels.

    The keys are "acc", "nmi", "ari" and "chance", which holds the same three: the random labels,
    and so these, depend on the classes, n_clusters and the seed alone, never on what was drawn
    before. Classes are looked at here alone, after training and clustering.
    """
    chance = chance_scores(true, n_clusters, rngs(seed).split)
    return {**clustering_scores(true, labels), "chance": chance}
