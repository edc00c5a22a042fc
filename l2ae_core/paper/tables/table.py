"""A table as text, and how numbers are written in it."""

from dataclasses import dataclass
from math import isfinite

from l2ae_core.tables import aligned, markdown


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
        """The table in aligned columns."""
        text = aligned(self.columns, self.rows, self._numbers)
        return "\n".join(filter(None, (self.title, text, self.note)))

    def markdown(self) -> str:
        """The table in Markdown."""
        text = markdown(self.columns, self.rows, self._numbers)
        return "\n\n".join(filter(None, (self.title and f"**{self.title}**", text, self.note)))

    @property
    def _numbers(self) -> set[int]:
        return set(range(self.text_columns, len(self.columns)))


def percent(share: float) -> str:
    """Return a share in percent, two digits after the point, as the paper prints it."""
    if not isfinite(share):
        raise ValueError(f"percent: share is {share} but expected a number")
    return f"{round(100 * share, 2) + 0.0:.2f}"  # never "-0.00"
