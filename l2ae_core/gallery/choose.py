"""Which images are shown: positions among N images, by their clusters and scores.

All that is shown has BUDGET bytes at most: of many clusters fewer images each are shown.
"""

from dataclasses import dataclass

import numpy as np

from l2ae_core.data.look import Look
from l2ae_kernels.arrays import Array

BUDGET = 8 << 20  # bytes of pixels
MOST = 3000  # images of all clusters together
OF_CLUSTER = 24  # images, two of three of them typical
LEAST_OF_CLUSTER = 3
LEAST_NORMAL = 50
WORST = 20  # reconstructed
OF_KIND = 12  # constant, flat or dark images, or groups of equal ones
OF_GROUP = 6  # equal images
NOTHING = -1  # fills the rows of clusters that have fewer images


@dataclass(frozen=True, eq=False)
class Picks:
    """Positions of the images of each part of the gallery, int32.

    typical       (K, T) of each cluster, highest v first
    atypical      (K, A) of each cluster, lowest v first, those that are typical left out
    least_normal  (L,) lowest v first
    worst         (M,) highest reconstruction error first
    """

    typical: Array
    atypical: Array
    least_normal: Array
    worst: Array

    @property
    def explained(self) -> Array:
        """The images of which the reconstruction is shown, ascending."""
        return np.unique(np.concatenate([self.least_normal, self.worst]))


def choose(labels: Array, v: Array, error: Array, n_clusters: int, image_bytes: int) -> Picks:
    """Choose among images of clusters labels (N,), normality v (N,) and errors (N,).

    `image_bytes` are those of a thumbnail. Of equal scores the first image comes first.
    """
    by_v = np.argsort(v, kind="stable")  # lowest first
    count = _of_cluster(n_clusters, image_bytes)
    typical = np.full((n_clusters, count - count // 3), NOTHING, np.int32)
    atypical = np.full((n_clusters, count // 3), NOTHING, np.int32)
    for k in range(n_clusters):
        rising = by_v[labels[by_v] == k]
        high = rising[::-1][: typical.shape[1]]
        low = rising[: len(rising) - len(high)][: atypical.shape[1]]
        typical[k, : len(high)], atypical[k, : len(low)] = high, low
    return Picks(
        typical,
        atypical,
        by_v[:LEAST_NORMAL].astype(np.int32),
        np.argsort(-error, kind="stable")[:WORST].astype(np.int32),
    )


def shown(picks: Picks, look: Look) -> Array:
    """Return the positions (S,) of all images of which a thumbnail is shown, ascending."""
    few = [kind[:OF_KIND] for kind in (look.constant, look.flat, look.dark)]
    few += [group[:OF_GROUP] for group in look.duplicates[:OF_KIND]]
    rows = [picks.typical.ravel(), picks.atypical.ravel(), picks.explained, *few]
    found: Array = np.setdiff1d(np.concatenate(rows), [NOTHING])
    return found


def _of_cluster(n_clusters: int, image_bytes: int) -> int:
    """Return how many images of each of n_clusters are shown."""
    others = 2 * (LEAST_NORMAL + WORST) + (3 + OF_GROUP) * OF_KIND  # with reconstructions
    fit = min(BUDGET // image_bytes - others, MOST)
    return min(max(fit // n_clusters, LEAST_OF_CLUSTER), OF_CLUSTER)
