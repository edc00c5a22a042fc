"""What several seeds say together: spread, paired differences, correlation, the worst pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation (0 for one value), smallest, largest, count."""

    mean: float
    sd: float
    least: float
    most: float
    count: int


@dataclass(frozen=True)
class Difference:
    """Mean of a − b over seeds that both have, its 95 % interval (Student's t), count.

    The interval is that of the mean difference; with one pair there is none.
    """

    mean: float
    interval: tuple[float, float] | None
    count: int


def summarize(values: Sequence[float]) -> Summary:
    """Return the summary of one or more values; ValueError for none."""
    if not values:
        raise ValueError("summarize: values is empty but expected at least one")
    x = np.asarray(values, np.float64)
    sd = float(x.std(ddof=1)) if len(x) > 1 else 0.0
    return Summary(float(x.mean()), sd, float(x.min()), float(x.max()), len(x))


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> Difference | None:
    """Return a − b over the seeds that are keys of both; None without one."""
    seeds = sorted(a.keys() & b.keys())
    if not seeds:
        return None
    d = np.array([a[seed] - b[seed] for seed in seeds])
    mean, n = float(d.mean()), len(d)
    if n == 1:
        return Difference(mean, None, 1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * d.std(ddof=1) / np.sqrt(n))
    return Difference(mean, (mean - half, mean + half), n)


def correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Pearson's r of two sequences; None below 3 pairs or without spread.

    ValueError when they are not of one length.
    """
    if len(x) != len(y):
        raise ValueError(
            f"correlation: x has {counted(len(x), 'value')} but y has {len(y)}: expected pairs"
        )
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def worst_pair(confusions: Sequence[Array]) -> tuple[int, int, float] | None:
    """Return the classes i < j that are least told apart, and how well they are.

        share(i, j) = (C_ii + C_jj) / (C_ii + C_ij + C_ji + C_jj)

    is, of the images of i and j in the clusters of either, the share that is in its own: 1 where
    neither cluster has an image of the other class, 1/2 where a coin decides, 0 where there is no
    such image. It is averaged over the confusion matrices C (K, clusters) of `metrics.confusion`,
    and the pair of the lowest mean is returned. None without a matrix, or where one has fewer
    clusters than classes: its columns do not stand for the classes.
    """
    if not confusions or any(c.shape[1] < len(c) for c in confusions):
        return None
    i, j = np.triu_indices(len(confusions[0]), 1)
    shares = []
    for c in confusions:
        own, other = c[i, i] + c[j, j], c[i, j] + c[j, i]
        shares.append(own / np.maximum(own + other, 1))
    mean = np.mean(shares, axis=0)
    worst = int(mean.argmin())
    return int(i[worst]), int(j[worst]), float(mean[worst])
