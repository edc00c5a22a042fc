"""The adjoint of correlation in W over register tiles, and sums over samples for biases.

A tile of dW, a few input channels × a few vectors of output channels, stays in registers for all
positions of a few samples. The order of the loops keeps a tile's channels of x and dy in
the first-level cache for all taps: they are read from the second level once, not kh·kw times. At
the border, positions whose tap would lie outside the image are left out of the loop.

Reads x once for every K / (columns of a tile) and dy once for every C / (rows of a tile), and adds
to dW once for every `chunk` samples.
"""

from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.microkernels.program import Arguments
from l2ae_kernels.cpu.microkernels.split import column_panels, sample_tiles
from l2ae_kernels.cpu.microkernels.tiles import gradient_tile

# x (samples, H, W, C) with its strides, x_tap that from one pixel to the next; dy is packed; with
# `inside` the innermost loop is that over samples
GRADIENT = Arguments(
    "x x_sample x_row x_tap x_batch H W C dy dW samples OH OW K kh kw sh sw top left chunk inside"
)
SUM = Arguments("dy dy_batch rows columns db")


def add_gradient(module: Module) -> None:
    """Emit gradient(arguments, m): dW (kh, kw, C, K) += Σ x dy."""
    with module.function("gradient", 2) as (e, address, m):
        a = GRADIENT.read(e, address)
        x, positions = a.x + m * a.x_batch * 4, a.OH * a.OW
        with e.each(0, a.samples, a.chunk) as n:
            samples = a.chunk.min(a.samples - n)
            for R, c in sample_tiles(e, a.C):
                for panel in column_panels(e, a.K, a.samples * positions):
                    tile = gradient_tile(module, R, panel.vectors, panel.masked)
                    with e.each(0, a.kh) as i, e.each(0, a.kw) as j:
                        h, heights = _positions(i, a.sh, a.top, a.H, a.OH)
                        w, widths = _positions(j, a.sw, a.left, a.W, a.OW)
                        row, pixel = h * a.sh + i - a.top, w * a.sw + j - a.left
                        images = (samples, a.x_sample, positions * panel.width)
                        rows = (heights, a.sh * a.x_row, a.OW * panel.width)
                        pixels = (widths, a.sw * a.x_tap, e.index(panel.width))
                        inside = a.inside > 0
                        outer = [p.unless(inside, q) for p, q in zip(images, pixels, strict=True)]
                        inner = [p.unless(inside, q) for p, q in zip(pixels, images, strict=True)]
                        e.call(
                            tile,
                            x + 4 * (n * a.x_sample + row * a.x_row + pixel * a.x_tap + c),
                            a.dy + 4 * (panel.start + (n * positions + h * a.OW + w) * panel.width),
                            *outer, *rows, *inner,
                            a.dW + 4 * (((i * a.kw + j) * a.C + c) * a.K + panel.column),
                            a.K, panel.lanes,
                        )  # fmt: skip


def add_sum(module: Module) -> None:
    """Emit sum(arguments, m): db (columns,) += Σ dy (rows, columns)."""
    with module.function("sum", 2) as (e, address, m):
        a = SUM.read(e, address)
        dy, db = e.pointer(a.dy + m * a.dy_batch * 4), e.pointer(a.db)
        for panel in column_panels(e, a.columns, e.index(0)):
            vectors = range(panel.vectors)
            masks = e.masks(panel.vectors, panel.lanes, panel.masked)
            at = [panel.column + v * e.lanes for v in vectors]

            def add_row(r: Integer, sums: list[Value]) -> list[Value]:
                row = [e.load(dy, r * a.columns + at[v], masks[v]) for v in vectors]  # noqa: B023
                return [e.b.fadd(s, d) for s, d in zip(sums, row, strict=True)]

            start = [e.load(db, at[v], masks[v]) for v in vectors]
            for v, s in enumerate(e.loop(0, a.rows, start, add_row)):
                e.store(s, db, at[v], masks[v])


def _positions(
    tap: Integer, stride: Integer, before: Integer, size: Integer, outputs: Integer
) -> tuple[Integer, Integer]:
    """First output whose window has `tap` inside the image, and how many there are."""
    # o·stride + tap − before lies in [0, size): both quotients below are of numbers ≥ 0
    first = (before - tap + (stride - 1)).max(0) // stride
    last = (size - 1 + before - tap + stride).max(0) // stride
    return first, (last.min(outputs) - first).max(0)
