"""A micro-batch that goes through a network with convolutions: its memory and its programs.

What changes against layer by layer, where a whole batch passes one layer after the other and every
activation travels to main memory and back: activations of a micro-batch stay in the second-level
cache. Bias, activation and its mask are applied to sums that are still in registers. All memory is
set aside when the step is made.

Batch norm needs sums over all samples, twice: the moments of its input, and the sums of its
adjoint. So each batch norm cuts the pass of a micro-batch twice; two of them make five phases:

    conv | norm conv | norm conv, loss, conv norm | conv norm | conv
         moments     moments                     sums        sums

A phase takes all micro-batches through its stages before the next one begins. What is kept of the
batch in between is the input of each batch norm and the gradient of its output; the inputs of other
stages are computed again when the backward pass comes to them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels import batch_norm, calls
from l2ae_kernels.cpu.microkernels.elementwise import SQUARED_ERROR
from l2ae_kernels.cpu.microkernels.library import Kernels, library
from l2ae_kernels.cpu.microkernels.pack import COPY, packed_size
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call, Program, address
from l2ae_kernels.cpu.microkernels.winograd_calls import Winograd
from l2ae_kernels.cpu.microkernels.winograd_products import MULTIPLY_ADJOINT
from l2ae_kernels.cpu.step.batch_norm import BatchNorm
from l2ae_kernels.cpu.step.memory import Arena, Constants, aligned
from l2ae_kernels.cpu.step.passes import (
    LOSS,
    Buffers,
    Layout,
    Part,
    Passes,
    calls_of,
    squared_error,
)
from l2ae_kernels.cpu.step.products import (
    DenseProduct,
    Padded,
    Product,
    TiledProduct,
    WinogradProduct,
    geometry,
)
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.geometry import Images
from l2ae_kernels.stages import Params, Shape, Stage


class PackedWeights(Constants):
    """What all threads read, packed weights too; `samples` go through a stage together."""

    def __init__(
        self, stages: Sequence[Stage], params: Params, vectors: Vectors, samples: int
    ) -> None:
        super().__init__(stages, params)
        self.vectors, self.floats = vectors, 0
        self.workspaces: list[Array] = []  # that packing needs
        self.winograd = [self._winograd(s, samples) for s in stages]
        self.packed: list[tuple[int, int]] = []  # for the correlation, for its adjoint
        self.arrays: list[Array] = []  # which hold them
        self.prepare: list[Program] = []  # each packs the weights of one stage
        for s, f in zip(stages, self.winograd, strict=True):
            if s.kind not in ("conv", "conv_transpose"):  # dense kernels pack for themselves
                W = self.parameter(s, "W") if s.linear else 0
                self.packed.append((W, W))
                continue
            sizes = f.packed_floats() if f else calls.packed_floats(geometry(s), vectors)
            arrays = [aligned(floats) for floats in sizes]
            self.arrays += arrays
            self.floats += sum(sizes)
            self.packed.append((address(arrays[0]), address(arrays[1])))
            self.prepare.append(Program(library(vectors), self._pack(s, f, *self.packed[-1])))

    def _winograd(self, s: Stage, samples: int) -> Winograd | None:
        """Winograd's way of doing a stage, where it has one and it pays."""
        if not s.linear or s.kind == "dense" or not Winograd.fits(geometry(s), self.vectors):
            return None
        g, zeros, one = geometry(s), address(self.zeros), address(self.ones)
        return Winograd(g, Winograd.piece(g, samples), self.vectors, zeros, one)

    def _pack(self, s: Stage, f: Winograd | None, forward: int, adjoint: int) -> Iterator[Call]:
        W = self.parameter(s, "W")
        if f is None:
            yield from calls.pack_correlate(geometry(s), W, forward, self.vectors)
            yield from calls.pack_adjoint_x(geometry(s), W, adjoint, self.vectors)
        else:
            workspace = aligned(self.params[f"{s.name}.W"].size)
            self.workspaces.append(workspace)
            yield from f.pack_correlate(W, forward)
            yield from f.pack_adjoint_x(W, address(workspace), adjoint)

    def pack(self) -> None:
        """Pack all weights, as they are now."""

        def stages(first: int, last: int) -> None:
            for program in self.prepare[first:last]:
                program.run(0, 1)

        in_ranges(stages, len(self.prepare), self.floats * 4)


# Where the row of a kernel has the samples of the batch, which are set in every step.
TOTAL = {
    kernel: arguments.names.index("total")
    for kernel, arguments in {
        "copy": COPY, "squared_error": SQUARED_ERROR, **batch_norm.KERNELS,
    }.items()
}  # fmt: skip
DU, FIRST = map(MULTIPLY_ADJOINT.names.index, ("dw", "first"))


def set_total(calls: Iterable[Call], count: int) -> None:
    """Let a batch have `count` samples."""
    for call in calls:
        call.row[TOTAL[call.kernel]] = count


class Phase(NamedTuple):
    """What a shard does with all its micro-batches before the next phase begins."""

    micro_batch: list[list[Part]]  # one, or two where a second loss acts: up to the code, the rest
    end: list[Part]

    @property
    def parts(self) -> list[Part]:
        """All parts of a micro-batch."""
        return [part for some in self.micro_batch for part in some]


class Programs:
    """What one thread runs for one shard of the gradients, in one phase."""

    def __init__(self, code: Kernels, phase: Phase) -> None:
        self.phase = phase  # with the same calls
        self.end = Program(code, calls_of(phase.end))
        self.micro_batch = [Program(code, calls_of(some)) for some in phase.micro_batch]
        calls = [*calls_of(phase.parts)]
        self.sized = [call for call in calls if call.kernel in TOTAL]
        self.adjoints: dict[int, Call] = {}  # the first that writes to each dU; others add to it
        for call in calls:
            if call.kernel == "multiply_adjoint":
                self.adjoints.setdefault(int(call.row[DU]), call)

    def read(self, x: Array, first: int, count: int, micro_batch: int) -> None:
        """Let the micro-batches be those of `count` images (H, W, C), of which x are some.

        They count from image 0, of which x has those from `first` on. `micro_batch` is the first
        of the shard.
        """
        for call in self.adjoints.values():
            call.row[FIRST] = micro_batch
        set_total(self.sized, count)
        for call in self.sized:
            if call.kernel == "copy":
                begin = address(x) - first * prod(x.shape[1:]) * FLOAT
                call.row[COPY.names.index("source")] = begin


class MicroBatch:
    """The layout of the buffers of `samples` samples, and the programs that use them."""

    def __init__(
        self,
        stages: Sequence[Stage],
        input_shape: Shape,
        samples: int,
        weights: PackedWeights,
        code: int | None,
    ) -> None:
        self.stages, self.samples, self.weights, self.code = stages, samples, weights, code
        self.image = input_shape
        norms = [i for i, s in enumerate(stages) if s.kind == "batch_norm"]
        self.ranges = [*pairwise([0, *norms, len(stages)])]  # of stages, cut before each batch norm
        lanes, first, last = weights.vectors.lanes, stages[0], stages[-1]
        few = 2 * input_shape[2] <= lanes
        self.x_padded = self.d_padded = None
        if few and first.kind == "conv" and first.input_shape == input_shape:
            self.x_padded = Padded(geometry(first), samples)
        if few and last.kind == "conv_transpose" and last.output_shape == input_shape:
            self.d_padded = Padded(geometry(last), samples)
        arena = Arena()
        x, d = (p.floats if p else 0 for p in (self.x_padded, self.d_padded))
        self.layout = Layout(stages, input_shape, samples, code, arena, x, d)
        linear = [geometry(s) for s in stages if s.linear]
        self.panels = arena.take(
            max(packed_size(samples * g.OH * g.OW, g.K, lanes) for g in linear)
        )
        transform = [f.sizes() if f else (0, 0, 0) for f in weights.winograd]
        self.x_transform, self.y_transform = (
            arena.take(max(f[k] for f in transform)) for k in (0, 1)
        )
        self.dU = [arena.take(sizes[2]) for sizes in transform]
        self.size = arena.size

    def norms(
        self, micro_batches: int, state: Params, shard: dict[str, int]
    ) -> dict[int, BatchNorm]:
        """Return the batch norms, with room for a batch of so many micro-batches."""
        return {
            i: BatchNorm(i, self.stages[i], self.samples, micro_batches, self.weights, state, shard)
            for i, _ in self.ranges[1:]
        }

    def phases(
        self, memory: int, shard: dict[str, int], loss: int, norms: Mapping[int, BatchNorm]
    ) -> list[Phase]:
        """Return the phases in `memory`; `shard` has the address of each gradient."""
        at, products = self.layout.at(memory, self.samples), self._products(memory, shard)
        passes = Passes(self.stages, products, norms, at, self.weights)
        load = Part(None, "copy", [self._load(at.values[0])])
        error = Part(None, LOSS, [self._loss(at, loss)])

        def forward(first: int, last: int) -> list[Part]:
            return [*([load] if first == 0 else []), *passes.forward(first, last)]

        def backward(first: int, last: int) -> Phase:
            inside = {i: p for i, p in products.items() if first <= i < last}
            code = self.code if self.code in inside else None
            again, turn = last, [load, error] if first else [error]
            if last < len(self.stages):  # what a product in front of a batch norm gives is kept
                again, turn = last - self.stages[last - 1].linear, [passes.adjoint(last)]
            todo = [forward(first, again if code is None else code)]
            if code is not None:
                todo.append([*passes.forward(code, again)])
            todo[-1] += [*turn, *passes.backward(first, last, code, shard)]
            return Phase(
                todo,
                [Part(i, "end", [*p.end()]) for i, p in inside.items()],
            )

        *before, _ = self.ranges
        return [
            *(Phase([[*forward(*cut), passes.moments(cut[1])]], []) for cut in before),
            *(backward(*cut) for cut in reversed(self.ranges)),
        ]

    def _products(self, memory: int, shard: dict[str, int]) -> dict[int, Product]:
        """The kernels that suit each linear stage."""
        products: dict[int, Product] = {}
        weights, panels = self.weights, memory + self.panels * FLOAT
        ends = {0: self.x_padded, len(self.stages) - 1: self.d_padded}
        for i, s in enumerate(self.stages):
            if not s.linear:
                continue
            dW, db = shard[f"{s.name}.W"], shard[f"{s.name}.b"]
            common = (
                geometry(s), s.kind == "conv_transpose", self.samples, *weights.packed[i],
                address(weights.zeros), address(weights.ones), dW, db,
            )  # fmt: skip
            winograd = weights.winograd[i]
            if s.kind == "dense":
                products[i] = DenseProduct(*common, panels)
            elif winograd is None:
                products[i] = TiledProduct(
                    *common, vectors=weights.vectors, panels=panels, padded=ends.get(i)
                )
            else:
                x, y, dU = (
                    memory + offset * FLOAT
                    for offset in (self.x_transform, self.y_transform, self.dU[i])
                )
                products[i] = WinogradProduct(
                    *common, winograd=winograd, x_transform=x, y_transform=y, dU=dU
                )
        return products

    def _load(self, x: int) -> Call:
        """Copy the micro-batch from the batch, whose address and length are set in every step."""
        image, (rows, columns) = self._images(x, self.x_padded), self._rows
        return Call("copy", COPY.row(
            source=0, source_sample=rows * columns, source_row=columns, source_column=1,
            source_batch=self.samples * rows * columns, target=image.address,
            target_sample=image.sample, target_row=image.row, target_column=1,
            samples=self.samples, rows=rows, columns=columns, total=0,
        ))  # fmt: skip

    def _loss(self, at: Buffers, loss: int) -> Call:
        x = self._images(at.values[0], self.x_padded)
        d = self._images(at.gradients[-1], self.d_padded)
        return squared_error(
            at.values[-1], x, d, self.image, self.samples, 0, self.weights, loss, 0
        )

    @property
    def _rows(self) -> tuple[int, int]:
        """Rows of an image and the numbers in each."""
        return self.image[0], prod(self.image[1:])

    def _images(self, address: int, padded: Padded | None) -> Images:
        """Where the images themselves lie, inside their padding if they have one."""
        if padded is None:
            rows, columns = self._rows
            return Images(address, rows * columns, columns, 0)
        inside = address + padded.inside * FLOAT
        return padded.geometry.x_images(address)._replace(address=inside)
