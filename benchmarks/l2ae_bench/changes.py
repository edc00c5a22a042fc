"""Rows beside those of an earlier run: what is slower now, and whether by more than the noise.

A time has the quartiles of its repeats. The ratio now / before lies between the first quartile now
over the third before, and the third now over the first before; a row is slower where all of that is
above 1. Rows of older versions have no quartiles of their own: their median stands for them, so
that only the noise of the new run counts.

Repeats of one run know nothing of what differs between two: other programs, frequency, another
machine. If the ceiling itself is slower, the machine is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2ae_bench.comparison import Measurement
from l2ae_bench.text import milliseconds, rate
from l2ae_bench.work import FMA, is_ceiling
from l2ae_core.readers import read_json
from l2ae_core.tables import aligned


@dataclass(frozen=True)
class Change:
    """One row, before and now; ratios above 1 say that it takes longer now."""

    before: Measurement
    now: Measurement

    @property
    def ratio(self) -> float:
        """Now over before."""
        return self.now.ours_ms / self.before.ours_ms

    @property
    def interval(self) -> tuple[float, float]:
        """Lowest and highest ratio of the quartiles."""
        (old_first, old_third), (first, third) = map(_quartiles, (self.before, self.now))
        return first / old_third, third / old_first

    @property
    def verdict(self) -> str:
        """Return "slower" or "faster", or nothing within the noise."""
        low, high = self.interval
        return "slower" if low > 1 else "faster" if high < 1 else ""


def _quartiles(row: Measurement) -> tuple[float, float]:
    return row.ours_spread or (row.ours_ms, row.ours_ms)


def changes(before: Sequence[Measurement], now: Sequence[Measurement]) -> list[Change]:
    """Return a change for every row of `now` that was there before, in their order."""
    known = {(row.workload, row.threads): row for row in before}
    return [Change(known[key], row) for row in now if (key := (row.workload, row.threads)) in known]


def report(found: Sequence[Change], before: Sequence[Measurement], now: int) -> str:
    """Return the table, and what to keep in mind of it; `now` counts the rows of the new run."""
    header = ("workload", "threads", "before", "now", "now / before", "quartiles", "")
    rows = [
        (c.now.workload, str(c.now.threads), _time(c.before), _time(c.now), f"{c.ratio:.2f}",
         "{:.2f}–{:.2f}".format(*c.interval), c.verdict)
        for c in found
    ]  # fmt: skip
    lines = [aligned(header, rows, right={1, 2, 3, 4, 5})] if rows else []
    counted = [c.verdict for c in found if not is_ceiling(c.now.workload)]
    slower, faster = (counted.count(word) for word in ("slower", "faster"))
    lines.append(
        f"{len(counted)} rows compared: {slower} slower, {faster} faster, the others within the "
        f"noise; {now - len(found)} of this run were not there before, {len(before) - len(found)} "
        "of before not in this run"
    )
    lines += [
        f"the machine itself is {c.verdict}: {FMA} takes {c.ratio:.2f} times as long on "
        f"{c.now.threads} thread{'s' * (c.now.threads != 1)}"
        for c in found
        if c.now.workload == FMA and c.verdict
    ]
    return "\n".join(lines)


def _time(row: Measurement) -> str:
    """A time, of a ceiling the rate."""
    if is_ceiling(row.workload):
        return rate(row)
    return f"{milliseconds(row.ours_ms)} ms"


def above(found: Sequence[Change], limit: float) -> list[Change]:
    """Return the rows, but for ceilings, that are slower beyond the noise and by more than that."""
    return [
        c for c in found
        if c.verdict == "slower" and c.ratio > limit and not is_ceiling(c.now.workload)
    ]  # fmt: skip


def read_rows(path: Path) -> list[Measurement]:
    """Return the rows of a file of `run.py --json` or `--tables`, also of older versions.

    Raises ValueError, naming the file, for anything else.
    """
    found = read_json(path)
    rows = found.get("rows") if isinstance(found, dict) else found
    try:
        return [Measurement.from_dict(row) for row in _list(rows)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected rows of benchmarks/run.py --json; {type(error).__name__}: {error}"
        ) from error


def _list(rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise TypeError("no list of rows")
    return rows
