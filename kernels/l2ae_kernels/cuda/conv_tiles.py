"""A correlation or an adjoint as a call of kernels, and the launcher of conv_mma.cu.

                         rows            columns   depth
    correlate            pixels of y     K         taps · C
    correlate_adjoint_x  pixels of x     C         taps · K, those of a residue of the stride
    correlate_adjoint_W  taps · C        K         pixels of y

`splits` and `cut` say when a depth is cut into parts; that of adjoint_x is not, since a stride
already cuts its rows into many tiles.
"""

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, device_of
from l2ae_kernels.cuda.launch import MOST_ON_Z, ceil_div, distance, model_count
from l2ae_kernels.cuda.products import BLOCKS, LEAST_DEPTH, Epilogue
from l2ae_kernels.geometry import Geometry

DEPTH, STAGES, THREADS = 32, 3, 128  # of conv_tile.cuh
LARGE = 132  # multiprocessors of a large GPU
BESIDE, MOST_CUTS = 3, 8  # steps that a block takes beside those of its part; parts
MOST_PIXELS = 2**31 - 2**14  # of one model: their numbers are int, up to a tile or part beyond
DEFINES = ("H", "W", "C", "OH", "OW", "K", "KH", "KW", "SH", "SW", "TOP", "LEFT")
BY_DEPTH = {  # how A and B lie in shared memory
    "correlate": (True, False),
    "correlate_adjoint_x": (True, True),
    "correlate_adjoint_W": (False, False),
}


@dataclass(frozen=True)
class Call:
    """One of the three operations on arrays whose shapes fit, and what becomes of its sums.

    ValueError, by name, for an array that does not fit.
    """

    operation: str
    names: tuple[str, str]  # of A and B, for errors
    A: Array  # x or y
    B: Array  # W or y
    out: Array
    geometry: Geometry
    epilogue: Epilogue
    db: Array | None = None

    def __post_init__(self) -> None:
        self.distances()
        distance(self.operation, "out", self.out, self._shapes()[2], self.models)
        distance(self.operation, "db", self.db, (self.geometry.K,), self.models)
        if self.epilogue.y is not None:
            distance(self.operation, "y_below", self.epilogue.y, self.out.shape, 1)

    @property
    def models(self) -> int:
        """M of the result."""
        return model_count(self.out, 4)

    @property
    def samples(self) -> int:
        """N of one model."""
        samples: int = self.A.shape[-4]
        return samples

    def distances(self) -> tuple[np.int64, np.int64, np.int64]:
        """Return the distances between two models of A, B and the bias; see launch.distance."""
        A, B, out = self._shapes()
        return (
            distance(self.operation, self.names[0], self.A, A, self.models),
            distance(self.operation, self.names[1], self.B, B, self.models),
            distance(self.operation, "b", self.epilogue.bias, out[-1:], self.models),
        )

    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of A, B and the result of one model."""
        g, N = self.geometry, self.samples
        x, y, W = (N, g.H, g.W, g.C), (N, g.OH, g.OW, g.K), (g.kh, g.kw, g.C, g.K)
        return {
            "correlate": (x, W, y),
            "correlate_adjoint_x": (y, W, x),
            "correlate_adjoint_W": (x, y, W),
        }[self.operation]


def defines(g: Geometry) -> dict[str, int]:
    """Return a geometry as the kernels have it compiled in."""
    return dict(zip(DEFINES, astuple(g), strict=True))


def aligned(*arrays: Array) -> int:
    """Return 1 if all arrays begin at multiples of 16 bytes, else 0: the define ALIGNED."""
    views = (getattr(a, "__cuda_array_interface__", None) or a.__array_interface__ for a in arrays)
    return int(all(view["data"][0] % 16 == 0 for view in views))


def splits(rows: int, columns: int, depth: int) -> tuple[int, int]:
    """Return into how many parts the depth of adjoint_W is cut, and how deep each is.

    As products.splits: by the shape of one model alone, so that its tiles fill a large GPU.
    """
    tiles = _tiles(rows, columns)
    count = max(1, min(BLOCKS // max(tiles, 1), depth // LEAST_DEPTH))
    part = ceil_div(max(depth, 1), count * DEPTH) * DEPTH
    return max(1, ceil_div(depth, part)), part


def cut(rows: int, columns: int, depth: int) -> tuple[int, int]:
    """Return into how many parts the depth of a correlation is cut, and how deep each is.

    By the shape of one model alone, so that on a large GPU the multiprocessor with most blocks has
    fewest steps: each of its blocks takes those of its part, and about three to begin and to end.
    """
    tiles, steps = _tiles(rows, columns), max(1, ceil_div(depth, DEPTH))

    def busiest(count: int) -> int:
        return ceil_div(tiles * count, LARGE) * (ceil_div(steps, count) + BESIDE)

    of_part = ceil_div(steps, min(range(1, min(steps, MOST_CUTS) + 1), key=busiest))
    return ceil_div(steps, of_part), of_part * DEPTH


def _tiles(rows: int, columns: int) -> int:
    down, across = tile(columns)
    return ceil_div(rows, down) * ceil_div(columns, across)


@dataclass(frozen=True)
class Workspace:
    """What a correlation needs whose depth is cut; one that is launched again can keep it.

    Launches that share it must follow each other.
    """

    parts: Array  # (count, M, N, OH, OW, K)
    arrived: Array  # a uint32 for each tile of each model: the parts that are there, 0 in between

    @classmethod
    def of(cls, device: Device, g: Geometry, samples: int, models: int) -> "Workspace | None":
        """Return one, or None where the depth is not cut."""
        rows = samples * g.OH * g.OW
        count, _ = cut(rows, g.K, g.taps)
        if count == 1:
            return None
        parts = device.empty((count, models, samples, g.OH, g.OW, g.K), np.float32)
        return cls(parts, device.zeros(models * _tiles(rows, g.K), np.uint32))


def tile(columns: int) -> tuple[int, int]:
    """Return the rows and columns of a tile, as conv_mma.cu has them."""
    return (128, 32) if columns <= 32 else (64, 64)


def launch_tiles(call: Call, terms: int, workspace: Workspace | None = None) -> None:
    """Queue the tiles of correlate or adjoint_x. workspace: of correlate, else it is made."""
    g, N, models = call.geometry, call.samples, np.int32(call.models)
    _require_pixels(call)
    A_models, B_models, bias_models = call.distances()
    end = call.epilogue
    arguments = (
        call.A, call.B, call.out, np.int32(N), A_models, B_models, end.bias, bias_models, end.y,
        np.float32(end.slope),
    )  # fmt: skip
    if call.operation == "correlate_adjoint_x":
        pixels, residues = N * ceil_div(g.H, g.sh) * ceil_div(g.W, g.sw), g.sh * g.sw
        _launch(call, call.out, terms, (pixels, g.C, residues), (*arguments, models))
        return
    rows = N * g.OH * g.OW
    count, part = cut(rows, g.K, g.taps)
    if count > 1 and workspace is None:
        workspace = Workspace.of(device_of(call.out), g, N, call.models)
    parts, arrived = (workspace.parts, workspace.arrived) if workspace else (None, None)
    rest = parts, arrived, models, np.int32(part)
    _launch(call, call.out, terms, (rows, g.K, count), (*arguments, *rest))


def launch_weight_tiles(call: Call, parts: Array, db: Array | None, terms: int) -> None:
    """Queue the tiles of adjoint_W, in `splits` of the pixels."""
    g, depth = call.geometry, call.samples * call.geometry.OH * call.geometry.OW
    _require_pixels(call)
    count, part = splits(g.taps, g.K, depth)
    A_models, B_models, _ = call.distances()
    sizes = np.int32(call.samples), A_models, B_models, np.int32(call.models), np.int32(part)
    _launch(call, parts, terms, (g.taps, g.K, count), (call.A, call.B, parts, db, *sizes))


def _require_pixels(call: Call) -> None:
    g = call.geometry
    pixels = call.samples * max(g.H * g.W, g.OH * g.OW)
    if pixels > MOST_PIXELS:
        raise ValueError(
            f"{call.operation}: {call.samples} samples have {pixels} pixels but expected at most "
            f"{MOST_PIXELS}"
        )


def _launch(
    call: Call, out: Array, terms: int, size: tuple[int, int, int], arguments: tuple[Any, ...]
) -> None:
    """Queue tiles over rows, columns and layers of each model."""
    rows, columns, layers = size
    device, lines = device_of(out), tile(columns)
    if layers * call.models > MOST_ON_Z:
        raise ValueError(
            f"{call.operation}: {call.models} models in {layers} parts are {layers * call.models} "
            f"layers of a grid but expected at most {MOST_ON_Z}"
        )
    whole = {"TERMS": terms, "ALIGNED": aligned(call.A, call.B, out)}
    sizes = {**defines(call.geometry), **whole}
    kernel = device.kernel("conv_mma.cu", f"{call.operation}_mma", sizes)
    tiles = zip(lines, BY_DEPTH[call.operation], strict=True)
    numbers = sum(n * (DEPTH + 4) if by_depth else DEPTH * (n + 4) for n, by_depth in tiles)
    grid = ceil_div(rows, lines[0]), ceil_div(columns, lines[1]), layers * call.models
    device.launch(kernel, grid, (THREADS,), arguments, shared=4 * STAGES * numbers)
