"""A two-sided verdict: an image is anomalous when its v is too low or its error too high.

    far from every cluster    v < τ          v = max_j u·c_j/|c_j|, Eq. 5
    not reconstructed         error > ε      error = Σ (Î − I)² over all pixels and channels, Eq. 3

v alone misses images that the network has never seen the like of: their codes lie among those of
the training images, as all codes do, but their reconstructions are those of other images. The error
alone misses what is easy to reproduce, such as a black image. Both thresholds are set together, on
scores of the same images: as many of these are below τ as are above ε, and in all at most a given
share.

The share is that of the images which set the thresholds. Where the network was trained on these,
their errors are a little smaller than those of new images of the same kind, of which somewhat more
lie outside: the more, the fewer images and the longer the training.

The unit of the error is that of the pixels, in [0, 1], squared and summed: it grows with the size
of an image. Divided by H·W·C it is a mean squared error, as in metrics.json.
"""

from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, get_args

import numpy as np

from l2ae_core.anomaly import ROUNDING, allowed_outside, require_scores, threshold_below
from l2ae_kernels.arrays import Array

Criterion: TypeAlias = Literal["both", "cosine", "error"]
REASONS = ("far from every cluster", "not reconstructed", "both")


@dataclass(frozen=True)
class Thresholds:
    """Where images become anomalous; None on a side that is not judged.

    Scores of images are arrays (N,); `error` may be None where it is not judged.
    """

    normality: float | None  # τ, of v
    error: float | None  # ε

    @classmethod
    def at_fpr(
        cls, normality: Array, errors: Array | None, fpr: float, criterion: Criterion = "both"
    ) -> Self:
        """Return thresholds outside of which lies at most the share `fpr` of the images given.

        normality (N,) and errors (N,) belong to the same images, training images or known normal
        ones, in any order; errors may be None when the criterion is "cosine". With "both", as many
        images may have v < τ as have error > ε, or one more, and as many in all lie outside as
        `fpr` allows; images with equal scores are on the same side, so that it can be fewer. A
        threshold lies halfway between two scores, as in `l2ae_core.anomaly`.
        ValueError for another criterion, when fpr is not in [0, 1), and for scores that are not
        finite or do not fit.
        """
        if criterion not in get_args(Criterion):
            raise ValueError(
                f"criterion is {criterion!r} but expected one of {get_args(Criterion)}"
            )
        v, N = np.asarray(normality), len(normality)
        allowed = allowed_outside("fpr", fpr, N)
        if criterion == "cosine":
            return cls(threshold_below("score", v, allowed), None)
        if errors is None:
            raise ValueError(f"criterion is {criterion!r} but there are no errors")
        e = np.asarray(errors, np.float64)
        if e.shape != v.shape:
            raise ValueError(f"normality is {v.shape} but errors are {e.shape}")
        if criterion == "error":
            return cls(None, -threshold_below("score", -e, allowed))
        scores = require_scores("score", v), require_scores("score", -e)
        sides = zip(scores, _shared(*scores, allowed), strict=True)
        tau, minus_error = (threshold_below("score", x, outside) for x, outside in sides)
        return cls(tau, -minus_error)

    def anomalous(self, normality: Array, error: Array | None) -> Array:
        """Return bool (N,): whether images with these scores lie outside."""
        far, unreconstructed = self._sides(normality, error)
        return far | unreconstructed

    def reasons(self, normality: Array, error: Array | None) -> Array:
        """Return one of REASONS for every anomalous image, "" for the others (N,)."""
        far, unreconstructed = self._sides(normality, error)
        names: Array = np.array(["", *REASONS])[far + 2 * unreconstructed]
        return names

    def margin(self, normality: Array, error: Array | None) -> Array:
        """Return min((v − τ)/(1 − τ), (ε − error)/ε) float64 (N,): negative where anomalous.

        It is 1 for v = 1 and error = 0, and falls without end: −1 is twice as far from these as the
        nearer threshold is. The order of images by it is that from the least normal on.
        """
        sides = []
        if self.normality is not None:
            width = max(1 - self.normality, ROUNDING)
            sides.append((np.asarray(normality, np.float64) - self.normality) / width)
        if self.error is not None:
            width = max(self.error, float(np.finfo(np.float64).tiny))
            sides.append((self.error - np.asarray(error, np.float64)) / width)
        lowest: Array = np.min(sides, axis=0)
        return lowest

    def _sides(self, normality: Array, error: Array | None) -> tuple[Array, Array]:
        # float64: in float32 a threshold would be rounded, perhaps to a score
        far = unreconstructed = np.zeros(len(normality), bool)
        if self.normality is not None:
            far = np.asarray(normality, np.float64) < self.normality
        if self.error is not None:
            unreconstructed = np.asarray(error, np.float64) > self.error
        return far, unreconstructed


def error_quantile(error: Array, errors: Array, *, ascending: bool = False) -> Array:
    """Return the share of training images whose error is smaller, in [0, 1], float64 (N,).

    errors (M,) are those of the training images; `ascending` says that they are in that order.
    """
    errors = errors if ascending else np.sort(errors)
    order = np.argsort(error)  # neighbours are looked for at neighbouring places
    share = np.empty(len(order))
    share[order] = np.searchsorted(errors, np.asarray(error)[order], side="left") / len(errors)
    return share


def _shared(a: Array, b: Array, allowed: int) -> tuple[int, int]:
    """Return how many images may lie below a threshold of a (N,), and of b (N,), low is anomalous.

    Both are the same level, or one of them is one higher, so that their union comes as near to
    `allowed` as it can. Only images with fewer than `allowed` others below them, in a or in b, can
    lie in it: so few are sorted.
    """
    low = [x < np.partition(x, allowed)[allowed] for x in (a, b)]  # ≤ `allowed` images each
    either = np.flatnonzero(low[0] | low[1])
    if len(either) <= allowed:
        return allowed, allowed
    tails = [_tails(x[either], lowest[either]) for x, lowest in zip((a, b), low, strict=True)]
    level = int(np.partition(np.minimum(*tails), allowed)[allowed]) - 1
    for low_a, low_b in ((level + 1, level), (level, level + 1)):
        if ((tails[0] <= low_a) | (tails[1] <= low_b)).sum() <= allowed:
            return low_a, low_b
    return level, level


def _tails(x: Array, lowest: Array) -> Array:
    """Return how many values of all are as low as each of x (M,), or lower; int64 (M,).

    `lowest` (M,) says which of x these can be: below them is nothing but these. The others, of
    which that is not known, get a number larger than any.
    """
    tails = np.full(len(x), np.iinfo(np.int64).max)
    some = np.flatnonzero(lowest)
    order = some[np.argsort(x[some])]
    ordered = x[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(order)]) + 1
    tails[order] = np.repeat(ends, np.diff(ends, prepend=0))
    return tails
