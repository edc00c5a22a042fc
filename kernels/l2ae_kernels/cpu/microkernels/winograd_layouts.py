"""The phases of an axis, and how Winograd's matrices lie in memory."""

from typing import NamedTuple

from l2ae_kernels.cpu.microkernels import calls
from l2ae_kernels.cpu.microkernels.tiles import LINE
from l2ae_kernels.cpu.microkernels.winograd import POINTS


class Phase(NamedTuple):
    """Rows or columns of x with one remainder: those that meet the taps first, first + stride, …"""

    first: int  # lowest tap
    taps: int
    pixel: int  # lowest row of x, counted from the top of the image, of the class in the adjoint
    before: int  # rows of zeros before y in the adjoint


def phases_of(kernel: int, stride: int, top: int) -> list[Phase]:
    """Return the phases of an axis, those with most taps first."""
    found = []
    for h in range(stride):
        r, taps, before = calls.axis_class(h, stride, top, kernel)
        found.append(Phase(r, taps, h, before))
    return sorted(found)


class TransformLayout(NamedTuple):
    """Transform-domain matrices with one row for each tile: floats between neighbours."""

    row: int
    point: int

    @classmethod
    def of(cls, rows: int, columns: int) -> "TransformLayout":
        """The layout of 36 matrices.

        Strides are odd numbers of lines: the same column of all rows, or of all points, would
        otherwise fall into a few sets of a cache and evict each other.
        """
        row = _odd_lines(columns)
        return cls(row, _odd_lines(rows * row))

    @property
    def floats(self) -> int:
        """Floats of all of them."""
        return self.point * POINTS**2


class FilterLayout(NamedTuple):
    """Transform-domain filters, packed in panels of columns: floats between neighbours."""

    panel: int
    point: int

    @classmethod
    def of(cls, rows: int, columns: int, width: int) -> "FilterLayout":
        """The layout of 36 matrices in panels of `width` columns."""
        return cls(rows * width, _odd_lines(-(-columns // width) * rows * width))

    @property
    def floats(self) -> int:
        """Floats of all of them."""
        return self.point * POINTS**2


def _odd_lines(floats: int) -> int:
    """The next odd number of cache lines, in floats."""
    return (-(-floats // LINE) | 1) * LINE
