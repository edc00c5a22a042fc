"""The compiled training step: a micro-batch goes through the whole network while it is in cache.

What changes against layer by layer, where a whole batch passes one layer after the other and every
activation travels to main memory and back:

    prepare   pack all weights, once for the step                                    all threads
    micro     for each micro-batch: forward, loss, backward, with private sums       all threads
    reduce    add the private sums, in order                                         all threads

Activations of a micro-batch stay in the second-level cache. Bias, activation and its mask are
applied to sums that are still in registers. All memory is set aside when the step is made.

The samples are cut into PARTS fixed ranges with a gradient each, added in order: a result does not
depend on the number of threads.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np

from l2ae_core.layers import Conv2d, ConvTranspose2d, Dense, Params, Shape
from l2ae_core.training.loss import Reduction
from l2ae_core.training.stages import Linear, Normalize, Stage
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.emit.vectors import Vectors
from l2ae_kernels.cpu.register import calls
from l2ae_kernels.cpu.register.calls import FLOAT, Call, Geometry, Images
from l2ae_kernels.cpu.register.elementwise import (
    NORMALIZE,
    NORMALIZE_ADJOINT,
    REDUCE,
    SQUARED_ERROR,
)
from l2ae_kernels.cpu.register.library import library
from l2ae_kernels.cpu.register.pack import COPY
from l2ae_kernels.cpu.register.program import Program
from l2ae_kernels.cpu.threads import in_ranges

PARTS = 8  # ranges of samples with a gradient of their own, and so the most threads
ALIGNMENT = 16  # floats: a cache line
REDUCE_CHUNK = 1 << 14  # floats that a thread adds up at a time


class Arena:
    """Memory that is set aside piece by piece before it exists: offsets first, one array then."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, floats: int) -> int:
        """Return the offset of a new piece."""
        offset = self.size
        self.size += -(-floats // ALIGNMENT) * ALIGNMENT
        return offset


class Shared:
    """What all threads read: packed weights, biases, constants."""

    def __init__(self, stages: list[Stage], params: Params, vectors: Vectors) -> None:
        self.params, self.vectors = params, vectors
        widest = max(prod(s.output_shape) for s in stages)
        self.zeros = np.zeros(max(widest, max(prod(s.input_shape) for s in stages)), np.float32)
        self.one, self.scale = np.ones(1, np.float32), np.ones(1, np.float32)
        self.slopes = np.array([s.slope for s in stages], np.float32)
        self.eps2 = np.array([s.eps**2 if isinstance(s, Normalize) else 0 for s in stages], np.float32)
        self.packed: list[tuple[Array, Array]] = []
        pack: list[Call] = []
        for s in stages:
            sizes = calls.packed_floats(s.geometry, vectors) if isinstance(s, Linear) else (0, 0)
            forward, backward = (np.zeros(size, np.float32) for size in _sizes(s, sizes, vectors))
            self.packed.append((forward, backward))
            if isinstance(s, Linear):
                pack += _pack(s, params[f"{s.name}.W"], forward, backward, vectors)
        self.prepare = Program(library(vectors), pack)


def _sizes(s: Stage, sizes: tuple[int, int], vectors: Vectors) -> tuple[int, int]:
    if isinstance(s, Linear) and isinstance(s.layer, Dense):
        I, O = s.layer.W.shape
        return calls.packed_size(I, O, vectors.lanes), calls.packed_size(O, I, vectors.lanes)
    return sizes


def _pack(s: Linear, W: Array, forward: Array, backward: Array, v: Vectors) -> Iterator[Call]:
    if isinstance(s.layer, Dense):
        yield calls.pack_dense(_at(W), *W.shape, _at(forward), transposed=False)
        yield calls.pack_dense(_at(W), *W.shape, _at(backward), transposed=True)
    else:  # `forward` is the correlation, `backward` its adjoint, whichever a layer does first
        yield from calls.pack_correlate(s.geometry, _at(W), _at(forward), v)
        yield from calls.pack_adjoint_x(s.geometry, _at(W), _at(backward), v)


def _at(array: Array) -> int:
    return int(array.ctypes.data)


class Bordered:
    """Images of few channels with zeros around them, so that every window lies inside.

    All kw·C values of a kernel row are then one run in every window: `rows_merged` takes them as so
    many channels, enough to fill a gradient tile.
    """

    def __init__(self, g: Geometry, samples: int) -> None:
        H = max((g.OH - 1) * g.sh + g.kh, g.top + g.H)
        W = max((g.OW - 1) * g.sw + g.kw, g.left + g.W)
        self.geometry = replace(g, H=H, W=W, top=0, left=0)
        self.merged = replace(self.geometry, C=g.kw * g.C, kw=1)
        self.inside = (g.top * W + g.left) * g.C  # where the first pixel of the image lies
        self.floats = samples * H * W * g.C

    def images(self, address: int) -> Images:
        """Where the bordered images lie."""
        return self.geometry.x_images(address)


class MicroBatch:
    """The buffers of `samples` samples, and the calls that take them through the network."""

    def __init__(
        self, stages: list[Stage], input_shape: Shape, samples: int, shared: Shared
    ) -> None:
        self.stages, self.samples, self.shared = stages, samples, shared
        self.rows, self.columns = input_shape[0], prod(input_shape[1:])
        few = 2 * input_shape[2] <= shared.vectors.lanes
        first, last = stages[0], stages[-1]
        self.x_border = Bordered(first.geometry, samples) if few and _is(first, Conv2d) else None
        self.d_border = Bordered(last.geometry, samples) if few and _is(last, ConvTranspose2d) else None
        sizes = [samples * prod(s.output_shape) for s in stages]
        arena = Arena()
        image = samples * prod(input_shape)
        self.x = arena.take(self.x_border.floats if self.x_border else image)
        self.values = [arena.take(size) for size in sizes]
        self.gradients = [arena.take(size) for size in sizes[:-1]]
        self.gradients.append(arena.take(self.d_border.floats if self.d_border else image))
        self.inverses = [arena.take(samples) for _ in stages]
        products = [s.geometry for s in stages if isinstance(s, Linear)]
        lanes = shared.vectors.lanes
        packed = (calls.packed_size(samples * g.OH * g.OW, g.K, lanes) for g in products)
        self.panels = arena.take(max(packed))
        self.size = arena.size

    def calls(self, memory: int, parts: dict[str, int], loss: int) -> Iterator[Call]:
        """Forward, loss and backward in `memory`; `parts` has the address of each gradient."""

        def at(offset: int) -> int:
            return memory + offset * FLOAT

        values = [at(self.x), *(at(v) for v in self.values)]
        gradients = [0, *(at(g) for g in self.gradients)]
        yield self._load(values[0])
        for i, s in enumerate(self.stages):
            if isinstance(s, Linear):
                yield from self._forward(i, s, values[i], values[i + 1])
            else:
                yield Call("normalize", NORMALIZE.row(
                    z=values[i], u=values[i + 1], inverse=at(self.inverses[i]),
                    samples=self.samples, D=s.input_shape[0], eps2=_at(self.shared.eps2[i:]),
                ))  # fmt: skip
        yield self._loss(values, gradients[-1], loss)
        for i, s in reversed(list(enumerate(self.stages))):
            x, dy, dx = values[i], gradients[i + 1], gradients[i]
            if isinstance(s, Linear):
                yield from self._parameters(i, s, x, dy, at(self.panels), parts)
                if i:
                    yield from self._backward(i, s, x, dy, dx)
            else:
                yield Call("normalize_adjoint", NORMALIZE_ADJOINT.row(
                    u=values[i + 1], inverse=at(self.inverses[i]), du=dy, dz=dx,
                    samples=self.samples, D=s.input_shape[0],
                ))  # fmt: skip

    def _load(self, x: int) -> Call:
        """Copy the micro-batch from the batch, whose address and length are set in every step."""
        image = self._image(x, self.x_border)
        return Call("copy", COPY.row(
            source=0, source_sample=self.rows * self.columns, source_row=self.columns,
            source_column=1, source_batch=self.samples * self.rows * self.columns,
            target=image.address, target_sample=image.sample, target_row=image.row,
            target_column=1, samples=self.samples, rows=self.rows, columns=self.columns, total=0,
        ))  # fmt: skip

    def _image(self, address: int, border: Bordered | None) -> Images:
        """Where the image itself lies, inside its border if it has one."""
        if border is None:
            return Images(address, self.rows * self.columns, self.columns, 0)
        images = border.images(address)
        return images._replace(address=address + border.inside * FLOAT)

    def _forward(self, i: int, s: Linear, x: int, y: int) -> Iterator[Call]:
        g, shared = s.geometry, self.shared
        forward, adjoint = (_at(w) for w in shared.packed[i])
        b, slope = _at(shared.params[f"{s.name}.b"]), _at(shared.slopes[i:])
        n, v = self.samples, shared.vectors
        if isinstance(s.layer, Dense):
            images = Images(x, g.C, 0, 0), Images(y, g.K, 0, 0)
            one = _at(shared.one)
            yield calls.dense(n, g.C, g.K, images[0], forward, b, images[1], one=one, slope=slope)
        elif isinstance(s.layer, ConvTranspose2d):
            images = g.y_images(x), g.x_images(y)
            yield from calls.adjoint_x(g, n, images[0], adjoint, b, images[1], v, slope=slope)
        else:
            border = self.x_border if i == 0 else None
            source = border.images(x) if border else g.x_images(x)
            g = border.geometry if border else g
            yield from calls.correlate(g, n, source, forward, b, g.y_images(y), v, slope=slope)

    def _loss(self, values: list[int], d: int, loss: int) -> Call:
        image, residual = self._image(values[0], self.x_border), self._image(d, self.d_border)
        return Call("squared_error", SQUARED_ERROR.row(
            y=values[-1], x=image.address, x_sample=image.sample, x_row=image.row,
            d=residual.address, d_sample=residual.sample, d_row=residual.row,
            samples=self.samples, rows=self.rows, columns=self.columns, total=0,
            scale=_at(self.shared.scale), loss=loss,
        ))  # fmt: skip

    def _parameters(
        self, i: int, s: Linear, x: int, dy: int, panels: int, parts: dict[str, int]
    ) -> Iterator[Call]:
        g, n = s.geometry, self.samples
        dW, db = parts[f"{s.name}.W"], parts[f"{s.name}.b"]
        transposed = isinstance(s.layer, ConvTranspose2d)
        big, small = (dy, x) if transposed else (x, dy)  # of the correlation
        border = self._border(i)
        source = border.images(big) if border else g.x_images(big)
        product = border.merged if border else g
        yield from calls.adjoint_W(product, n, source, g.y_images(small), panels, dW)
        if border and transposed:  # the zeros around dy change no sum
            yield calls.sum_rows(dy, border.floats // g.C, g.C, db)
        else:
            yield calls.sum_rows(dy, n * prod(s.output_shape) // len(s.layer.b), len(s.layer.b), db)

    def _border(self, i: int) -> Bordered | None:
        """The border of the images on the large side of stage i."""
        if i == 0 and self.x_border:
            return self.x_border
        return self.d_border if i == len(self.stages) - 1 else None

    def _backward(self, i: int, s: Linear, x: int, dy: int, dx: int) -> Iterator[Call]:
        """dx, times the mask of the activation before this stage, which was applied to make x."""
        g, shared = s.geometry, self.shared
        forward, adjoint = (_at(w) for w in shared.packed[i])
        n, v, zeros = self.samples, shared.vectors, _at(shared.zeros)
        active = self.stages[i - 1].slope != 1.0
        gate, slope = (x if active else 0), _at(shared.slopes[i - 1 :])
        if isinstance(s.layer, Dense):
            images = Images(dy, g.K, 0, 0), Images(dx, g.C, 0, 0)
            one = _at(shared.one)
            yield calls.dense(
                n, g.K, g.C, images[0], adjoint, zeros, images[1], one=one, slope=slope, gate=gate
            )
        elif isinstance(s.layer, ConvTranspose2d):
            border = self._border(i)
            source = border.images(dy) if border else g.x_images(dy)
            g = border.geometry if border else g
            yield from calls.correlate(
                g, n, source, forward, zeros, g.y_images(dx), v, slope=slope, gate=gate
            )
        else:
            yield from calls.adjoint_x(
                g, n, g.y_images(dy), adjoint, zeros, g.x_images(dx), v, slope=slope, gate=gate
            )


def _is(stage: Stage, kind: type) -> bool:
    return isinstance(stage, Linear) and isinstance(stage.layer, kind)


class CompiledGradients:
    """Loss and gradients of a batch, for one network and one set of arrays."""

    def __init__(
        self, stages: list[Stage], params: Params, input_shape: Shape, vectors: Vectors
    ) -> None:
        self.params, self.library, self.input_shape = params, library(vectors), input_shape
        self.shared = Shared(stages, params, vectors)
        self.micro = MicroBatch(stages, input_shape, micro_batch(stages), self.shared)
        arena = Arena()
        self.offsets = {name: arena.take(p.size) for name, p in params.items()}
        self.flat = np.zeros(arena.size, np.float32)
        self.parts = np.zeros((PARTS, arena.size), np.float32)
        self.grads = {
            name: self.flat[at : at + params[name].size].reshape(params[name].shape)
            for name, at in self.offsets.items()
        }
        self.losses = np.zeros(PARTS)
        self.chunks = -(-arena.size // REDUCE_CHUNK)
        self.reduce = Program(self.library, [Call("reduce", REDUCE.row(
            parts=_at(self.parts), part=arena.size, count=PARTS, sum=_at(self.flat),
            chunk=REDUCE_CHUNK,
        ))])  # fmt: skip
        self.memory: dict[int, Array] = {}
        self.programs: dict[tuple[int, int], Program] = {}
        self.work = sum(s.geometry.multiply_adds for s in stages if isinstance(s, Linear))
        self.dirty = False  # whether a step was interrupted, so that `parts` holds its sums

    def __call__(self, x: Array, reduction: Reduction) -> tuple[float, Params]:
        """Return the loss of x (N, ...) and the gradients, which the next call overwrites."""
        count = len(x) * (prod(self.input_shape) if reduction == "mean" else 1)
        self.shared.scale[0] = 2.0 / count
        if self.dirty:
            self.parts[:] = 0
        self.dirty = True
        self.losses[:] = 0
        micro_batches = -(-len(x) // self.micro.samples)
        prepare = self.shared.prepare

        def parts(first: int, last: int) -> None:
            for p in range(first, last):
                program = self._program(first, p)
                for row in program.rows("copy")[:1]:
                    row[COPY.names.index("source")] = _at(x)
                    row[COPY.names.index("total")] = len(x)
                for row in program.rows("squared_error"):
                    row[SQUARED_ERROR.names.index("total")] = len(x)
                program.run(p * micro_batches // PARTS, (p + 1) * micro_batches // PARTS)

        in_ranges(prepare.run_calls, len(prepare.calls), self.flat.size * 8)
        in_ranges(parts, PARTS, 3 * self.work * len(x))
        in_ranges(self.reduce.run, self.chunks, self.parts.size)
        self.dirty = False
        return float(self.losses.sum()) / count, self.grads

    def _program(self, slot: int, part: int) -> Program:
        """The calls of one part in the memory of one slot: no two threads have the same."""
        if (slot, part) not in self.programs:
            memory = self.memory.setdefault(slot, np.zeros(self.micro.size, np.float32))
            addresses = {n: _at(self.parts[part, at:]) for n, at in self.offsets.items()}
            todo = self.micro.calls(_at(memory), addresses, _at(self.losses[part:]))
            self.programs[slot, part] = Program(self.library, todo)
        return self.programs[slot, part]


def micro_batch(stages: list[Stage]) -> int:
    """Samples of a micro-batch."""
    convolutions = any(isinstance(s, Linear) and not isinstance(s.layer, Dense) for s in stages)
    return 16 if convolutions else 64
