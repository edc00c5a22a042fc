"""How far runs agree on the clusters of the same samples, and which run to keep: without classes.

    nmi[a, b]  NMI of the labels of the runs a and b
    mean[a]    mean of nmi[a, b] over all other runs b
    rest[a]    median of nmi[b, c] over all pairs of runs other than a
    medoid     the run with the highest mean

A run that fails finds clusters of its own: it agrees with the others less than these with each
other. So a run a stands apart where both hold:

    mean[a] < rest[a] − MARGIN                    runs that are nearly the same are not told apart
    mean[a] < median − SPREADS · spread           nor are runs that all differ

with the median of all means, and as spread the median of |mean − median|; rest is a median for the
sake of other runs that fail. Two runs have one number: neither stands apart.

That runs agree does not make them right: all of them may cut the samples in the same wrong way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l2ae_core.clustering.metrics import encode_labels, nmi
from l2ae_kernels.arrays import Array

MARGIN = 0.025  # of NMI: a run that merges two of ten equal clusters loses 0.03
SPREADS = 3.0
FEWEST = 3  # runs of which one can stand apart
ROUNDING = 1e-9  # means that differ by less are equal: sums run in the order of the clusters


@dataclass(frozen=True, eq=False)
class RunAgreement:
    """How far R runs agree; `apart` is None for two runs, which have one number."""

    nmi: Array  # (R, R) float64, symmetric, 1 on the diagonal
    mean: Array  # (R,) float64, of each run with the others
    medoid: int  # index of the run with the highest mean, the first of equals
    apart: Array | None  # (R,) bool, the runs that stand apart


def agreement_between_runs(labels: Sequence[Array] | Array) -> RunAgreement:
    """Compare R ≥ 2 clusterings of N samples; labels (R, N) may be any values, as in the metrics.

    How a run numbers its clusters, and how many it has, does not matter. ValueError, naming the
    run, for labels of different lengths, NaN or None.
    """
    R = len(labels)
    if R < 2:
        raise ValueError(f"agreement_between_runs: labels is of {R} runs but expected 2 or more")
    shapes = [np.shape(run) for run in labels]
    if len({*shapes}) > 1 or len(shapes[0]) != 1 or shapes[0] == (0,):
        wrong = next((i for i, shape in enumerate(shapes) if shape != shapes[0]), 0)
        raise ValueError(
            f"agreement_between_runs: labels[{wrong}] is {shapes[wrong]} and labels[0] is "
            f"{shapes[0]} but expected (N,) with one N ≥ 1 for all runs"
        )
    index = [
        encode_labels("agreement_between_runs", f"labels[{i}]", run)[1]
        for i, run in enumerate(labels)
    ]  # R of (N,)
    matrix = np.eye(R)
    for a in range(R):
        for b in range(a):
            matrix[a, b] = matrix[b, a] = nmi(index[a], index[b])
    mean = (matrix.sum(axis=1) - 1) / (R - 1)
    medoid = int((mean >= mean.max() - ROUNDING).argmax())
    apart = _stand_apart(matrix, mean) if R >= FEWEST else None
    return RunAgreement(matrix, mean, medoid, apart)


def _stand_apart(matrix: Array, mean: Array) -> Array:
    """Return which of R runs agree clearly less than the rest, bool (R,)."""
    R = len(mean)
    first, second = np.triu_indices(R, 1)  # (R (R − 1) / 2,) all pairs
    pairs = matrix[first, second]
    rest = np.array([np.median(pairs[(first != a) & (second != a)]) for a in range(R)])
    median = np.median(mean)
    spread = np.median(np.abs(mean - median))
    apart: Array = (mean < rest - MARGIN) & (mean < median - SPREADS * spread)
    return apart
