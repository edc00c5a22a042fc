"""The phases and the tiles of an axis, and how Winograd's matrices lie in memory."""

from dataclasses import replace
from typing import NamedTuple

from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels import calls
from l2ae_kernels.cpu.microkernels.program import FLOAT
from l2ae_kernels.cpu.microkernels.tiles import LINE
from l2ae_kernels.cpu.microkernels.winograd import OUTPUTS, POINTS, points

COLUMNS = 32  # of a panel of filters


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


class Tiles(NamedTuple):
    """Neighbouring tiles of an axis that are equally long."""

    outputs: int  # of each
    first: int  # output
    number: int


def tiles_of(outputs: int) -> list[Tiles]:
    """Return the tiles of an axis with so many outputs, those of 4 before those of 3.

    They have as few points together as can be; the last one may reach beyond the outputs.
    """
    long, short = OUTPUTS
    counts = [
        (max(0, -(-(outputs - short * n) // long)), n) for n in range(-(-outputs // short) + 1)
    ]
    weights = [len(points(3, m)) for m in OUTPUTS]
    longs, shorts = min(counts, key=lambda c: c[0] * weights[0] + c[1] * weights[1])
    found = [Tiles(long, 0, longs), Tiles(short, long * longs, shorts)]
    return [tiles for tiles in found if tiles.number]


class Group(NamedTuple):
    """Tiles of one size: neighbouring rows of the matrices."""

    h: Tiles
    w: Tiles
    first: int
    rows: int

    def has(self, point: int) -> bool:
        """Whether its tiles have a point, with phases of 3 taps."""
        i, j = divmod(point, POINTS)
        return i in points(3, self.h.outputs) and j in points(3, self.w.outputs)


def groups_of(samples: int, outputs_h: int, outputs_w: int) -> list[Group]:
    """Return all tiles of some samples, ordered so that those with any point are neighbours."""
    rows, columns = tiles_of(outputs_h), tiles_of(outputs_w)
    groups, first = [], 0
    for w in columns:
        for h in rows[::-1] if w is columns[0] else rows:
            groups.append(Group(h, w, first, samples * h.number * w.number))
            first += groups[-1].rows
    return groups


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

    def at(self, point: int, tile: int) -> int:
        """Bytes before a row of the matrix of a point."""
        return (point * self.point + tile * self.row) * FLOAT

    @property
    def floats(self) -> int:
        """Floats of all of them."""
        return self.point * POINTS**2


def panel_vectors(vectors: Vectors) -> Vectors:
    """Return the vectors with a tile of at most COLUMNS, of as many sums.

    A panel of 128 inputs then takes 16 KB: it stays in a first-level cache of 32 KB, beside the
    rows that it is multiplied with and the panel that comes next.
    """
    columns = min(vectors.columns, COLUMNS // vectors.lanes)
    return replace(vectors, rows=vectors.rows * vectors.columns // columns, columns=columns)


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
