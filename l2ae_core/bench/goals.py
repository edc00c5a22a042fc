"""What the project wants to reach on a CPU, and what it must not fall below."""

from dataclasses import dataclass

from l2ae_core.bench.rounds import Row


@dataclass(frozen=True)
class Goal:
    """`ratio`: to the best peer, at least. `seconds`: at most."""

    ratio: float | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"≥ {self.ratio:g}×" if self.ratio is not None else f"≤ {self.seconds:g} s"

    def met(self, row: Row) -> bool | None:
        """Whether the row reaches the goal; None when it has no peer to say so."""
        if self.seconds is not None:
            return row.ours_ms <= 1e3 * self.seconds
        if row.ratio_best_peer is None or self.ratio is None:
            return None
        return row.ratio_best_peer >= self.ratio


GOALS = {
    "step-cae-28": Goal(ratio=2.5),
    "step-cae-16": Goal(ratio=2.5),
    "step-dense": Goal(ratio=1.3),
    "kmeans-70000x10-k10": Goal(ratio=5),
    "kmeans-70000x784-k10": Goal(ratio=3),
    "kmeans-200000x64-k256": Goal(ratio=2),
    "start-cold": Goal(seconds=20),
    "start-warm": Goal(seconds=1),
}


def verdict(row: Row) -> str:
    """Return "met" or "missed", or nothing where there is no goal or no peer."""
    goal = GOALS.get(row.work)
    met = None if goal is None else goal.met(row)
    return "" if met is None else "met" if met else "missed"
