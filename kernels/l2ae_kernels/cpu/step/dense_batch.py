"""A batch that goes through a network of dense layers: its memory, and its calls by region.

    forward    stages up to the next batch norm, at last Eq. 3 and its gradient
    backward   the same from the end, dx alone

A batch norm cuts both in two: its moments, and the sums of its adjoint, are those of all samples,
made of those of fixed blocks of samples (batch_norm.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import NamedTuple
from weakref import proxy

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels.amx_dense import workspace_floats
from l2ae_kernels.cpu.microkernels.library import Kernels
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call, Program, address
from l2ae_kernels.cpu.step.batch_norm import BatchNorm
from l2ae_kernels.cpu.step.dense_weights import WeightGradient, kernel, tile_floats
from l2ae_kernels.cpu.step.memory import AdamProgram, Arena, Constants, aligned
from l2ae_kernels.cpu.step.passes import (
    LOSS,
    NORMALIZED,
    NORMALIZED_ADJOINT,
    Layout,
    Part,
    Passes,
    calls_of,
    squared_error,
)
from l2ae_kernels.cpu.step.products import DenseProduct, geometry
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.geometry import Images
from l2ae_kernels.stages import Params, Shape, Stage

SAMPLES = 256  # that go through a layer together: a block of x for them fits the second-level cache
# Samples whose moments a batch norm has, or that a tile of AMX has of xᵀ; threads take whole blocks
# where there is either.
BLOCK = 32


@dataclass(frozen=True, kw_only=True)
class TiledDense(DenseProduct):
    """A dense layer whose dW is made later, over all samples: x is laid out in tiles for it."""

    weights: WeightGradient
    first: int  # of the samples

    def forward(self, x: int, y: int, b: int, slope: int) -> Iterator[Call]:
        yield from self.weights.tiles(x, self.samples, self.first)
        yield from super().forward(x, y, b, slope)

    def correlate(self, x: int, y: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        return self._renamed(super().correlate(x, y, b, slope, gate))

    def adjoint_x(self, y: int, x: int, b: int, slope: int, gate: int) -> Iterator[Call]:
        return self._renamed(super().adjoint_x(y, x, b, slope, gate))

    def _renamed(self, calls: Iterator[Call]) -> Iterator[Call]:
        return (c._replace(kernel=kernel(c.kernel, self.weights.parts)) for c in calls)

    def gradient(self, x: int, dy: int) -> Iterator[Call]:
        return iter(())


class Region(NamedTuple):
    """What threads do for ranges of samples, up to the next batch norm: parts(first, last).

    What has to do with batch norms is `before` and `behind` it, each call for a block of samples,
    and `between` this region and the next one, for all samples.
    """

    name: str
    before: list[Part]
    parts: Callable[[int, int], Iterator[Part]]
    behind: list[Part]
    between: list[Part]


class Batch:
    """The buffers of N samples, and the calls that take ranges of them through the network."""

    def __init__(
        self,
        stages: Sequence[Stage],
        input_shape: Shape,
        N: int,
        constants: Constants,
        code: int | None,
        state: Params,
        sums: Params,
        vectors: Vectors,
    ) -> None:
        self.stages, self.input_shape, self.N, self.constants = stages, input_shape, N, constants
        self.code, self.vectors, arena = code, vectors, Arena()
        cuts = [i for i, s in enumerate(stages) if s.kind == "batch_norm"]
        self.block = BLOCK if cuts or vectors.parts else 1
        self.blocks = -(-N // self.block)
        self.layout = Layout(stages, input_shape, self.blocks * self.block, code, arena)
        self.sizes = self.layout.sizes
        tiles = [arena.take(tile_floats(n, N, vectors.parts)) for n in self.sizes[:-1]]
        self.memory = aligned(arena.size)
        self.base = address(self.memory)
        self.tiles = [self.base + offset * FLOAT for offset in tiles]
        self.x = self.memory[: N * self.sizes[0]].reshape(N, *input_shape)
        self.u, self.du = self.layout.codes(self.memory, N)  # du: of the second loss
        self.losses = np.zeros(N)  # float64, added in order
        self.norms = {i: self._norm(i, state, sums) for i in cuts}
        ranges = [*pairwise([0, *cuts, len(stages)])]
        self.forward = [self._forward(first, last) for first, last in ranges]
        self.backward = [self._backward(first, last) for first, last in reversed(ranges)]
        self.programs: dict[tuple[str, int, int], Program] = {}
        self.workspaces: dict[tuple[int, int], Array] = {}  # of ranges of samples
        self.write: Program | None = None  # all gradients
        self.apply = AdamProgram()
        self.multiply_adds = N * sum(geometry(s).multiply_adds for s in stages if s.linear)

    def run(self, code: Kernels, regions: Sequence[Region]) -> None:
        """Make the calls of `forward` or `backward` for all samples, over threads."""

        def blocks(region: Region, first: int, last: int) -> None:
            n, end = self.samples_of(first, last)
            self._program(code, f"{region.name}, before", region.before).run(first, last)
            key = region.name, n, end
            if key not in self.programs:
                self.programs[key] = Program(code, calls_of(region.parts(n, end)))
            self.programs[key].run(0, 1)
            self._program(code, f"{region.name}, behind", region.behind).run(first, last)

        for region in regions:
            in_ranges(blocks, self.blocks, self.multiply_adds // len(regions), region)
            self._program(code, f"{region.name}, between", region.between).run(0, 1)

    def samples_of(self, first: int, last: int) -> tuple[int, int]:
        """Return the first sample of a range of blocks, and the one behind the last."""
        return first * self.block, min(last * self.block, self.N)

    def _program(self, code: Kernels, name: str, parts: Iterable[Part]) -> Program:
        """The program of parts that are those of all samples."""
        key = name, 0, self.N
        if key not in self.programs:
            self.programs[key] = Program(code, calls_of(parts))
        return self.programs[key]

    def _forward(self, first: int, last: int) -> Region:
        """Stages first … last − 1, loss and its gradient; inputs in tiles, for dW of layers."""
        size, row = self.sizes[0], prod(self.input_shape[1:])
        batch = proxy(self)  # the batch holds its regions: its memory goes as soon as it does

        def parts(begin: int, end: int) -> Iterator[Part]:
            for n, passes in batch._blocks(begin, end):
                yield from passes.forward(first + (first in batch.norms), last)
                if last in batch.norms:
                    continue
                x, d = (
                    Images(at, size, row, 0)
                    for at in (passes.at.values[0], passes.at.gradients[-1])
                )
                count, loss = passes.at.samples, address(batch.losses[n:])
                call = squared_error(
                    passes.at.values[-1], x, d, batch.input_shape, count, count, batch.constants,
                    loss, 1,
                )  # fmt: skip
                yield Part(None, LOSS, [call])

        whole, norm = self._whole, self.norms.get(last)
        return Region(
            f"forward {first}",
            [*whole.forward(first, first + (first in self.norms))],
            parts,
            [whole.moments(last)] if norm else [],
            [Part(last, NORMALIZED, [norm.add_moments()])] if norm else [],
        )

    def _backward(self, first: int, last: int) -> Region:
        """dx of stages last − 1 … first but of the first of all, with the mask of what made x."""
        batch = proxy(self)

        def parts(begin: int, end: int) -> Iterator[Part]:
            for _, passes in batch._blocks(begin, end):
                yield from passes.backward(first + (first in batch.norms), last, batch.code, {})

        whole, norm = self._whole, self.norms.get(first)
        return Region(
            f"backward {first}",
            [whole.adjoint(last)] if last in self.norms else [],
            parts,
            [*whole.backward(first, first + (first in self.norms), None, {})],
            [Part(first, NORMALIZED_ADJOINT, [norm.add_sums()])] if norm else [],
        )

    @property
    def _whole(self) -> Passes:
        """The calls of batch norms, which know themselves where a block begins."""
        at = self.layout.at(self.base, self.N)
        return Passes(self.stages, {}, self.norms, at, self.constants)

    def _norm(self, i: int, state: Params, sums: Params) -> BatchNorm:
        """Batch norm i, over what there is of all samples anyway."""
        at = self.layout.at(self.base, self.N)
        return BatchNorm(
            i, self.stages[i], BLOCK, self.blocks, self.constants, state,
            {name: address(a) for name, a in sums.items()},
            kept=(at.values[i], at.gradients[i + 1]), total=self.N,
        )  # fmt: skip

    def _blocks(self, first: int, last: int) -> Iterator[tuple[int, Passes]]:
        """SAMPLES at a time: the first of them, and their passes."""
        workspace = self._workspace(first, last)
        for n in range(first, last, SAMPLES):
            count = min(SAMPLES, last - n)
            products = {
                i: self._product(i, s, n, count, workspace)
                for i, s in enumerate(self.stages)
                if s.linear
            }
            at = self.layout.at(self.base, count, n)
            yield n, Passes(self.stages, products, {}, at, self.constants)

    def _workspace(self, first: int, last: int) -> int:
        """The address of what the products of a range need."""
        if not self.vectors.parts:
            return 0
        if (first, last) not in self.workspaces:
            self.workspaces[first, last] = aligned(workspace_floats(self.vectors.parts))
        return address(self.workspaces[first, last])

    def _product(self, i: int, s: Stage, n: int, count: int, workspace: int) -> TiledDense:
        W = self.constants.parameter(s, "W")
        zeros, one = address(self.constants.zeros), address(self.constants.ones)
        return TiledDense(
            geometry(s),
            False,
            count,
            W,
            W,
            zeros,
            one,
            0,
            0,
            weights=self.weights(i),
            first=n,
            workspace=workspace,
        )

    def weights(self, i: int) -> WeightGradient:
        """dW of stage i, made of what the passes leave."""
        return WeightGradient(
            self.tiles[i], self.base + self.layout.gradients[i + 1] * FLOAT,
            address(self.constants.ones), self.N, self.sizes[i], self.sizes[i + 1],
            self.vectors.outputs, self.vectors.parts,
        )  # fmt: skip
