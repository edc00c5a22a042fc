"""The clusters of a run on disk: `clusters.npz` beside the checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l2ae_core.array_readers import array_entry
from l2ae_core.files import CLUSTERS
from l2ae_core.npz import Kind
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_kernels.arrays import Array

KIND = Kind("l2ae-clusters", "the clusters of a run", optional=("format", "entries"))
ROUNDING = 1e-3  # of a cosine in float32, with a margin


@dataclass(frozen=True, eq=False)
class SavedClusters:
    """What new images are compared with: centers, and how normal the training images are."""

    centers: Array  # (K, D), of the codes u
    normality: Array  # (N,) Eq. 5 on the training images, ascending: thresholds come from it
    inertia: float

    def save(self, run: Path) -> None:
        """Write `clusters.npz` of the run directory, atomically."""
        arrays = {"centers": self.centers, "normality": self.normality}
        KIND.write(run / CLUSTERS, {**arrays, "inertia": np.array(self.inertia)}, {})

    @classmethod
    def load(cls, run: Path) -> "SavedClusters":
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
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        return cls(centers, normality, float(inertia))
