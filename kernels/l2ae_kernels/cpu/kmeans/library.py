"""The kernels of this package, compiled once for the vectors of this machine."""

from functools import cache
from typing import NamedTuple

from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import Vectors, get_vectors
from l2ae_kernels.cpu.kmeans.long_tiles import add_long, add_long_all
from l2ae_kernels.cpu.kmeans.screened import add_screened
from l2ae_kernels.cpu.kmeans.screened_times import screening_is_faster
from l2ae_kernels.cpu.kmeans.sums import add_move
from l2ae_kernels.cpu.kmeans.tiles import (
    ROWS,
    add_pack,
    add_short,
    add_short_all,
)


class Kernels(NamedTuple):
    """Addresses of the kernels, the rows of a tile, and whether `screened` is used (0 or 1)."""

    short: int
    screened: int
    short_all: int
    long: int
    long_all: int
    move: int
    pack: int
    rows: int
    screens: int


def kernels() -> Kernels:
    """Return the kernels for the vectors in use; there must be some."""
    vectors = get_vectors()
    assert vectors is not None  # the implementations table picks another rung
    return _compiled(vectors)


@cache
def _compiled(vectors: Vectors) -> Kernels:
    """Return the addresses, of a library that stays: Library.of."""
    library = Library.of(build, vectors)
    addresses = [library.address(name) for name in Kernels._fields[:-2]]
    screens = screening_is_faster(vectors, library)
    return Kernels._make([*addresses, ROWS[vectors.name], int(screens)])


def build(vectors: Vectors) -> Module:
    module = Module(vectors)
    for add in (add_short, add_screened, add_short_all, add_long, add_long_all, add_move, add_pack):
        add(module)
    return module
