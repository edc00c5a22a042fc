"""Correlation over register tiles: a tile is a few samples × a few vectors of output channels.

What changed against im2col and GEMM: no columns are written. A window of an NHWC image is kh runs
of kw·C consecutive values, and `product_tile` reads them where they lie; at the border, runs that
would leave the image are cut, so that padding costs nothing. All samples of a tile share the
window, so its rows are equally long. Sums stay in registers from the bias to the activation, and y
is written once, finished.

Reads x once for every K / (columns of a tile) and W once for every tile; both come from the caches:
a tile's windows fit the first one, W the second.

The adjoint in x is the same kernel: for each of the sh·sw classes of pixels (row and column modulo
the strides) it is a correlation of dy, at stride 1, with the taps that reach the class, reversed.
Every pixel is written once; nothing is scattered.
"""

from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.integer import Integer
from l2ae_kernels.cpu.microkernels.program import Arguments
from l2ae_kernels.cpu.microkernels.split import column_panels, sample_tiles
from l2ae_kernels.cpu.microkernels.tiles import dot_tile, product_tile

# x (samples, H, W, C), y (samples, OH, OW, K) with their strides; `x_batch` and `y_batch` are the
# strides from one micro-batch to the next; w is packed, b (K,), slope one float; gate lies like y.
CORRELATE = Arguments(
    "x x_sample x_row x_batch H W C w b slope gate y y_sample y_row y_pixel y_batch "
    "samples OH OW K kh kw sh sw top left"
)


def add_correlate(module: Module, gated: bool) -> None:
    """Emit correlate(arguments, m), or correlate_gated."""
    with module.function(f"correlate{'_gated' * gated}", 2) as (e, address, m):
        a = CORRELATE.read(e, address)
        x, y, gate = (a.x + m * a.x_batch * 4, a.y + m * a.y_batch * 4, a.gate)
        for P, s in sample_tiles(e, a.samples):
            for panel in column_panels(e, a.K, a.kh * a.kw * a.C):
                tile = product_tile(module, P, panel.vectors, panel.masked, gated)
                with e.each(0, a.OH) as oh, e.each(0, a.OW) as ow:
                    h, i, runs = _window(oh, a.sh, a.top, a.kh, a.H)
                    w, j, taps = _window(ow, a.sw, a.left, a.kw, a.W)
                    window = x + 4 * (s * a.x_sample + h * a.x_row + w * a.C)
                    tap = (i * a.kw + j) * a.C
                    pixel = 4 * (s * a.y_sample + oh * a.y_row + ow * a.y_pixel + panel.column)
                    e.call(
                        tile, window, a.x_sample, runs, a.x_row, taps * a.C,
                        a.w + 4 * (panel.start + tap * panel.width), a.kw * a.C * panel.width,
                        a.b + 4 * panel.column, 0, y + pixel, a.y_sample,
                        gate + pixel, a.slope, panel.lanes,
                    )  # fmt: skip


def add_correlate_dot(module: Module, gated: bool) -> None:
    """Emit correlate_dot(arguments, m), or correlate_dot_gated: for one output channel.

    w is not packed: (kh, kw, C).
    """
    with module.function(f"correlate_dot{'_gated' * gated}", 2) as (e, address, m):
        a = CORRELATE.read(e, address)
        x, y = a.x + m * a.x_batch * 4, a.y + m * a.y_batch * 4
        for P, s in sample_tiles(e, a.samples):
            tile = dot_tile(module, P, gated)
            with e.each(0, a.OH) as oh, e.each(0, a.OW) as ow:
                h, i, runs = _window(oh, a.sh, a.top, a.kh, a.H)
                w, j, taps = _window(ow, a.sw, a.left, a.kw, a.W)
                window = x + 4 * (s * a.x_sample + h * a.x_row + w * a.C)
                pixel = s * a.y_sample + oh * a.y_row + ow * a.y_pixel
                e.call(
                    tile, window, a.x_sample, runs, a.x_row, taps * a.C,
                    a.w + 4 * (i * a.kw + j) * a.C, a.kw * a.C,
                    a.b, y + 4 * pixel, a.y_sample, a.gate + 4 * pixel, a.slope,
                )  # fmt: skip


def _window(
    o: Integer, stride: Integer, before: Integer, taps: Integer, size: Integer
) -> tuple[Integer, Integer, Integer]:
    """Where the window of output o begins inside the image, at which tap, and how many taps."""
    start = o * stride - before
    first = (0 - start).max(0).min(taps)
    last = taps.min(size - start)
    return start + first, first, (last - first).max(0)
