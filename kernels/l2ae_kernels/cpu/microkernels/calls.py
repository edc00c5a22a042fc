"""What to call for which product: kernels by name, with their rows of arguments.

A `Call` works on addresses, so it serves arrays (ops.py) and the buffers of a training step alike.
A geometry is always that of the correlation: x (N, H, W, C) → y (N, OH, OW, K). The adjoint in x
goes from y to x, and weights are W (kh, kw, C, K) in both directions.
"""

from collections.abc import Iterator
from typing import NamedTuple

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels.correlate import CORRELATE
from l2ae_kernels.cpu.microkernels.dense import DENSE
from l2ae_kernels.cpu.microkernels.gradients import GRADIENT, SUM
from l2ae_kernels.cpu.microkernels.pack import COPY, PACK, PANELS, packed_size
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call
from l2ae_kernels.geometry import Geometry, Images, Pair

POSITIONS = 48  # steps of a gradient tile, at least: its sums are loaded and stored once for them
SHORT_ROW = 5  # positions; a shorter innermost loop than this one over samples does not pay


def packed_floats(g: Geometry, vectors: Vectors) -> tuple[int, int]:
    """Floats of packed weights for the correlation and for its adjoint in x."""

    def floats(rows: int, columns: int) -> int:
        few = _few(columns, vectors)
        return rows * columns if few else packed_size(rows, columns, vectors.lanes)

    return floats(g.taps, g.K), floats(g.kh * g.kw * g.K, g.C)


def _few(outputs: int, vectors: Vectors) -> bool:
    """Whether lanes along the sum beat lanes along the outputs."""
    return 2 * outputs <= vectors.lanes


def pack_correlate(g: Geometry, W: int, packed: int, vectors: Vectors) -> Iterator[Call]:
    """Pack W for `correlate`."""
    if _few(g.K, vectors):
        yield _transpose(W, g.taps, g.K, packed)
    else:
        yield _pack(W, g.K, 1, g.taps, g.K, packed, g.taps, 0)


def correlate(
    g: Geometry, samples: int, x: Images, packed: int, b: int, y: Images, vectors: Vectors,
    *, slope: int, gate: int = 0,
) -> Iterator[Call]:  # fmt: skip
    """y = finish(correlate(x, W) + b), see tiles.py; a `gate` lies like y."""
    gated = "_gated" if gate else ""
    if not _few(g.K, vectors):
        row = _correlate_row(g, samples, x, packed, b, y, slope, gate)
        yield Call(f"correlate{gated}", row)
        return
    for k in range(g.K):
        here = k * FLOAT
        one, w = y._replace(address=y.address + here), packed + g.taps * here
        row = _correlate_row(g, samples, x, w, b + here, one, slope, gate and gate + here)
        yield Call(f"correlate_dot{gated}", row)


class _Class(NamedTuple):
    """The pixels of x with one row and column modulo the strides: a correlation of y."""

    first: Pair  # of these pixels
    tap: Pair  # lowest tap that reaches them
    geometry: Geometry
    before: int  # taps of the classes before this one


def _classes(g: Geometry) -> Iterator[_Class]:
    """The adjoint in x as correlations of y (OH, OW, K) at stride 1 with the taps reversed.

    A pixel h is reached by taps i ≡ h + top modulo sh, from y row (h + top − i)/sh. With
    i = r + sh (T − 1 − t), t = 0 … T − 1, that row is (h + top − r)/sh − (T − 1) + t and rises
    with t.
    """
    before = 0
    for h in range(min(g.sh, g.H)):
        r, T, top = axis_class(h, g.sh, g.top, g.kh)
        for w in range(min(g.sw, g.W)):
            s, S, left = axis_class(w, g.sw, g.left, g.kw)
            inner = Geometry(
                H=g.OH, W=g.OW, C=g.K, OH=-(-(g.H - h) // g.sh), OW=-(-(g.W - w) // g.sw), K=g.C,
                kh=T, kw=S, sh=1, sw=1, top=top, left=left,
            )  # fmt: skip
            yield _Class((h, w), (r, s), inner, before)
            before += T * S


def axis_class(h: int, stride: int, before: int, kernel: int) -> tuple[int, int, int]:
    """Lowest tap of a class, number of its taps, and its zeros before the first row of y."""
    lowest = (h + before) % stride
    taps = max(0, -(-(kernel - lowest) // stride))
    return lowest, taps, taps - 1 - (h + before - lowest) // stride


def pack_adjoint_x(g: Geometry, W: int, packed: int, vectors: Vectors) -> Iterator[Call]:
    """Pack W for `adjoint_x`, class by class, taps reversed, input and output channels swapped."""
    for c in _classes(g):
        inner, start = c.geometry, packed + c.before * _tap_floats(g, vectors) * FLOAT
        for t in range(inner.kh):
            for s in range(inner.kw):
                i, j = c.tap[0] + g.sh * (inner.kh - 1 - t), c.tap[1] + g.sw * (inner.kw - 1 - s)
                source = W + (i * g.kw + j) * g.C * g.K * FLOAT
                first = (t * inner.kw + s) * g.K
                if _few(g.C, vectors):
                    yield Call("copy", COPY.row(
                        source=source, source_sample=0, source_row=g.K, source_column=1,
                        source_batch=0, target=start + first * FLOAT, target_sample=0,
                        target_row=inner.taps, target_column=1, samples=1, rows=g.C,
                        columns=g.K, total=1,
                    ))  # fmt: skip
                else:
                    yield _pack(source, 1, g.K, g.K, g.C, start, inner.taps, first)


def adjoint_x(
    g: Geometry, samples: int, y: Images, packed: int, b: int, x: Images, vectors: Vectors,
    *, slope: int, gate: int = 0,
) -> Iterator[Call]:  # fmt: skip
    """x = finish(adjoint(y, W) + b), see tiles.py; a `gate` lies like x."""
    for c in _classes(g):
        at = (c.first[0] * x.row + c.first[1] * x.pixel) * FLOAT
        pixels = Images(x.address + at, x.sample, x.row * g.sh, x.pixel * g.sw, x.batch)
        w = packed + c.before * _tap_floats(g, vectors) * FLOAT
        yield from correlate(
            c.geometry, samples, y, w, b, pixels, vectors, slope=slope, gate=gate and gate + at
        )


def _tap_floats(g: Geometry, vectors: Vectors) -> int:
    """Floats of one tap in weights packed for the adjoint."""
    return packed_floats(g, vectors)[1] // (g.kh * g.kw)


def adjoint_W(
    g: Geometry, samples: int, x: Images, y: Images, packed: int, dW: int
) -> Iterator[Call]:
    """Add the adjoint of the correlation in W, of x and contiguous y, to dW; `packed` is for y."""
    inside = g.OW < SHORT_ROW
    chunk = samples if inside else max(1, min(samples, -(-POSITIONS // (g.OH * g.OW))))
    yield Call("panels", PANELS.row(
        source=y.address, source_batch=y.batch, rows=samples * g.OH * g.OW, columns=g.K,
        packed=packed,
    ))  # fmt: skip
    yield Call("gradient", GRADIENT.row(
        x=x.address, x_sample=x.sample, x_row=x.row, x_tap=x.pixel, x_batch=x.batch, H=g.H, W=g.W,
        C=g.C, dy=packed, dW=dW, samples=samples, OH=g.OH, OW=g.OW, K=g.K, kh=g.kh, kw=g.kw,
        sh=g.sh, sw=g.sw, top=g.top, left=g.left, chunk=chunk, inside=int(inside),
    ))  # fmt: skip


def dense(
    samples: int, inputs: int, outputs: int, x: int, w: int, b: int, y: int,
    *, transposed: bool, one: int, slope: int, gate: int = 0, workspace: int = 0,
) -> Call:  # fmt: skip
    """y = finish(x w + b) for x (samples, inputs); a `gate` lies like y.

    w is a matrix (inputs, outputs), or, `transposed`, the transpose of one (outputs, inputs).
    """
    return Call("dense_gated" if gate else "dense", DENSE.row(
        x=x, x_sample=inputs, x_batch=0, I=inputs, w=w, transposed=int(transposed), b=b, one=one,
        slope=slope, gate=gate, y=y, y_sample=outputs, y_batch=0, samples=samples, O=outputs,
        workspace=workspace,
    ))  # fmt: skip


def sum_rows(dy: int, rows: int, columns: int, db: int, batch: int = 0) -> Call:
    """Add the sum over the rows of dy (rows, columns) to db."""
    return Call("sum", SUM.row(dy=dy, dy_batch=batch, rows=rows, columns=columns, db=db))


def _pack(
    source: int,
    row: int,
    column: int,
    rows: int,
    columns: int,
    packed: int,
    height: int,
    first: int,
) -> Call:
    return Call("pack", PACK.row(
        source=source, source_row=row, source_column=column, rows=rows, columns=columns,
        packed=packed, height=height, first=first,
    ))  # fmt: skip


def _transpose(source: int, rows: int, columns: int, target: int) -> Call:
    """Write the transpose of a matrix (rows, columns)."""
    return Call("copy", COPY.row(
        source=source, source_sample=0, source_row=1, source_column=columns, source_batch=0,
        target=target, target_sample=0, target_row=rows, target_column=1, samples=1, rows=columns,
        columns=rows, total=1,
    ))  # fmt: skip


def _correlate_row(
    g: Geometry, samples: int, x: Images, w: int, b: int, y: Images, slope: int, gate: int
) -> Array:
    return CORRELATE.row(
        x=x.address, x_sample=x.sample, x_row=x.row, x_batch=x.batch, H=g.H, W=g.W, C=g.C, w=w, b=b,
        slope=slope, gate=gate, y=y.address, y_sample=y.sample, y_row=y.row, y_pixel=y.pixel,
        y_batch=y.batch, samples=samples, OH=g.OH, OW=g.OW, K=g.K, kh=g.kh, kw=g.kw, sh=g.sh,
        sw=g.sw, top=g.top, left=g.left,
    )  # fmt: skip
