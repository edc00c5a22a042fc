"""Choose the tile of the dense products: each shape multiplies the same matrices, in turn.

What is timed is y += x W, as forward and backward, at sizes that every shape divides, over a block
of weights that the kernel would have packed, and rows as far apart as in a wide layer. It takes
a fifth of a second of a processor's time.
"""

from time import perf_counter

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.machine_code import Library, compile_ir
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels import dense_tile
from l2ae_kernels.cpu.microkernels.program import FLOAT, address
from l2ae_kernels.cpu.microkernels.tiles import product_tile

ROWS, COLUMNS = 168, 12  # of y, in samples and vectors: every shape divides them
STRIDE = 2000  # floats from one row of x or y to the next
REPEATS = 300  # of each shape
WARM_UP = 5
LINE = 64  # bytes


def chosen(vectors: Vectors) -> Vectors:
    """Return the vectors with the shape for the dense products: forced, kept, or timed now.

    Raises ValueError as `dense_tile.forced`.
    """
    found = dense_tile.known(vectors)
    if found is None:
        found = dense_tile.shapes(vectors)[dense_tile.fastest(times(vectors))]
        dense_tile.keep(vectors, found)
    return found


def times(vectors: Vectors) -> Array:
    """Return seconds (shapes, repeats), of all shapes in turn in each repeat."""
    shapes = dense_tile.shapes(vectors)
    module = Module(vectors)
    for shape in shapes:
        _add_probe(module, shape)
    library = Library(compile_ir(str(module.ir)))  # not kept: the choice is
    probes = [library.function(f"probe_{dense_tile.name_of(s)}", 4) for s in shapes]
    width = COLUMNS * vectors.lanes
    arrays = [_lines(n) for n in (ROWS * STRIDE, width * vectors.block, ROWS * STRIDE, 1)]
    addresses = [address(a) for a in arrays]
    seconds = np.empty((len(shapes), WARM_UP + REPEATS))
    for repeat in range(seconds.shape[1]):
        for i, probe in enumerate(probes):
            started = perf_counter()
            probe(*addresses)
            seconds[i, repeat] = perf_counter() - started
    return seconds[:, WARM_UP:]


def _lines(floats: int) -> Array:
    """Return so many ones, from the start of a cache line."""
    memory = np.ones(floats + LINE // FLOAT, np.float32)
    return memory[-address(memory) % LINE // FLOAT :][:floats]


def _add_probe(module: Module, shape: Vectors) -> None:
    """Emit probe_SHAPE(x, w, y, one): y (ROWS, width) += x w, x (ROWS, block), w in panels."""
    P, V, K, width = shape.rows, shape.columns, shape.block, COLUMNS * shape.lanes
    tile = product_tile(module, P, V, False, False, far=True)
    with (
        module.function(f"probe_{dense_tile.name_of(shape)}", 4) as (e, x, w, y, one),
        e.each(0, width, V * e.lanes) as column,
        e.each(0, ROWS, P) as row,
    ):
        at = y + 4 * (row * STRIDE + column)
        e.call(
            tile, x + 4 * row * STRIDE, STRIDE, 1, 0, K, w + 4 * column * K, 0, at, STRIDE, at,
            STRIDE, at, one, e.lanes,
        )  # fmt: skip
