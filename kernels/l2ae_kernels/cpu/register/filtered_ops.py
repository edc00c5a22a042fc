"""Rows of the implementations table: Winograd's filtering where it pays, else the register tiles.

It pays for kernels of 4 to 6 taps at stride 2 with enough channels and outputs: the large layers of
the paper's network. `Filtering.fits` decides by geometry alone, so a geometry is always computed in
the same way. Samples are taken CHUNK at a time, whose transforms stay in cache.
"""

from collections.abc import Callable, Iterable

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.register import ops
from l2ae_kernels.cpu.register.calls import Call, Geometry
from l2ae_kernels.cpu.register.filtering import Filtering
from l2ae_kernels.cpu.register.ops import ONE_AT, address, bias_or_zeros, run, vectors_here
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.geometry import Padding, Pair

CHUNK = 16  # samples


def correlate(
    x: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding
) -> None:
    """Write y (N, OH, OW, K) for x (N, H, W, C) and W (kh, kw, C, K) to `out`."""
    g = Geometry.of(x.shape, out.shape, W.shape[:2], stride, padding)
    if not Filtering.fits(g, vectors_here()):
        ops.correlate(x, W, b, out, stride, padding)
        return
    bias = bias_or_zeros(b, g.K)
    packed = _packed(g, W, adjoint=False)

    def calls(f: Filtering, n: int, V: int, M: int, waste: int) -> Iterable[Call]:
        yield from f.transform_x(g.x_images(address(x[n:])), V)
        y = g.y_images(address(out[n:]))
        yield from f.correlate(V, address(packed), M, address(bias), y, waste, slope=ONE_AT)

    _in_chunks(g, len(x), calls)


def correlate_adjoint_x(
    y: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding
) -> None:
    """Write x (N, H, W, C) for y (N, OH, OW, K) and W (kh, kw, C, K) to `out`."""
    g = Geometry.of(out.shape, y.shape, W.shape[:2], stride, padding)
    if not Filtering.fits(g, vectors_here()):
        ops.correlate_adjoint_x(y, W, b, out, stride, padding)
        return
    bias = bias_or_zeros(b, g.C)
    packed = _packed(g, W, adjoint=True)

    def calls(f: Filtering, n: int, M: int, V: int, waste: int) -> Iterable[Call]:
        source, target = g.y_images(address(y[n:])), g.x_images(address(out[n:]))
        return f.adjoint_x(
            source, V, address(packed), M, address(bias), target, waste, slope=ONE_AT
        )

    _in_chunks(g, len(y), calls)
