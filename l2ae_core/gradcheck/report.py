"""What a gradient check found: `Row` (one block by one method) and `Report` (ranked rows)."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from l2ae_core.tables import aligned
from l2ae_kernels.arrays import Array

Index: TypeAlias = tuple[int, ...]
Verdict: TypeAlias = Literal["WRONG", "VACUOUS", "UNCLEAR", "ok", "skipped"]

RANK: dict[Verdict, int] = {"WRONG": 0, "VACUOUS": 1, "UNCLEAR": 2, "ok": 3, "skipped": 4}
WIDTH = 100  # columns of the printed table
HEADER = (
    "verdict", "block", "method", "checked", "over", "kinks",
    "worst at", "analytic", "numeric", "rel.err", "abs.err",
)  # fmt: skip
RIGHT = (3, 4, 5, 7, 8, 9, 10)  # columns aligned to the right


class GradientError(AssertionError):
    """A gradient check did not pass; the message is the ranked table."""


@dataclass(frozen=True)
class Row:
    """One block of entries compared by one method.

    verdict: "ok"; "WRONG"; "VACUOUS": the gradient is zero, or too small for the method, so that
    a backward which returns zeros would pass too; "UNCLEAR": every point fell on a kink, or
    f has no value near some; "skipped": the method does not apply, and the hint says why.
    relative_error: |a - n| / max(|a|, |n|, floor) at the worst entry, see probe.py.
    """

    block: str  # "x", or the name of the parameter
    method: str  # "central", "richardson", "complex", "contract"
    verdict: Verdict
    hint: str = ""
    index: Index | None = None  # the worst entry of the block
    output: Index | None = None  # the worst output, where the full Jacobian was taken
    analytic: float = math.nan
    numeric: float = math.nan
    relative_error: float = math.nan
    absolute_error: float = math.nan
    checked: int = 0  # compared entries, or directions
    over: int = 0  # how many of them were over the tolerance
    kinks: int = 0  # how many lay on a kink and were left out or drawn again
    directions: bool = False  # `checked` counts random directions, not entries
    resolution: float = math.nan  # the relative error this row can see, at least its tolerance
    # relative error of every entry of the block, NaN on kinks; None for directions
    errors: Array | None = field(default=None, repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """True where this row found nothing wrong; a skipped row found nothing at all."""
        return self.verdict in ("ok", "skipped")

    @property
    def rank(self) -> tuple[int, float]:
        """Sort key: the worst first."""
        error = self.relative_error
        return RANK[self.verdict], -error if math.isfinite(error) else -math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return all but `errors` as JSON values: null for what is NaN or infinite."""
        values = asdict(replace(self, errors=None))
        del values["errors"]
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }

    def cells(self) -> tuple[str, ...]:
        """Return the row as the texts of the table's columns."""
        compared = self.checked > 0
        return (
            self.verdict,
            _shorten(self.block, 18),
            self.method,
            f"{self.checked} dir" if self.directions else str(self.checked) if compared else "",
            str(self.over) if compared else "",
            str(self.kinks) if compared or self.kinks else "",
            _place(self.index, self.output),
            _number(self.analytic, "+.3e"),
            _number(self.numeric, "+.3e"),
            _number(self.relative_error, ".0e"),
            _number(self.absolute_error, ".0e"),
        )


@dataclass(frozen=True)
class Report:
    """The rows of one check, worst first. `print(report)` shows the ranked table."""

    name: str  # of the layer or function
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(sorted(self.rows, key=lambda row: row.rank)))

    @property
    def ok(self) -> bool:
        """True when no row failed and every block was really compared by at least one method."""
        compared = {row.block for row in self.rows if row.verdict == "ok"}
        blocks = {row.block for row in self.rows}
        return bool(self.rows) and all(row.passed for row in self.rows) and compared == blocks

    @property
    def worst(self) -> Row:
        """The row at the top of the table."""
        return self.rows[0]

    @property
    def kinks(self) -> int:
        """How many comparisons lay on a kink, over all rows."""
        return sum(row.kinks for row in self.rows)

    def raise_if_bad(self) -> None:
        """Raise GradientError with the table unless `ok`."""
        if not self.ok:
            raise GradientError(f"\n{self}")

    def __str__(self) -> str:
        head = f"{self.name}: {'ok' if self.ok else 'NOT OK'}"
        if not self.ok and all(row.passed for row in self.rows):
            head += " (some block was compared by no method)"
        lines = table(HEADER, [row.cells() for row in self.rows], RIGHT)
        out = [head, *lines[:2]]
        said = ""
        for row, line in zip(self.rows, lines[2:], strict=True):
            out.append(line)
            out += _wrap(row.hint) if row.hint and row.hint != said else []
            said = row.hint
        return "\n".join(out)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int]
) -> list[str]:
    """Return header, rule and rows as aligned lines, the columns `right` to the right."""
    head, *lines = aligned(header, rows, right, gap=" ").splitlines()
    return [head, "-" * min(WIDTH, max(map(len, [head, *lines]))), *lines]


def _wrap(hint: str) -> list[str]:
    lines, line = [], "        > "
    for word in hint.split():
        if len(line) + len(word) > WIDTH:
            lines.append(line.rstrip())
            line = "          "
        line += word + " "
    return [*lines, line.rstrip()]


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[1 - width :]


def _place(index: Index | None, output: Index | None) -> str:
    if index is None:
        return ""
    here = "[" + ",".join(map(str, index)) + "]"
    return here if output is None else here + "→[" + ",".join(map(str, output)) + "]"


def _number(value: float, spec: str) -> str:
    return "" if math.isnan(value) else f"{value:{spec}}"
