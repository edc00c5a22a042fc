"""How loops are cut into tiles: samples and rows evenly, columns into panels."""

from collections.abc import Iterator
from dataclasses import dataclass

from l2ae_kernels.cpu.codegen.emitter import Emitter
from l2ae_kernels.cpu.codegen.integer import Integer


def sample_tiles(e: Emitter, count: Integer) -> Iterator[tuple[int, Integer]]:
    """For each tile size P: a block of code to fill, which runs for every tile of that size.

    `count` rows are cut into tiles as equal as can be, so that none is nearly empty: 16 rows
    become 6, 5 and 5, not 6, 6 and 4. Yields P and the first row of the tile.
    """
    most = e.module.vectors.rows
    tiles = (count + (most - 1)) // most
    least, longer = count // tiles.max(1), count % tiles.max(1)
    with e.each(0, tiles) as t:
        first, size = t * least + t.min(longer), least + (longer - t).max(0).min(1)
        for P in range(1, most + 1):
            with e.when(size.equals(P)):
                yield P, first


@dataclass(frozen=True)
class Panel:
    """Columns whose sums are side by side in a tile."""

    vectors: int
    masked: bool  # whether it may end within a vector
    column: Integer  # the first
    lanes: Integer  # of the last vector
    width: int  # columns in packed weights, with those that do not exist
    start: Integer  # where the panel begins in packed weights of so many rows


def column_panels(e: Emitter, columns: Integer, rows: Integer) -> Iterator[Panel]:
    """For each kind of panel: a block of code to fill, which runs for every panel of that kind.

    All have the most vectors that a tile allows but the last one, which has what is left.
    """
    vectors, lanes = e.module.vectors.columns, e.lanes
    width = vectors * lanes
    with e.each(0, columns // width) as panel:
        yield Panel(vectors, False, panel * width, e.index(lanes), width, panel * width * rows)
    column = columns // width * width
    rest = columns - column
    for v in range(1, vectors + 1):
        with e.when(((rest + (lanes - 1)) // lanes).equals(v)):
            filled = rest - (v - 1) * lanes
            yield Panel(v, True, column, filled, v * lanes, column * rows)
