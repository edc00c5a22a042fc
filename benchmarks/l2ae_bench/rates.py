"""How near a measured call comes to what the machine can do.

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
from dataclasses import replace

from l2ae_bench.comparison import Measurement
from l2ae_bench.work import FMA, TRIAD, Work, is_ceiling, triad_bytes, triad_name


class Ceilings:
    """The rates of the ceilings among some rows."""

    def __init__(self, rows: Sequence[Measurement]) -> None:
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

    def shared(self, row: Measurement) -> Measurement:
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
