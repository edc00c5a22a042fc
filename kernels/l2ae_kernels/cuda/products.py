"""Launchers of the dense products, on three rungs: product_naive.cu, _tiled.cu and _mma.cu.

    dense            y = leaky(x W + b)                   rows N, columns O, depth I
    dense_adjoint_x  dx = dy Wᵀ, where y_below > 0 ...    rows N, columns I, depth O
    dense_adjoint_W  dW = xᵀ dy                           rows I, columns O, depth N

for one network, x (N, I), W (I, O), b (O,), y (N, O), or for M of them, each array with a leading
axis M or shared by all. The activation is part of the product: y is written once, and dx comes with
the adjoint of the activation below it. `splits` says when a depth is cut into parts.
"""

from dataclasses import dataclass

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Defines, device_of
from l2ae_kernels.cuda.elementwise import add_parts
from l2ae_kernels.cuda.models import MOST_ON_Z, ceil_div, distance, model_count, real

TILE = 64  # rows and columns of a block of the upper rungs
DEPTH = 16  # of one of its steps
BLOCKS = 264  # that keep a large GPU busy: two on each multiprocessor of an H100
LEAST_DEPTH = 128  # of a part, so that writing and adding parts stays small beside the product
TILE_THREADS = 128
NAIVE_BLOCK = (32, 8)  # columns, rows


@dataclass(frozen=True)
class Rung:
    """One way to multiply: the file of the kernel `product_<name>`, and its defines."""

    kernel: str
    defines: tuple[tuple[str, int | str], ...] = ()


RUNGS = {
    "naive": Rung("naive"),
    "tiled": Rung("tiled"),
    "tensor": Rung("mma", (("TERMS", 3),)),  # float32 in three TF32 products
    "tf32": Rung("mma", (("TERMS", 1),)),
}


def dense(
    x: Array, W: Array, b: Array | None, out: Array, *, slope: float = 1.0, rung: str = "tiled"
) -> None:
    """Write leaky(x W + b) to `out`; slope 1 is no activation, 0 is ReLU."""
    N, O, I = *out.shape[-2:], x.shape[-1]
    _Product("dense", out, N, O, I, rung).launch(x, W, True, False, bias=b, slope=slope)


def dense_adjoint_x(
    dy: Array,
    W: Array,
    out: Array,
    *,
    y_below: Array | None = None,
    slope: float = 1.0,
    rung: str = "tiled",
) -> None:
    """Write dy Wᵀ to `out`, times slope where `y_below` (of its shape) is not positive."""
    N, I, O = *out.shape[-2:], dy.shape[-1]
    _Product("dense_adjoint_x", out, N, I, O, rung).launch(
        dy, W, True, True, y=y_below, slope=slope
    )


def dense_adjoint_W(x: Array, dy: Array, out: Array, *, rung: str = "tiled") -> None:
    """Write xᵀ dy to `out`: a sum over the samples, in an order that the shapes fix."""
    I, O, N = *out.shape[-2:], dy.shape[-2]
    _Product("dense_adjoint_W", out, I, O, N, rung).launch(x, dy, False, False)


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
    """C[row][column] = Σ_d A[row][d] B[d][column] of M models, on one rung."""

    operation: str
    C: Array
    rows: int
    columns: int
    depth: int
    rung: str

    def launch(
        self,
        A: Array,
        B: Array,
        A_by_depth: bool,
        B_by_depth: bool,
        *,
        bias: Array | None = None,
        y: Array | None = None,
        slope: float = 1.0,
    ) -> None:
        """Queue the product; `by_depth`: the depth of that operand lies side by side in memory."""
        rows, columns, depth = self.rows, self.columns, self.depth
        if not rows or not columns:
            return
        device, models = device_of(self.C), model_count(self.C, 2)
        A_shape = (rows, depth) if A_by_depth else (depth, rows)
        B_shape = (columns, depth) if B_by_depth else (depth, columns)
        distances = [
            distance(self.operation, name, a, shape, models)
            for name, a, shape in (
                ("the left factor", A, A_shape),
                ("the right factor", B, B_shape),
                ("out", self.C, (rows, columns)),
                ("b", bias, (columns,)),
            )
        ]
        if y is not None:
            distance(self.operation, "y_below", y, self.C.shape, 1)
        rung = RUNGS[self.rung]
        count, part = splits(rows, columns, depth) if self.rung != "naive" else (1, depth)
        if models * count > MOST_ON_Z:
            raise ValueError(
                f"{self.operation}: {models} models in {count} parts are {models * count} layers "
                f"of a grid but expected at most {MOST_ON_Z}"
            )
        sums = self.C
        if count > 1:
            sums = device.empty((count, models, rows, columns), self.C.dtype)
        defines: Defines = {
            "A_BY_DEPTH": int(A_by_depth), "B_BY_DEPTH": int(B_by_depth), **dict(rung.defines),
            **(real(self.C.dtype) if rung.kernel != "mma" else {}),
        }  # fmt: skip
        whole = count == 1  # then the kernel finishes its sums itself
        arguments = (
            A, B, sums, np.int64(rows), np.int64(columns), np.int64(depth), *distances[:2],
            np.int64(rows * columns), bias if whole else None, distances[3],
            y if whole else None, self.C.dtype.type(slope if whole else 1),
        )  # fmt: skip
        kernel = device.kernel(f"product_{rung.kernel}.cu", f"product_{rung.kernel}", defines)
        if self.rung == "naive":
            across, down = NAIVE_BLOCK
            grid = ceil_div(rows, down), ceil_div(columns, across), models
            device.launch(kernel, grid, NAIVE_BLOCK, arguments)
            return
        grid = ceil_div(rows, TILE), ceil_div(columns, TILE), models * count
        extra = np.int32(models), np.int64(part)
        device.launch(kernel, grid, (TILE_THREADS,), (*arguments, *extra))
        if count > 1:
            add_parts(device, sums, self.C, count=count, models=models, bias=bias, y=y, slope=slope)
