"""Scores of the runs, and what guards a claim about them.

`require` guards each claim of the page: when new results do not support it, the page is not
written, and the error names the claim.
"""

from collections.abc import Sequence

import numpy as np

from l2ae_core.paper.index import ResultIndex
from l2ae_core.paper.published import DIGITS
from l2ae_core.paper.result import ClusteringDetails, Result
from l2ae_kernels.arrays import Array

PAIRS = (("usps", "cae-l2", "cae"), ("mnist", "cae-l2", "cae"), ("mnist", "ae-l2", "ae"),
         ("mnist", "ae-l2-keras-slope", "ae-keras-slope"))  # fmt: skip


def require(condition: bool | np.bool_, claim: str) -> None:
    """ValueError when the results do not support a claim of this page."""
    if not condition:
        raise ValueError(f"scores: the results do not say that {claim}")


def confusion(result: Result) -> Array:
    """Return how many images of each class (rows) are in each cluster."""
    if not isinstance(result.details, ClusteringDetails):
        raise ValueError(f"scores: {result.id} is no clustering")
    return np.array(result.details.confusion)


class Numbers:
    """Scores of the runs, in the order of their seeds; accuracy in percent."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = results
        self.find = ResultIndex(results)

    def scores(self, data: str, system: str, score: str) -> Array:
        """Return one score of every seed (S,)."""
        found = self.find.scores("clustering", data, system, score)
        return np.array([found[seed] for seed in sorted(found)])

    def acc(self, data: str, system: str, score: str = "acc") -> Array:
        """Return accuracies (S,), in percent."""
        return 100 * self.scores(data, system, score)

    def confusions(self, data: str, system: str) -> list[Array]:
        """Return the confusion matrix of every seed."""
        found = self.find.seeds("clustering", data, system, None)
        return [confusion(found[seed]) for seed in sorted(found)]

    def rank(self, data: str, system: str, by: str) -> int:
        """Return the rank in accuracy, 1 the best, of the run with the lowest value of `by`."""
        acc = self.acc(data, system)
        return 1 + int((acc > acc[self.scores(data, system, by).argmin()]).sum())

    def by_digit(self, system: str, score: str, epochs: int | None = None) -> Array:
        """Return the mean over partitions (10,), of the longest runs or those of some epochs."""
        find = self.find
        if epochs is not None:
            find = ResultIndex([r for r in self.results if r.run.epochs == epochs])
        found = [find.scores("detection", "mnist", system, score, d) for d in DIGITS]
        return np.array([np.mean(list(f.values())) for f in found])
