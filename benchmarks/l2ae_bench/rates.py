"""What a call has to do, how fast that was, and how near to what the machine can do.

    work        floating-point operations of the plain computation (zeros of padding count,
                shortcuts do not), and the bytes of arrays that must be read or written once
    rate        work over time: GFLOP/s or GB/s, whichever the call is measured by (10⁹ of each)
    share       the rate over that of a ceiling with as many threads: multiply-adds in registers, or
                the triad a = b + s c over about as many bytes, so that what fits a cache is
                compared with that cache

A share may be above 100 %: an algorithm with fewer operations than the plain one is counted as the
plain one, and the triad counts 12 bytes an element where a store that misses makes it 16.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from l2ae_bench.comparison import Measurement

Unit: TypeAlias = Literal["flop", "bytes"]
UNITS: dict[Unit, str] = {"flop": "GFLOP/s", "bytes": "GB/s"}
FMA, SGEMM, TRIAD = "gflop-fma", "gflop-sgemm", "triad-"  # rows; TRIAD: and the bytes of all arrays
GIGA = 1e9


@dataclass(frozen=True)
class Work:
    """What a call has to do, and which of both its speed is told by."""

    flop: float
    bytes: float
    unit: Unit = "flop"
    dtype: str = "float32"

    @property
    def amount(self) -> float:
        """What its speed is told by."""
        return self.flop if self.unit == "flop" else self.bytes

    def times(self, factor: float) -> "Work":
        """Return the work of so many calls."""
        return replace(self, flop=factor * self.flop, bytes=factor * self.bytes)

    def rate(self, ms: float, unit: Unit | None = None) -> float:
        """Return GFLOP/s or GB/s of a call that takes so many ms."""
        amounts = {"flop": self.flop, "bytes": self.bytes}
        return amounts[unit or self.unit] / ms / 1e6

    @property
    def intensity(self) -> float:
        """Floating-point operations a byte."""
        return self.flop / self.bytes


def is_ceiling(workload: str) -> bool:
    """Whether a row is of a ceiling: its time is that of 10⁹ operations or bytes."""
    return workload in (FMA, SGEMM) or workload.startswith(TRIAD)


def triad_name(size: int) -> str:
    """Return the name of the row of a triad whose arrays have `size` bytes together."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= factor:
            return f"{TRIAD}{size // factor}{unit}"
    return f"{TRIAD}{size >> 10}KiB"


def triad_bytes(name: str) -> int:
    """Inverse of `triad_name`."""
    number, unit = name.removeprefix(TRIAD)[:-3], name[-3:]
    return int(number) << {"KiB": 10, "MiB": 20, "GiB": 30}[unit]


class Ceilings:
    """The rates of the ceilings among some rows."""

    def __init__(self, rows: Sequence["Measurement"]) -> None:
        self.rates = {
            (row.workload, row.threads): row.work.rate(row.ours_ms)
            for row in rows
            if row.work is not None and is_ceiling(row.workload)
        }

    def rate(self, name: str, threads: int | str) -> float | None:
        """Return the rate of one ceiling; None where it was not measured."""
        return self.rates.get((name, threads))

    def triads(self, threads: int | str) -> dict[int, float]:
        """Return GB/s of the triads by the bytes of their arrays, the smallest first."""
        found = {
            triad_bytes(name): rate
            for (name, t), rate in self.rates.items()
            if t == threads and name.startswith(TRIAD)
        }
        return dict(sorted(found.items()))

    def shared(self, row: "Measurement") -> "Measurement":
        """Return a row with its share of a ceiling; as it is where it has none."""
        found = None if row.work is None else self.of(row.work, row.threads)
        if row.work is None or found is None or is_ceiling(row.workload):
            return row
        name, rate = found
        return replace(row, ceiling=name, share=round(row.work.rate(row.ours_ms) / rate, 4))

    def of(self, work: Work, threads: int | str) -> tuple[str, float] | None:
        """Return name and rate of the ceiling of a work; None where it was not measured."""
        if work.unit == "flop":
            rate = self.rate(FMA, threads)
            half = 0.5 if work.dtype == "float64" else 1.0  # a register has half as many
            return None if rate is None else (FMA, half * rate)
        triads = self.triads(threads)
        if not triads:
            return None
        size = min((s for s in triads if s >= work.bytes), default=max(triads))
        return triad_name(size), triads[size]
