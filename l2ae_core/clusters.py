"""The clusters of a run on disk: `clusters.npz` beside the checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from l2ae_core.anomaly import cosine_normality
from l2ae_core.array_readers import array_entry
from l2ae_core.files import CLUSTERS
from l2ae_core.layers.base import Params
from l2ae_core.npz import Kind
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.verdict import Criterion, Thresholds
from l2ae_kernels.arrays import Array

if TYPE_CHECKING:  # importing it takes Numba, which applying a run needs not
    from l2ae_core.clustering.kmeans import Clustering

KIND = Kind("l2ae-clusters", "the clusters of a run", optional=("format", "entries"))
ROUNDING = 1e-3  # of a cosine in float32, with a margin


@dataclass(frozen=True, eq=False)
class SavedClusters:
    """What new images are compared with: centers, and the scores of the training images.

    Both lists of scores are ascending. `errors[error_ranks]` are the errors in the order of
    `normality`: what belongs to the same image, as thresholds want it (`l2ae_core.verdict`).
    """

    centers: Array  # (K, D), of the codes u
    normality: Array  # (N,) Eq. 5 on the training images, ascending
    inertia: float
    errors: Array | None = None  # (N,) float64, their Σ (Î − I)², ascending; older runs: None
    error_ranks: Array | None = None  # (N,) integers, place in `errors` of each of `normality`

    @classmethod
    def of(cls, clustering: "Clustering", u: Array, errors: Array) -> Self:
        """Return what is saved for codes u (N, D) and reconstruction errors (N,) of N images."""
        v = cosine_normality(u, clustering.centers)
        order, by_error = np.argsort(v, kind="stable"), np.argsort(errors, kind="stable")
        rank = np.empty(len(v), np.int32)
        rank[by_error] = np.arange(len(v), dtype=np.int32)
        return cls(clustering.centers, v[order], clustering.inertia, errors[by_error], rank[order])

    @property
    def paired_errors(self) -> Array | None:
        """Errors (N,) float64 in the order of `normality`; None in older runs."""
        return None if self.errors is None else self.errors[self.error_ranks]

    def thresholds(self, fpr: float, criterion: Criterion | None = None) -> Thresholds:
        """Return the thresholds outside of which lies at most the share `fpr` of the training.

        No criterion is "both", or "cosine" where there are no errors. ValueError as
        `Thresholds.at_fpr`, and for a criterion that needs errors where there are none.
        """
        if criterion is None:
            criterion = "cosine" if self.errors is None else "both"
        return Thresholds.at_fpr(self.normality, self.paired_errors, fpr, criterion)

    def save(self, run: Path) -> None:
        """Write `clusters.npz` of the run directory, atomically."""
        arrays = {"centers": self.centers, "normality": self.normality}
        if self.errors is not None and self.error_ranks is not None:
            arrays |= {"errors": self.errors, "error_ranks": self.error_ranks}
        KIND.write(run / CLUSTERS, {**arrays, "inertia": np.array(self.inertia)}, {})

    @classmethod
    def load(cls, run: Path) -> Self:
        """Read `clusters.npz` of the run directory; CheckpointError when it cannot be used."""
        path = run / CLUSTERS
        if not path.exists():
            raise CheckpointError(
                f"{path}: missing: the training of this run has not come to its end; "
                f"`l2ae fit --resume --out {run}` goes on with it"
            )
        where = str(path)
        try:
            entries = KIND.read(path)
            centers = array_entry(entries, "centers", 2, "f", where)  # (K, D)
            normality = array_entry(entries, "normality", 1, "f", where)  # (N,)
            inertia = array_entry(entries, "inertia", 0, "f", where)
            if not centers.size or not normality.size or (np.diff(normality) < 0).any():
                raise ValueError(
                    f"{where}: centers {centers.shape} and normality {normality.shape} are empty "
                    "or not in ascending order"
                )
            if np.abs(normality).max() > 1 + ROUNDING:
                raise ValueError(f"{where}: entry 'normality' is no cosine, in [-1, 1]")
            errors, ranks = _errors(entries, len(normality), where)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        return cls(centers, normality, float(inertia), errors, ranks)


def _errors(entries: Params, N: int, where: str) -> tuple[Array | None, Array | None]:
    """Return `errors` and `error_ranks`, None for files of before; ValueError for bad ones."""
    if not {"errors", "error_ranks"} & entries.keys():
        return None, None
    errors = array_entry(entries, "errors", 1, "f", where)
    ranks = array_entry(entries, "error_ranks", 1, "iu", where)
    if errors.shape != (N,) or errors[0] < 0 or (np.diff(errors) < 0).any():
        raise ValueError(f"{where}: errors {errors.shape} are not {N} numbers ≥ 0, ascending")
    if ranks.shape != (N,) or not np.array_equal(np.sort(ranks), np.arange(N)):
        raise ValueError(
            f"{where}: error_ranks {ranks.shape} are not the numbers from 0 to {N - 1}"
        )
    return errors, ranks
