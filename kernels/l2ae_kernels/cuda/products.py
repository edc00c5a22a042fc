"""Launchers of the dense products, on three rungs: product_naive.cu, _tiled.cu and _mma.cu.

    dense            y = leaky(x W + b)                             rows N, columns O, depth I
    dense_adjoint_x  dx = dy Wᵀ, times slope where y_below ≤ 0      rows N, columns I, depth O
    dense_adjoint_W  dW = xᵀ dy                                     rows I, columns O, depth N

for one network, x (N, I), W (I, O), b (O,), y (N, O), or for M of them, each array with a leading
axis M or shared by all. The activation is part of the product: y is written once, and dx comes with
the adjoint of the activation below it. `splits` says when a depth is cut into parts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, device_of
from l2ae_kernels.cuda.elementwise import add_parts
from l2ae_kernels.cuda.launch import (
    MOST_ON_Z,
    Kernel,
    ceil_div,
    distance,
    model_count,
    real,
    whole_vectors,
)
from l2ae_kernels.cuda.text import Defines

TILE = 64  # rows and columns of a block of the upper rungs
DEPTH = 32  # a part is a multiple of it: of one step of product_mma.cu, two of product_tiled.cu
BLOCKS = 264  # that keep a large GPU busy: two on each multiprocessor of an H100
LEAST_DEPTH = 128  # of a part, so that writing and adding parts stays small beside the product
TILE_THREADS = 128
NAIVE_BLOCK = (32, 8)  # columns, rows

SHARED = 3 * 2 * 9216  # bytes of product_mma.cu, at most: three stages of two tiles

TERMS = {"tensor": 3, "tf32": 1}  # of product_mma.cu: float32 in three products, or TF32
RUNGS = ("naive", "tiled", *TERMS)


@dataclass(frozen=True)
class Epilogue:
    """What becomes of a sum before it is written, see network.cuh."""

    bias: Array | None = None  # (O,) or (M, O)
    y: Array | None = None  # of the shape of the result
    slope: float = 1.0


def dense(
    x: Array, W: Array, b: Array | None, out: Array, *, slope: float = 1.0, impl: str = "tiled"
) -> None:
    """Write leaky(x W + b) to `out`; slope 1 is no activation, 0 is ReLU."""
    _Product("dense", ("x", "W"), x, W, out, x.shape[-1], True, False).run(
        impl, Epilogue(b, None, slope)
    )


def dense_adjoint_x(
    dy: Array,
    W: Array,
    out: Array,
    *,
    y_below: Array | None = None,
    slope: float = 1.0,
    impl: str = "tiled",
) -> None:
    """Write dy Wᵀ to `out`, times slope where `y_below` (of its shape) is not positive."""
    names = "dy", "W"
    product = _Product("dense_adjoint_x", names, dy, W, out, dy.shape[-1], True, True)
    product.run(impl, Epilogue(None, y_below, slope))


def dense_adjoint_W(x: Array, dy: Array, out: Array, *, impl: str = "tiled") -> None:
    """Write xᵀ dy to `out`: a sum over the samples, in an order that the shapes fix."""
    _adjoint_W(x, dy, out).run(impl, Epilogue())


def dense_adjoint_W_parts(x: Array, dy: Array, parts: Array, *, impl: str = "tiled") -> None:
    """Write the parts of xᵀ dy, (weight_parts, M, I, O), to `parts`."""
    I, O = parts.shape[-2:]
    count = weight_parts(I, O, dy.shape[-2], impl)
    if len(parts) != count:
        raise ValueError(f"dense_adjoint_W: parts is of {len(parts)} but expected {count}")
    _adjoint_W(x, dy, parts[0]).run_parts(impl, parts)


def weight_parts(I: int, O: int, N: int, impl: str) -> int:
    """Return how many parts dW of one model comes in."""
    return 1 if impl == "naive" else splits(I, O, N)[0]


def _adjoint_W(x: Array, dy: Array, out: Array) -> "_Product":
    return _Product("dense_adjoint_W", ("x", "dy"), x, dy, out, dy.shape[-2], False, False)


def splits(rows: int, columns: int, depth: int) -> tuple[int, int]:
    """Return into how many parts the depth is cut, and how deep each is.

    So many that the tiles of one model fill a large GPU. It depends on the shape of one model and
    on nothing else: a model has the same bits on every device and beside any number of others.
    """
    tiles = ceil_div(rows, TILE) * ceil_div(columns, TILE)
    count = max(1, min(BLOCKS // max(tiles, 1), depth // LEAST_DEPTH))
    part = ceil_div(max(depth, 1), count * DEPTH) * DEPTH
    return max(1, ceil_div(depth, part)), part


@dataclass(frozen=True)
class _Product:
    """C[row][column] = Σ_d A[row][d] B[d][column] of M models.

    A_by_depth, B_by_depth: the depth of that operand lies side by side in memory.
    """

    operation: str
    names: tuple[str, str]  # of A and B, for errors
    A: Array
    B: Array
    C: Array  # (rows, columns) or (M, rows, columns)
    depth: int
    A_by_depth: bool
    B_by_depth: bool

    def run(self, impl: str, epilogue: Epilogue) -> None:
        """Queue the product on a rung."""
        rows, columns = self.C.shape[-2:]
        models = model_count(self.C, 2)
        if not self.C.size:
            return
        distances = self._distances(epilogue)
        device = device_of(self.C)
        if impl == "naive":
            across, down = NAIVE_BLOCK
            grid = ceil_div(rows, down), ceil_div(columns, across), models
            A_steps = (self.depth, 1) if self.A_by_depth else (1, rows)
            B_steps = (self.depth, 1) if self.B_by_depth else (1, columns)
            arguments = self._arguments(self.C, distances, epilogue)
            steps = map(np.int64, A_steps + B_steps)
            kernel = device.kernel("product_naive.cu", "product_naive", real(self.C.dtype))
            device.launch(kernel, grid, NAIVE_BLOCK, (*arguments, *steps))
            return
        count, _ = splits(rows, columns, self.depth)
        if count == 1:
            self._run_tiles(device, impl, self.C, distances, epilogue)
            return
        parts = device.empty((count, models, rows, columns), self.C.dtype)
        self._run_tiles(device, impl, parts, distances, Epilogue())  # it comes after the last sum
        bias, y, slope = epilogue.bias, epilogue.y, epilogue.slope
        add_parts(device, parts, self.C, count=count, models=models, bias=bias, y=y, slope=slope)

    def run_parts(self, impl: str, parts: Array) -> None:
        """Queue the product on a rung, the parts of its depth as they are."""
        if impl == "naive" or not parts.size:
            self.run(impl, Epilogue())
        else:
            device, distances = device_of(parts), self._distances(Epilogue())
            self._run_tiles(device, impl, parts, distances, Epilogue())

    def _run_tiles(
        self,
        device: Device,
        impl: str,
        C: Array,
        distances: dict[str, np.int64],
        epilogue: Epilogue,
    ) -> None:
        """Queue the product in tiles; C has the parts of the depth, where there are some."""
        rows, columns = C.shape[-2:]
        models = model_count(self.C, 2)
        count, part = splits(rows, columns, self.depth)
        if models * count > MOST_ON_Z:
            raise ValueError(
                f"{self.operation}: {models} models in {count} parts are {models * count} layers "
                f"of a grid but expected at most {MOST_ON_Z}"
            )
        grid = ceil_div(rows, TILE), ceil_div(columns, TILE), models * count
        arguments = self._arguments(C, distances, epilogue)
        device.launch(
            self._tile_kernel(device, impl, C),
            grid,
            (TILE_THREADS,),
            (*arguments, np.int32(models), np.int64(part)),
            shared=SHARED if impl in TERMS else 0,
        )

    def _tile_kernel(self, device: Device, impl: str, C: Array) -> Kernel:
        """Return the kernel of a rung; VECTOR: it reads 16 bytes at a time."""
        orders = {"A_BY_DEPTH": int(self.A_by_depth), "B_BY_DEPTH": int(self.B_by_depth)}
        if impl not in TERMS:
            defines: Defines = {**real(C.dtype), **orders}
            return device.kernel("product_tiled.cu", "product_tiled", defines)
        whole = all(map(whole_vectors, (self.A, self.B, C)))
        defines = {"TERMS": TERMS[impl], **orders, "VECTOR": int(whole)}
        return device.kernel("product_mma.cu", "product_mma", defines)

    def _distances(self, epilogue: Epilogue) -> dict[str, np.int64]:
        """Check every shape; return the distances between two models of A, B and the bias."""
        rows, columns = self.C.shape[-2:]
        shapes = {
            self.names[0]: (self.A, (rows, self.depth)[:: 1 if self.A_by_depth else -1]),
            self.names[1]: (self.B, (columns, self.depth)[:: 1 if self.B_by_depth else -1]),
            "b": (epilogue.bias, (columns,)),
            "out": (self.C, (rows, columns)),
        }
        models = model_count(self.C, 2)
        if epilogue.y is not None:
            distance(self.operation, "y_below", epilogue.y, self.C.shape, 1)
        return {
            name: distance(self.operation, name, a, shape, models)
            for name, (a, shape) in shapes.items()
        }

    def _arguments(
        self, C: Array, distances: dict[str, np.int64], epilogue: Epilogue
    ) -> tuple[Any, ...]:
        rows, columns = self.C.shape[-2:]
        return (
            self.A, self.B, C, np.int64(rows), np.int64(columns), np.int64(self.depth),
            distances[self.names[0]], distances[self.names[1]], np.int64(rows * columns),
            epilogue.bias, distances["b"], epilogue.y, C.dtype.type(epilogue.slope),
        )  # fmt: skip
