"""The gallery of images, by their codes and scores."""

from collections.abc import Iterator
from math import prod

import numpy as np

from l2ae_core import method
from l2ae_core.data import Dataset
from l2ae_core.gallery.choose import choose, shown
from l2ae_core.gallery.file import Gallery
from l2ae_core.gallery.thumbnails import error_maps, thumbnail_size, thumbnails
from l2ae_core.images import Images
from l2ae_core.method import AnomalyScores, Network
from l2ae_core.progress import Bar
from l2ae_core.seeding import rngs
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array

SAMPLE = 2000  # codes of the map
CHUNK = 1 << 22  # values of images that are summed together


def make_gallery(
    model: Network,
    centers: Array,
    dataset: Dataset,
    *,
    scores: AnomalyScores | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Gallery:
    """Return the gallery of the images of `dataset` by a network and its centers (K, D).

    `scores` are those of `method.score`, where they are known. `seed` draws the
    codes of the map. `progress` shows a bar when it takes over a second.
    """
    u, v, error = scores or method.score(model, centers, dataset.images, progress=progress)
    labels = ops.assign(u, centers)[0].astype(np.int32, copy=False)
    H, W, C = dataset.images.shape[1:]
    h, w = thumbnail_size(H, W)
    picks = choose(labels, v, error, len(centers), h * w * (3 if C == 3 else 1))
    look = dataset.look(progress=progress)
    pictured, explained = shown(picks, look), picks.explained
    images = dataset.images[explained]
    reconstructions = model.decode(u[explained])
    sample = np.sort(rngs(seed).split.permutation(len(u))[:SAMPLE]).astype(np.int32)
    names = dataset.sample_names
    return Gallery(
        name=dataset.name,
        image_shape=(H, W, C),
        variance=_variance(dataset.images, progress),
        labels=labels,
        v=v.astype(np.float32, copy=False),
        error=error.astype(np.float64, copy=False),
        classes=None if dataset.labels is None else dataset.labels,
        class_names=dataset.class_names,
        picks=picks,
        look=look,
        sample=sample,
        codes=u[sample].astype(np.float32),
        shown=pictured,
        thumbnails=thumbnails(dataset.images[pictured]),
        names=None if names is None else tuple(names[i] for i in pictured),
        reconstructions=thumbnails(reconstructions),
        error_maps=error_maps(images, reconstructions),
    )


def _variance(images: Images, progress: bool) -> float:
    """Return the mean squared distance of a value from the mean image."""
    N, step = len(images), max(1, CHUNK // prod(images.shape[1:]))
    with Bar(total=2 * N, desc="variance", unit="image", delay=1.0, disable=not progress) as bar:

        def chunks() -> Iterator[Array]:
            for start in range(0, N, step):
                yield images[start : start + step]
                bar.update(min(step, N - start))

        mean = sum(x.sum(axis=0, dtype=np.float64) for x in chunks()) / N
        total = sum(float(np.square(x - mean).sum()) for x in chunks())
    variance: float = total / (N * mean.size)
    return variance
