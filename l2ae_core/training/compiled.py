"""What a compiled training step is made of: a micro-batch that goes through the whole network.

What changes against layer by layer, where a whole batch passes one layer after the other and every
activation travels to main memory and back: activations of a micro-batch stay in the second-level
cache. Bias, activation and its mask are applied to sums that are still in registers. All memory is
set aside when the step is made.

compiled_conv.py takes micro-batches through networks with convolutions, compiled_dense.py whole
batches through networks without.
"""

from collections.abc import Iterator
from math import prod
from typing import TypeGuard

import numpy as np

from l2ae_core.layers import Conv2d, ConvTranspose2d, Dense, Params, Shape
from l2ae_core.training import normalizations
from l2ae_core.training.normalizations import Constants, Place
from l2ae_core.training.products import (
    Bordered,
    DenseProducts,
    FilteredProducts,
    Products,
    TiledProducts,
    Weights,
)
from l2ae_core.training.stages import Linear, Stage
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels import calls
from l2ae_kernels.cpu.microkernels.calls import FLOAT, Call
from l2ae_kernels.cpu.microkernels.elementwise import SQUARED_ERROR
from l2ae_kernels.cpu.microkernels.filtering import Filtering
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.ops import address
from l2ae_kernels.cpu.microkernels.pack import COPY, packed_size
from l2ae_kernels.cpu.microkernels.program import Program
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.geometry import Images

ALIGNMENT = 16  # floats: a cache line
HUGE_PAGE = 1 << 19  # floats: 2 MB


class Arena:
    """Memory that is set aside piece by piece before it exists: offsets first, one array then."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, floats: int) -> int:
        """Return the offset of a new piece."""
        offset = self.size
        self.size += -(-floats // ALIGNMENT) * ALIGNMENT
        return offset


class Shared(Constants):
    """What all threads read: packed weights too."""

    def __init__(self, stages: list[Stage], params: Params, vectors: Vectors, samples: int) -> None:
        super().__init__(stages, params)
        self.vectors = vectors
        self.rooms: list[Array] = []  # that packing needs
        self.filtering = [_filtering(s, samples, self) for s in stages]
        self.packed: list[tuple[Array, Array]] = []
        self.prepare: list[Program] = []  # each packs the weights of one stage
        for s, f in zip(stages, self.filtering, strict=True):
            forward, adjoint = aligned(0), aligned(0)
            if isinstance(s, Linear) and not isinstance(s.layer, Dense):  # Dense packs for itself
                sizes = f.packed_floats() if f else calls.packed_floats(s.geometry, vectors)
                forward, adjoint = aligned(sizes[0]), aligned(sizes[1])
                todo = self._pack(s, f, address(forward), address(adjoint))
                self.prepare.append(Program(library(vectors), todo))
            self.packed.append((forward, adjoint))

    def _pack(self, s: Linear, f: Filtering | None, forward: int, adjoint: int) -> Iterator[Call]:
        """`forward` is for the correlation, `adjoint` for its adjoint, whichever a layer does."""
        W = address(self.params[f"{s.name}.W"])
        if f is None:
            yield from calls.pack_correlate(s.geometry, W, forward, self.vectors)
            yield from calls.pack_adjoint_x(s.geometry, W, adjoint, self.vectors)
        else:
            turned = aligned(s.layer.W.size)
            self.rooms.append(turned)
            yield from f.pack_correlate(W, forward)
            yield from f.pack_adjoint_x(W, address(turned), adjoint)

    def pack(self) -> None:
        """Pack all weights, as they are now."""

        def stages(first: int, last: int) -> None:
            for program in self.prepare[first:last]:
                program.run(0, 1)

        in_ranges(stages, len(self.prepare), sum(f.size + a.size for f, a in self.packed) * 4)


def _filtering(s: Stage, samples: int, shared: Shared) -> Filtering | None:
    """Winograd's way of doing a stage, where it has one and it pays."""
    if not _is(s, Conv2d) and not _is(s, ConvTranspose2d):
        return None
    if not Filtering.fits(s.geometry, shared.vectors):
        return None
    return Filtering(
        s.geometry, samples, shared.vectors, address(shared.zeros), address(shared.ones)
    )


def aligned(floats: int) -> Array:
    """Return zeros that begin a cache line, and if they are many, a page of 2 MB.

    NumPy asks for such pages where an array has 4 MB; one is one look-up, not 512: a step is 3 %
    faster. What is not touched takes no memory.
    """
    unit, more = (HUGE_PAGE, 2 * HUGE_PAGE) if floats > HUGE_PAGE // 4 else (ALIGNMENT, ALIGNMENT)
    room = np.zeros(floats + unit + more, np.float32)
    first = -address(room) // FLOAT % unit
    return room[first : first + floats]


class MicroBatch:
    """The buffers of `samples` samples, and the calls that take them through the network."""

    def __init__(
        self,
        stages: list[Stage],
        input_shape: Shape,
        samples: int,
        shared: Shared,
        code: int | None,
    ) -> None:
        self.stages, self.samples, self.shared, self.code = stages, samples, shared, code
        self.rows, self.columns = input_shape[0], prod(input_shape[1:])
        few = 2 * input_shape[2] <= shared.vectors.lanes
        first, last = stages[0], stages[-1]
        self.x_border = self.d_border = None
        if few and _is(first, Conv2d):
            self.x_border = Bordered(first.geometry, samples)
        if few and _is(last, ConvTranspose2d):
            self.d_border = Bordered(last.geometry, samples)
        sizes = [samples * prod(s.output_shape) for s in stages]
        arena = Arena()
        image = samples * prod(input_shape)
        self.x = arena.take(self.x_border.floats if self.x_border else image)
        self.values = [arena.take(size) for size in sizes]
        self.gradients = [arena.take(size) for size in sizes[:-1]]
        self.gradients.append(arena.take(self.d_border.floats if self.d_border else image))
        rows = [0 if isinstance(s, Linear) else samples * s.rows for s in stages]
        self.inverses, self.means = ([arena.take(n) for n in rows] for _ in range(2))
        self.u, self.codes = (self.values[code - 1], sizes[code - 1]) if code else (0, 0)
        self.du = arena.take(self.codes)  # of the second loss
        products = [s.geometry for s in stages if isinstance(s, Linear)]
        lanes = shared.vectors.lanes
        packed = (packed_size(samples * g.OH * g.OW, g.K, lanes) for g in products)
        self.panels = arena.take(max(packed))
        filtering = [f.sizes() if f else (0, 0, 0) for f in shared.filtering]
        self.x_points, self.y_points = (arena.take(max(f[k] for f in filtering)) for k in (0, 1))
        self.filters = [arena.take(sizes[2]) for sizes in filtering]
        self.size = arena.size

    def calls(self, memory: int, parts: dict[str, int], loss: int) -> list[list[Call]]:
        """Forward, loss and backward in `memory`; `parts` has the address of each gradient.

        One list; with a second loss at the code two, what makes the code, and the rest.
        """
        cut = self.code or 0
        encode = [self._load(memory + self.x * FLOAT), *self._forward(memory, 0, cut)]
        values, gradients = self._addresses(memory)
        rest = [
            *self._forward(memory, cut, len(self.stages)),
            self._loss(values, gradients[-1], loss),
            *self._backward(memory, parts),
        ]
        return [encode + rest] if self.code is None else [encode, rest]

    def _addresses(self, memory: int) -> tuple[list[int], list[int]]:
        """Where the input of each stage and the last output lie, and their gradients."""
        values = [memory + at * FLOAT for at in (self.x, *self.values)]
        return values, [0, *(memory + at * FLOAT for at in self.gradients)]

    def _forward(self, memory: int, first: int, last: int) -> Iterator[Call]:
        """The stages first … last − 1."""
        values, _ = self._addresses(memory)
        for i, s in list(enumerate(self.stages))[first:last]:
            if isinstance(s, Linear):
                b = address(self.shared.params[f"{s.name}.b"])
                slope = address(self.shared.slopes[i:])
                product = self._products(i, s, memory)
                yield from product.forward(values[i], values[i + 1], b, slope)
            else:
                yield normalizations.forward(i, s, self._place(i, memory), self.shared)

    def _backward(self, memory: int, parts: dict[str, int]) -> Iterator[Call]:
        values, gradients = self._addresses(memory)
        for i, s in reversed(list(enumerate(self.stages))):
            x, dy, dx = values[i], gradients[i + 1], gradients[i]
            if isinstance(s, Linear):
                product = self._products(i, s, memory)
                yield from product.gradient(x, dy, parts[f"{s.name}.W"])
                yield self._bias(i, s, dy, parts[f"{s.name}.b"])
                if i:
                    gate = x if self.stages[i - 1].slope != 1.0 else 0  # what the activation made
                    yield from product.backward(dy, dx, address(self.shared.slopes[i - 1 :]), gate)
                if i == self.code:
                    yield calls.sum_rows(memory + self.du * FLOAT, 1, self.codes, dx)
            else:
                place = self._place(i, memory)
                yield normalizations.backward(s, place, dy, dx, self.shared, parts)

    def _place(self, i: int, memory: int) -> Place:
        """Where a normalization has its samples."""
        x, y = self._addresses(memory)[0][i : i + 2]
        inverse, mean = (memory + at[i] * FLOAT for at in (self.inverses, self.means))
        return Place(self.samples, x, y, inverse, mean)

    def begin(self, memory: int) -> Iterator[Call]:
        """Before the first micro-batch of a part: gradients by points are 0."""
        for f, dU in zip(self.shared.filtering, self.filters, strict=True):
            if f:
                yield f.clear(memory + dU * FLOAT)

    def end(self, memory: int, parts: dict[str, int]) -> Iterator[Call]:
        """After the last one: gradients by points are turned into gradients."""
        for s, f, dU in zip(self.stages, self.shared.filtering, self.filters, strict=True):
            if f and isinstance(s, Linear):
                yield from f.finish_W(memory + dU * FLOAT, parts[f"{s.name}.W"])

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
        inside = address + border.inside * FLOAT
        return border.geometry.x_images(address)._replace(address=inside)

    def _loss(self, values: list[int], d: int, loss: int) -> Call:
        image, residual = self._image(values[0], self.x_border), self._image(d, self.d_border)
        return Call("squared_error", SQUARED_ERROR.row(
            y=values[-1], x=image.address, x_sample=image.sample, x_row=image.row,
            d=residual.address, d_sample=residual.sample, d_row=residual.row,
            samples=self.samples, rows=self.rows, columns=self.columns, total=0,
            scale=address(self.shared.scale), loss=loss, loss_sample=0,
        ))  # fmt: skip

    def _products(self, i: int, s: Linear, memory: int) -> Products:
        """The kernels that suit a stage."""
        shared, f, panels = self.shared, self.shared.filtering[i], memory + self.panels * FLOAT
        correlation, adjoint = (address(w) for w in shared.packed[i])
        if isinstance(s.layer, Dense):
            correlation = adjoint = address(shared.params[f"{s.name}.W"])
        weights = Weights(correlation, adjoint, address(shared.zeros), address(shared.ones))
        if isinstance(s.layer, Dense):
            return DenseProducts(s.geometry, self.samples, weights, panels)
        transposed = isinstance(s.layer, ConvTranspose2d)
        if f is None:
            border = self.d_border if transposed else self.x_border
            border = border if i == (len(self.stages) - 1 if transposed else 0) else None
            return TiledProducts(
                s.geometry, transposed, self.samples, weights, shared.vectors, panels, border
            )
        rooms = (memory + at * FLOAT for at in (self.x_points, self.y_points, self.filters[i]))
        return FilteredProducts(f, transposed, weights, *rooms)

    def _bias(self, i: int, s: Linear, dy: int, db: int) -> Call:
        """db += Σ dy; the zeros around bordered images change no sum."""
        K = len(s.layer.b)
        bordered = self.d_border if i == len(self.stages) - 1 else None
        floats = bordered.floats if bordered else self.samples * prod(s.output_shape)
        return calls.sum_rows(dy, floats // K, K, db)


def _is(stage: Stage, kind: type) -> TypeGuard[Linear]:
    return isinstance(stage, Linear) and isinstance(stage.layer, kind)
