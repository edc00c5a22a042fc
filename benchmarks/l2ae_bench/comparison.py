"""Two or more sides take turns in one process, so that whatever else the machine does hits all.

    A A A  B B B  C C C    C C C  B B B  A A A    A A A ...      every other round backwards

A turn is a call that is not timed, for caches to fill, then as many timed calls as fit `TURN`
seconds; the time of a side in a round is their median. With several threads it begins with PAUSE
seconds in which those of the side before fall asleep. The ratio to a peer is taken round by round,
and the median over the rounds is reported: a slow minute of the machine falls out of a ratio, and a
slow moment out of the median. The best peer is the one of the lowest ratio.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Self, TypeAlias

import numpy as np

Side: TypeAlias = Callable[[], object]
OURS = "ours"
TURN = 0.4  # seconds of timed calls of one side before the next is on
PAUSE = 0.15  # seconds; OpenBLAS's threads keep a core busy for up to 0.1 after their last work
LONG = 0.2  # seconds; a call this long needs no call before it that is not timed
MOST_CALLS = 50  # in a turn: more tell nothing new


class Disagreement(ValueError):
    """Two sides that should compute the same do not."""


@dataclass(frozen=True)
class Contest:
    """Sides that were found to compute the same, "ours" among them.

    `agreement` is the largest difference that was found, relative; None without a peer.
    """

    sides: dict[str, Side]
    agreement: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of the result, and of the JSON file; a ratio above 1 says that ours is faster."""

    work: str
    threads: int | str  # a name for a GPU
    ours_ms: float
    peers: dict[str, float]  # ms
    ratio_best_peer: float | None = None  # None without a peer
    ratio_spread: tuple[float, float] | None = None  # quartiles of the ratio over the rounds
    agreement: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON-ready values."""
        values = asdict(self)
        if self.ratio_spread is not None:
            values["ratio_spread"] = list(self.ratio_spread)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        spread = values["ratio_spread"]
        return cls(**(dict(values) | {"ratio_spread": None if spread is None else tuple(spread)}))

    @property
    def best_peer(self) -> str | None:
        """Name of the peer with the lowest time."""
        return min(self.peers, key=lambda name: self.peers[name], default=None)


def require_agreement(work: str, what: str, difference: float, tolerance: float) -> float:
    """Return `difference`, or raise Disagreement when it is larger than `tolerance` or NaN."""
    if not difference <= tolerance:
        raise Disagreement(
            f"{work}: {what} differ by {difference:.1e}, more than {tolerance:.0e}: not timed"
        )
    return difference


def compete(
    work: str,
    threads: int | str,
    contest: Contest,
    rounds: int,
    *,
    turn: float = TURN,
    done: Callable[[], object] = lambda: None,
) -> Row:
    """Time the sides of a contest; the arguments are those of `take_turns`."""
    times = take_turns(contest.sides, rounds, threads, turn=turn, done=done)
    return make_row(work, threads, times, contest.agreement)


def take_turns(
    sides: dict[str, Side],
    rounds: int,
    threads: int | str,
    *,
    turn: float = TURN,
    done: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Return the seconds of each side in each of `rounds` rounds; `done` is called after each."""
    pause = PAUSE if isinstance(threads, int) and threads > 1 else 0.0
    calls = {name: _calls(side, turn) for name, side in sides.items()}
    order = list(sides)
    times: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(rounds):
        for name in order:
            times[name].append(_take_turn(sides[name], calls[name], pause))
        order.reverse()
        done()
    return times


def make_row(
    work: str, threads: int | str, times: dict[str, list[float]], agreement: float | None
) -> Row:
    """Return the row for the seconds of each side, one number a round."""
    ours = np.asarray(times[OURS])
    peers = {name: np.asarray(t) for name, t in times.items() if name != OURS}
    ms = {name: _ms(t) for name, t in peers.items()}
    if not peers:
        return Row(work, threads, _ms(ours), {}, agreement=agreement)
    ratios = {name: t / ours for name, t in peers.items()}
    best = min(ratios, key=lambda name: float(np.median(ratios[name])))
    low, middle, high = (float(q) for q in np.quantile(ratios[best], (0.25, 0.5, 0.75)))
    return Row(work, threads, _ms(ours), ms, round(middle, 4), (round(low, 4), round(high, 4)),
               agreement)  # fmt: skip


def _calls(side: Side, turn: float) -> int:
    """How many calls fit a turn; the calls that tell also warm up what the side needs."""
    seconds = _seconds(side)
    if seconds < LONG:
        seconds = _seconds(side)
    return int(np.clip(turn / max(seconds, 1e-9), 1, MOST_CALLS))


def _wait(seconds: float) -> None:
    """Do nothing, awake: a thread that slept may wake up on the core of one that it works with."""
    start = perf_counter()
    while perf_counter() - start < seconds:
        pass


def _take_turn(side: Side, calls: int, pause: float) -> float:
    _wait(pause)
    first = _seconds(side)
    if calls == 1 and first >= LONG:
        return first
    return float(np.median([_seconds(side) for _ in range(calls)]))


def _seconds(side: Side) -> float:
    start = perf_counter()
    side()
    return perf_counter() - start


def _ms(seconds: Any) -> float:
    return round(1e3 * float(np.median(seconds)), 6)
