"""A trained run applied to images with NumPy and the standard library alone.

    run = load("runs/mnist")
    run.encode(images)                                   u (N, D)
    run.cluster(images)                                  labels (N,)
    run.score(images, fpr=0.01).anomalous                (N,) bool

The layers are those of the training; their arrays ask for the reference implementations, which are
NumPy. Numba, SciPy and scikit-learn are not imported, Pillow only to read image files or to resize.
Results are those of `l2ae cluster` and `l2ae score` up to the rounding of float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from l2ae_core import data
from l2ae_core.anomaly import cosine_normality, nearest_center, reconstruction_error
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import Dataset, Preparation, Source
from l2ae_core.data.stored import prepared, store
from l2ae_core.files import CLUSTERS
from l2ae_core.images import parts
from l2ae_core.networks import AutoEncoder
from l2ae_core.seeds.runs import chosen_run
from l2ae_core.tables import counted
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.run import final_weights, load_run, read_config, trained_preparation
from l2ae_core.verdict import Criterion, Thresholds
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, NumPyArray

BATCH = 256  # images at once: their windows of a 5×5 kernel over 32 channels take 40 MB at 28×28

Images: TypeAlias = Source | Dataset


class Scores(NamedTuple):
    """What `l2ae score` writes: an entry an image, and the thresholds."""

    normality: Array  # (N,) float32, v of Eq. 5, in [−1, 1], high is normal
    cluster: Array  # (N,) int64, the center that v is the cosine to
    reconstruction_error: Array  # (N,) float64, Σ (Î − I)², high is anomalous
    anomalous: Array  # (N,) bool, outside of the thresholds
    reason: Array  # (N,) text, why; "" where an image is normal
    thresholds: Thresholds  # of v and of the error


@dataclass(frozen=True, eq=False, repr=False)
class Inference:
    """A finished run, ready for new images.

    Images are an array (N, H, W, C), or (N, H, W) for one channel, of uint8 from 0 to 255 or
    floating point in [0, 1]; or what `l2ae_core.load` reads or returns, such as a path or a list
    of paths. All are prepared as those of the training were; of those in a file, or of 8 bits, some
    at a time. Grey images are repeated for a network of three channels. ValueError for any others.
    """

    model: AutoEncoder  # its arrays are `NumPyArray`
    clusters: SavedClusters
    preparation: Preparation  # of every image
    config: dict[str, Any]  # the content of config.json
    path: Path  # of the run directory

    def __repr__(self) -> str:
        return f"{self.path}: {self.model!r}, {counted(len(self.clusters.centers), 'cluster')}"

    def encode(self, images: Images) -> Array:
        """Return the codes u = E_c(I) (N, D) float32 (Eq. 4)."""
        return np.concatenate([self._encode(x) for _, x in self._parts(images)])

    def reconstruct(self, images: Images) -> Array:
        """Return Î = D(E_c(I)) (N, H, W, C) float32."""
        return self._decode(self.encode(images))

    def cluster(self, images: Images) -> Array:
        """Return the label int32 (N,) of the center nearest to each code, as `l2ae cluster`."""
        labels, _ = ops.assign(self.encode(images), self.clusters.centers, impl="reference")
        return labels

    def normality(self, images: Images) -> Array:
        """Return v float32 (N,) of Eq. 5: in [−1, 1], high is normal."""
        return cosine_normality(self.encode(images), self.clusters.centers)

    def error(self, images: Images) -> Array:
        """Return Σ (Î − I)² float64 (N,) of each image, high is anomalous."""
        return np.concatenate([self._error(x, self._encode(x)) for _, x in self._parts(images)])

    def score(
        self, images: Images, fpr: float = 0.05, criterion: Criterion | None = None
    ) -> Scores:
        """Return both scores, the center, and which images are anomalous and why, as `l2ae score`.

        Outside of the thresholds lies at most the share `fpr` of the training images; both are of
        `criterion`, by default those of v and of the error, where the run has errors.
        """
        limits, centers = self.clusters.thresholds(fpr, criterion), self.clusters.centers
        found = []
        for first, x in self._parts(images):
            u = self._encode(x)
            v = cosine_normality(u, centers, first=first)
            found.append((v, nearest_center(u, centers), self._error(x, u)))
        v, cluster, error = (np.concatenate(some) for some in zip(*found, strict=True))
        reasons = limits.reasons(v, error)
        return Scores(v, cluster, error, reasons != "", reasons, limits)

    def prepared(self, images: Images) -> Array:
        """Return images (N, H, W, C) float32 in [0, 1], as the network takes them."""
        return np.concatenate([x for _, x in self._parts(images)])

    def _parts(self, images: Images) -> Iterator[tuple[int, Array]]:
        """Yield some prepared images (n, H, W, C) at a time, with the position of the first."""
        if isinstance(images, np.ndarray):
            found = store(images, "images", self.preparation)
        elif isinstance(images, Dataset):
            found = prepared(images.images, "images", self.preparation)
        else:
            found = data.load(images, preparation=self.preparation, progress=False).images
        for part in parts(len(found)):
            yield part.start, self.fitting(found[part])

    def fitting(self, x: Array) -> Array:
        """Return prepared images x, grey ones repeated; ValueError where the network takes none."""
        expected = self.model.input_shape
        if x.shape[1:] == (*expected[:2], 1) and expected[2] == 3:
            x = np.repeat(x, 3, axis=3)
        if x.shape[1:] != expected:
            raise ValueError(
                f"images: have shape {x.shape[1:]} but {self.path} was trained on {expected}"
            )
        return x

    def _encode(self, x: Array) -> Array:
        return self.model.encode(x.view(NumPyArray), BATCH).view(np.ndarray)

    def _error(self, x: Array, u: Array) -> Array:
        return reconstruction_error(x, self._decode(u))

    def _decode(self, u: Array) -> Array:
        return self.model.decode(u.view(NumPyArray), BATCH).view(np.ndarray)


def load(run: str | Path) -> Inference:
    """Read a run directory, or the chosen run of a folder of seeds.

    CheckpointError (a ValueError), naming the file, where one is missing, damaged, of a newer
    version, or does not belong to the others; also where the training has not come to its end.
    """
    path, _ = chosen_run(Path(run))
    config, clusters = read_config(path), SavedClusters.load(path)
    model, _ = load_run(path, final_weights(path, config))
    if clusters.centers.shape[1] != model.latent_dim:
        raise CheckpointError(
            f"{path / CLUSTERS}: centers are {clusters.centers.shape} but the codes of the network "
            f"have {counted(model.latent_dim, 'number')}"
        )
    numpys = model.with_arrays(lambda a: a.view(NumPyArray))
    return Inference(numpys, clusters, trained_preparation(path, config), config, path)
