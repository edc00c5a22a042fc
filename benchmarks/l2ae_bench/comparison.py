"""Contenders are timed alternately in one process, so that whatever else the machine does hits all.

    A A A  B B B  C C C    C C C  B B B  A A A    A A A ...    every other repeat in reverse order

In a repeat a contender is called once untimed, which fills the caches, then as often as fits
SECONDS; its time in the repeat is the median. With several threads PAUSE seconds come first, in
which the threads of the contender before become idle. The ratio to a peer is taken within a repeat,
and the median over the repeats is reported: a slow minute of the machine cancels in the ratio, a
slow moment in the median. The best peer is the one of the lowest ratio.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from time import perf_counter
from typing import Any, Self, TypeAlias

import numpy as np

from l2ae_bench.work import FMA, GIGA, SGEMM, Work

Contender: TypeAlias = Callable[[], object]
OURS = "ours"
SECONDS = 0.4  # of timed calls of a contender in a repeat
PAUSE = 0.15  # seconds; OpenBLAS's threads keep a core busy for up to 0.1 after their last product
LONG = 0.2  # seconds; a call this long needs no call before it that is not timed
MOST_CALLS = 50  # in a repeat: the median of more is no sharper


class Disagreement(ValueError):
    """Two contenders that should compute the same do not."""


@dataclass(frozen=True)
class Comparison:
    """Contenders that were found to compute the same, "ours" among them.

    `agreement` is the largest difference that was found, relative; None without a peer.
    """

    contenders: dict[str, Contender]
    agreement: float | None = None
    work: Work | None = None  # of a call


@dataclass(frozen=True)
class Measurement:
    """One line of the result, and of the JSON file; a ratio above 1 says that ours is faster."""

    workload: str
    threads: int | str  # a name for a GPU
    ours_ms: float
    peers: dict[str, float]  # ms
    ratio_best_peer: float | None = None  # None without a peer
    ratio_spread: tuple[float, float] | None = None  # quartiles of the ratio over the repeats
    agreement: float | None = None
    ours_spread: tuple[float, float] | None = None  # ms, quartiles over the repeats
    work: Work | None = None  # None where there is nothing to count, or no time was measurable
    share: float | None = None  # of the rate of `ceiling`
    ceiling: str | None = None  # the workload of its row

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON-ready values, with the rates that follow from them."""
        values = asdict(self)
        for name in ("ratio_spread", "ours_spread"):
            values[name] = None if values[name] is None else list(values[name])
        work = self.work
        if work is not None and work.flop:
            values["gflop_per_s"] = _digits(work.rate(self.ours_ms, "flop"))
        if work is not None and work.bytes:
            values["gb_per_s"] = _digits(work.rate(self.ours_ms, "bytes"))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`, also of rows that older versions wrote, without their work."""
        found = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        for name in ("ratio_spread", "ours_spread"):
            found[name] = None if found.get(name) is None else tuple(found[name])
        work = found.get("work")
        if work is None and found["workload"] in (FMA, SGEMM):
            found["work"] = Work(GIGA, 0.0)
        elif work is not None:
            found["work"] = Work(**work)
        return cls(**found)


def require_agreement(workload: str, what: str, difference: float, tolerance: float) -> float:
    """Return `difference`, or raise Disagreement when it is larger than `tolerance` or NaN."""
    if not difference <= tolerance:
        raise Disagreement(
            f"{workload}: {what} differ by {difference:.1e}, more than {tolerance:.0e}: not timed"
        )
    return difference


def compare(
    workload: str,
    threads: int | str,
    comparison: Comparison,
    repeats: int,
    *,
    seconds: float | None = None,
    done: Callable[[], object] = lambda: None,
) -> Measurement:
    """Time the contenders of a comparison; the arguments are those of `measure`."""
    times = measure(comparison.contenders, repeats, threads, seconds=seconds, done=done)
    return make_row(workload, threads, times, comparison.agreement, comparison.work)


def measure(
    contenders: dict[str, Contender],
    repeats: int,
    threads: int | str,
    *,
    seconds: float | None = None,
    done: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Return the seconds of each contender, one number a repeat; `done` is called after each."""
    pause = PAUSE if isinstance(threads, int) and threads > 1 else 0.0
    seconds = SECONDS if seconds is None else seconds
    calls = {name: _calls(contender, seconds) for name, contender in contenders.items()}
    order = list(contenders)
    times: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(repeats):
        for name in order:
            times[name].append(_measure_once(contenders[name], calls[name], pause))
        order.reverse()
        done()
    return times


def make_row(
    workload: str,
    threads: int | str,
    times: dict[str, list[float]],
    agreement: float | None,
    work: Work | None = None,
) -> Measurement:
    """Return the row for the seconds of each contender, one number a repeat."""
    ours = np.asarray(times[OURS])
    peers = {name: np.asarray(t) for name, t in times.items() if name != OURS}
    ms = {name: _ms(t) for name, t in peers.items()}
    first, third = (round(1e3 * float(q), 6) for q in np.quantile(ours, (0.25, 0.75)))
    row = Measurement(workload, threads, _ms(ours), ms, agreement=agreement,
                      ours_spread=(first, third), work=work if _ms(ours) > 0 else None)  # fmt: skip
    if not peers:
        return row
    ratios = {name: t / ours for name, t in peers.items()}
    best = min(ratios, key=lambda name: float(np.median(ratios[name])))
    low, middle, high = (round(float(q), 4) for q in np.quantile(ratios[best], (0.25, 0.5, 0.75)))
    return replace(row, ratio_best_peer=middle, ratio_spread=(low, high))


def _calls(contender: Contender, seconds: float) -> int:
    """Return how many calls fit; one call or two tell, and compile what the contender needs."""
    taken = _seconds(contender)
    if taken < LONG:
        taken = _seconds(contender)
    return int(np.clip(seconds / max(taken, 1e-9), 1, MOST_CALLS))


def _wait(seconds: float) -> None:
    """Wait in a loop: after a sleep this thread may share a core with one that it works with."""
    start = perf_counter()
    while perf_counter() - start < seconds:
        pass


def _measure_once(contender: Contender, calls: int, pause: float) -> float:
    _wait(pause)
    first = _seconds(contender)
    if calls == 1 and first >= LONG:
        return first
    return float(np.median([_seconds(contender) for _ in range(calls)]))


def _seconds(contender: Contender) -> float:
    start = perf_counter()
    contender()
    return perf_counter() - start


def _ms(seconds: Any) -> float:
    return round(1e3 * float(np.median(seconds)), 6)


def _digits(rate: float) -> float:
    return float(f"{rate:.5g}")
