"""What the project wants to reach, on a CPU and on a GPU."""

from dataclasses import dataclass

from l2ae_bench.comparison import Row


@dataclass(frozen=True)
class Goal:
    """`ratio`: to the best peer, or to `peer`, at least. `seconds`, `agreement`: at most."""

    ratio: float | None = None
    seconds: float | None = None
    peer: str | None = None
    agreement: float | None = None

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"≥ {self.ratio:g}×" + (f" {self.peer}" if self.peer else "")
        if self.seconds is None:
            return "equal bits"
        return f"≤ {self.seconds:g} s" if self.seconds >= 1e-3 else f"≤ {1e6 * self.seconds:g} µs"

    def met(self, row: Row) -> bool | None:
        """Whether the row reaches the goal; None when it has no peer to say so."""
        if self.seconds is not None:
            return row.ours_ms <= 1e3 * self.seconds
        if self.agreement is not None:
            return row.agreement is not None and row.agreement <= self.agreement
        ratio = row.ratio_best_peer
        if self.peer is not None:
            ratio = row.peers[self.peer] / row.ours_ms if self.peer in row.peers else None
        return None if ratio is None or self.ratio is None else ratio >= self.ratio


GOALS = {
    "step-cae-28": Goal(ratio=2.5),
    "step-cae-16": Goal(ratio=2.5),
    "step-dense": Goal(ratio=1.3),
    "step-cae-28-layer-norm-embedding": Goal(ratio=1),
    "step-cae-28-layer-norm": Goal(ratio=1),
    "step-cae-28-batch-norm": Goal(ratio=1),
    "kmeans-70000x10-k10": Goal(ratio=5),
    "kmeans-70000x784-k10": Goal(ratio=3),
    "kmeans-200000x64-k256": Goal(ratio=2),
    "start-cold": Goal(seconds=20),
    "start-warm": Goal(seconds=1),
    "kmeans-70000x10-k10-cuda": Goal(ratio=20, peer="flash-kmeans"),
    "kmeans-70000x10-k10-cuda-iteration": Goal(seconds=5e-6),
    "kmeans-1000000x128-k1024-cuda": Goal(ratio=1.1),
    "kmeans-100000000x10-k10-cuda-iteration": Goal(ratio=0.8, peer="copy"),
    "kmeans-70000x10-k10-cuda-bits": Goal(agreement=0),
    "kmeans-1000000x128-k1024-cuda-bits": Goal(agreement=0),
    "kmeans-100000000x10-k10-cuda-bits": Goal(agreement=0),
}


def verdict(row: Row) -> str:
    """Return "met" or "missed", or nothing where there is no goal or no peer."""
    goal = GOALS.get(row.work)
    met = None if goal is None else goal.met(row)
    return "" if met is None else "met" if met else "missed"
