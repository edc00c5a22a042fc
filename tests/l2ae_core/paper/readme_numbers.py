"""The numbers that the sentences of the README are made of, from the result files."""

from pathlib import Path

import numpy as np

from l2ae_core.paper import read_results
from l2ae_core.paper.index import ResultIndex
from l2ae_core.paper.published import DIGITS
from l2ae_core.paper.statistics import correlation, paired_difference

ROOT = Path(__file__).parents[3]
COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 8: "eight", 9: "nine", 10: "ten"}


class Numbers:
    """What the sentences are made of: percent with one digit, in the order of the seeds."""

    def __init__(self):
        self.results = read_results(ROOT / "benchmarks/results/runs")
        self.find = ResultIndex(self.results)

    def scores(self, data, system, score="acc"):
        found = self.find.scores("clustering", data, system, score)
        return np.array([found[seed] for seed in sorted(found)])

    def acc(self, data, system, score="acc"):
        return 100 * self.scores(data, system, score)

    def mean(self, data, system, score="acc"):
        return f"{self.acc(data, system, score).mean():.1f}"

    def gain(self, data, one, other):
        both = self.find.pairs(data, one, other)
        d = paired_difference(*({s: r.scores["acc"] for s, r in f.items()} for f in both))
        low, high = d.interval
        return f"{100 * d.mean:.1f}", f"{100 * low:.1f} – {100 * high:.1f}"

    def r(self, data, system, score, without_worst=False):
        x, y = self.scores(data, system, score), self.scores(data, system)
        if without_worst:
            x, y = np.delete(x, y.argmin()), np.delete(y, y.argmin())
        r = correlation(x, y)
        return f"{r:.2f}".replace("-", "−")

    def picked(self, data, system, by):
        """The place in accuracy of the run that is lowest by something, and of how many."""
        acc = self.acc(data, system)
        return 1 + (acc > acc[self.scores(data, system, by).argmin()]).sum(), len(acc)

    def apart(self, data, system, i, j):
        """Of the images of i and j in the clusters of either, those in their own: seed by seed."""
        found = self.find.seeds("clustering", data, system, None)
        counts = [np.array(found[seed].details.confusion) for seed in sorted(found)]
        pairs = [c[np.ix_([i, j], [i, j])] for c in counts]
        return [f"{100 * np.trace(c) / c.sum():.0f}" for c in pairs]

    def by_digit(self, system, score, epochs=None):
        """The mean over partitions, digit by digit, of the longest runs or those of some epochs."""
        some = [r for r in self.results if r.run.epochs == epochs]
        find = self.find if epochs is None else ResultIndex(some)
        found = [find.scores("detection", "mnist", system, score, d) for d in DIGITS]
        return np.array([np.mean(list(f.values())) for f in found])


def spread(values):
    return f"{min(values):.1f}", f"{max(values):.1f}"


def each(values):
    return tuple(f"{v:.1f}" for v in values)
