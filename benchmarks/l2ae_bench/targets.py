"""What the project wants to reach, on a CPU and on a GPU."""

from dataclasses import dataclass

from l2ae_bench.comparison import Measurement


@dataclass(frozen=True)
class Target:
    """`ratio`: to the best peer, or to `peer`, at least. `seconds`, `agreement`: at most.

    `times`: at most so many times as long as the best peer.
    """

    ratio: float | None = None
    times: float | None = None
    seconds: float | None = None
    peer: str | None = None
    agreement: float | None = None

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"≥ {self.ratio:g}×" + (f" {self.peer}" if self.peer else "")
        if self.times is not None:
            return f"≤ {self.times:g} times as long"
        if self.seconds is None:
            return "equal bits"
        return f"≤ {self.seconds:g} s" if self.seconds >= 1e-3 else f"≤ {1e6 * self.seconds:g} µs"

    def met(self, row: Measurement) -> bool | None:
        """Whether the row reaches the target; None when it has no peer to say so."""
        if self.seconds is not None:
            return row.ours_ms <= 1e3 * self.seconds
        if self.times is not None:
            return None if row.ratio_best_peer is None else 1 / row.ratio_best_peer <= self.times
        if self.agreement is not None:
            return row.agreement is not None and row.agreement <= self.agreement
        ratio = row.ratio_best_peer
        if self.peer is not None:
            ratio = row.peers[self.peer] / row.ours_ms if self.peer in row.peers else None
        return None if ratio is None or self.ratio is None else ratio >= self.ratio


TARGETS = {
    "step-cae-28": Target(ratio=2.5),
    "step-cae-16": Target(ratio=2.5),
    "step-dense": Target(ratio=1.3),
    "step-cae-28-layer-norm-embedding": Target(ratio=2.5),
    "step-cae-28-layer-norm": Target(ratio=2.5),
    "step-cae-28-batch-norm": Target(ratio=2.5),
    "step-cae-28-warped": Target(times=1.1),
    "step-cae-28-self-labelled": Target(times=1.5),
    "step-cae-16-warped": Target(times=1.1),
    "step-cae-16-self-labelled": Target(times=1.5),
    "kmeans-70000x10-k10": Target(ratio=5),
    "kmeans-70000x784-k10": Target(ratio=3),
    "kmeans-200000x64-k256": Target(ratio=2),
    "start-cold": Target(seconds=6),
    "start-warm": Target(seconds=1),
    **{
        f"step-cae-28{precision}-cuda{peer}": Target(ratio=ratio)
        for precision in ("", "-tf32")
        for peer, ratio in (("", 2), ("-eager", 10))
    },
    "table4-cuda": Target(seconds=600),
    "table4-tf32-cuda": Target(seconds=600),
    "kmeans-70000x10-k10-cuda": Target(ratio=20, peer="flash-kmeans"),
    "kmeans-70000x10-k10-cuda-iteration": Target(seconds=5e-6),
    "kmeans-1000000x128-k1024-cuda": Target(ratio=1.1),
    "kmeans-100000000x10-k10-cuda-iteration": Target(ratio=0.8, peer="copy"),
    "kmeans-70000x10-k10-cuda-bits": Target(agreement=0),
    "kmeans-1000000x128-k1024-cuda-bits": Target(agreement=0),
    "kmeans-100000000x10-k10-cuda-bits": Target(agreement=0),
}


def verdict(row: Measurement) -> str:
    """Return "met" or "missed", or nothing where there is no target or no peer."""
    target = TARGETS.get(row.workload)
    met = None if target is None else target.met(row)
    return "" if met is None else "met" if met else "missed"
