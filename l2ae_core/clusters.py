"""The clusters of a run on disk: `clusters.npz` beside the checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

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

    normality[i] and errors[i] belong to the same image, as thresholds want it
    (`l2ae_core.verdict`).
    """

    centers: Array  # (K, D), of the codes u
    normality: Array  # (N,) Eq. 5 on the training images, ascending
    inertia: float
    errors: Array | None = None  # (N,) float64, their Σ (Î − I)²; older runs have none

    @classmethod
    def of(cls, clustering: "Clustering", v: Array, errors: Array) -> Self:
        """Return what is saved for scores v (N,), Eq. 5, and reconstruction errors (N,)."""
        order = np.argsort(v, kind="stable")
        return cls(clustering.centers, v[order], clustering.inertia, errors[order])

    def thresholds(self, fpr: float, criterion: Criterion | None = None) -> Thresholds:
        """Return the thresholds outside of which lies at most the share `fpr` of the training.

        No criterion is "both", or "cosine" where there are no errors. ValueError as
        `Thresholds.at_fpr`, and for a criterion that needs errors where there are none.
        """
        if criterion is None:
            criterion = "cosine" if self.errors is None else "both"
        return Thresholds.at_fpr(self.normality, self.errors, fpr, criterion)

    def save(self, run: Path) -> None:
        """Write `clusters.npz` of the run directory, atomically."""
        arrays = {"centers": self.centers, "normality": self.normality}
        if self.errors is not None:
            arrays["errors"] = self.errors
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
            errors = _errors(entries, len(normality), where)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        return cls(centers, normality, float(inertia), errors)


def _errors(entries: Params, N: int, where: str) -> Array | None:
    """Return `errors`, None for files of before; ValueError for bad ones."""
    if "errors" not in entries:
        return None
    errors = array_entry(entries, "errors", 1, "f", where)
    if errors.shape != (N,) or errors.min() < 0:
        raise ValueError(f"{where}: errors {errors.shape} are not {N} numbers ≥ 0")
    return errors
