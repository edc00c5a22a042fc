"""A table as text, and how numbers are written in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import ceil, isfinite
from typing import TypeVar

from l2ae_core.tables import aligned, markdown

MOST_COLUMNS = 8  # of a table that a page can hold
T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """A table as text: a name, a title, cells, and a note below it. An empty cell has no number."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    text_columns: int = 1  # the first ones, which are words and not numbers

    def screen(self) -> str:
        """The table in aligned columns, the head on several lines."""
        heads = [column.split(", ") for column in self.columns]
        above, *below = zip_longest(*heads, fillvalue="")
        text = aligned(above, [*below, *self.rows], self._numbers)
        return "\n".join(filter(None, (self.title, text, self.note)))

    def markdown(self) -> str:
        """The table in Markdown."""
        text = markdown(self.columns, self.rows, self._numbers)
        return "\n\n".join(filter(None, (self.title and f"**{self.title}**", text, self.note)))

    @property
    def _numbers(self) -> set[int]:
        return set(range(self.text_columns, len(self.columns)))


def in_parts(groups: Sequence[Sequence[T]], most: int) -> list[list[T]]:
    """Return the columns of groups, which stay together, in parts of at most `most` columns."""
    total = sum(map(len, groups))
    width = ceil(total / max(1, ceil(total / most)))  # parts are about as wide as each other
    parts: list[list[T]] = []
    for group in groups:
        if not parts or len(parts[-1]) + len(group) > width:
            parts.append([])
        parts[-1] += group
    return parts


def percent(share: float) -> str:
    """Return a share in percent, two digits after the point, as the paper prints it."""
    if not isfinite(share):
        raise ValueError(f"percent: share is {share} but expected a number")
    return f"{round(100 * share, 2) + 0.0:.2f}"  # never "-0.00"
