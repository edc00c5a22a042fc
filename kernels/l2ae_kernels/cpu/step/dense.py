"""The compiled step of a network of dense layers: three parallel regions, each in one call a
thread.

    forward    all layers, Eq. 3 and its gradient        threads take ranges of samples
    (code)     du of a second loss, see stages.LatentGrad    in Python, if there is one
    backward   all dx                                    threads take ranges of samples
    weights    all dW, db, and Adam on them              threads take panels of weights

Dense layers have many weights and small activations: 3.3 million and 1.7 for a batch of 256 of the
network in the paper. So, unlike with convolutions, the whole batch is kept, and dW is made last, a
few columns over all samples at a time (kernels: l2ae_kernels.cpu.microkernels.dense). There are no
private sums of 13 MB a thread to write, read and add; where Adam follows at once there is no dW in
memory at all.

Every number is one sum in a fixed order, so no result depends on the number of threads.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.library import Kernels, library
from l2ae_kernels.cpu.microkernels.ops import vectors_here
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call, Program, address
from l2ae_kernels.cpu.step.dense_weights import Addresses, WeightGradient
from l2ae_kernels.cpu.step.memory import AdamProgram, Arena, Constants, aligned
from l2ae_kernels.cpu.step.passes import LOSS, Layout, Part, Passes, calls_of, squared_error
from l2ae_kernels.cpu.step.products import DenseProduct, geometry
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.geometry import Images
from l2ae_kernels.stages import (
    AdamSettings,
    Params,
    Reduction,
    Shape,
    Stage,
    TrainingStep,
    code_stage,
)

SAMPLES = 256  # that go through a layer together: a block of x for them fits the second-level cache
GROUPS = 16  # of panels, filled round-robin, so that threads with equally many have equal work
T = TypeVar("T")
BATCHES = 4  # sizes of batches whose buffers are kept


@dataclass(frozen=True, kw_only=True)
class TiledDense(DenseProduct):
    """A dense layer whose dW is made later, over all samples: x is laid out in tiles for it."""

    weights: WeightGradient
    first: int  # of the samples

    def forward(self, x: int, y: int, b: int, slope: int) -> Iterator[Call]:
        yield from self.weights.tiles(x, self.samples, self.first)
        yield from super().forward(x, y, b, slope)

    def gradient(self, x: int, dy: int) -> Iterator[Call]:
        return iter(())


class Batch:
    """The buffers of N samples, and the calls that take a range of them through the network."""

    def __init__(
        self,
        stages: Sequence[Stage],
        input_shape: Shape,
        N: int,
        constants: Constants,
        code: int | None,
    ) -> None:
        self.stages, self.input_shape, self.N, self.constants = stages, input_shape, N, constants
        self.code, arena = code, Arena()
        self.layout = Layout(stages, input_shape, N, code, arena)
        self.sizes = self.layout.sizes
        tiles = [arena.take(N * size) for size in self.sizes[:-1]]
        self.memory = aligned(arena.size)
        self.base = address(self.memory)
        self.tiles = [self.base + offset * FLOAT for offset in tiles]
        self.x = self.memory[: N * self.sizes[0]].reshape(N, *input_shape)
        self.u, self.du = self.layout.codes(self.memory, N)  # du: of the second loss
        self.losses = np.zeros(N)  # float64, added in order
        self.programs: dict[tuple[str, int, int], Program] = {}
        self.write: Program | None = None  # all gradients
        self.apply = AdamProgram()
        self.multiply_adds = N * sum(geometry(s).multiply_adds for s in stages if s.linear)

    def run(self, code: Kernels, calls: Callable[[int, int], Iterator[Part]]) -> None:
        """Make the calls of `forward` or `backward` for all samples, over threads."""

        def samples(first: int, last: int) -> None:
            key = calls.__name__, first, last
            if key not in self.programs:
                self.programs[key] = Program(code, calls_of(calls(first, last)))
            self.programs[key].run(0, 1)

        in_ranges(samples, self.N, self.multiply_adds)

    def forward(self, first: int, last: int) -> Iterator[Part]:
        """All layers, loss and its gradient; inputs of layers in tiles, for their dW."""
        size, row = self.sizes[0], prod(self.input_shape[1:])
        for n, passes in self._blocks(first, last):
            yield from passes.forward(0, len(self.stages))
            x, d = (
                Images(at, size, row, 0) for at in (passes.at.values[0], passes.at.gradients[-1])
            )
            count, loss = passes.at.samples, address(self.losses[n:])
            call = squared_error(
                passes.at.values[-1], x, d, self.input_shape, count, count, self.constants, loss, 1
            )
            yield Part(None, LOSS, [call])

    def backward(self, first: int, last: int) -> Iterator[Part]:
        """dx of all layers but the first, times the mask of the activation that made x."""
        for _, passes in self._blocks(first, last):
            yield from passes.backward(self.code, {})

    def _blocks(self, first: int, last: int) -> Iterator[tuple[int, Passes]]:
        """Blocks of samples: the first of each, and its passes."""
        for n in range(first, last, SAMPLES):
            count = min(SAMPLES, last - n)
            products = {
                i: self._product(i, s, n, count) for i, s in enumerate(self.stages) if s.linear
            }
            at = self.layout.at(self.base, count, n)
            yield n, Passes(self.stages, products, at, self.constants)

    def _product(self, i: int, s: Stage, n: int, count: int) -> TiledDense:
        W = self.constants.parameter(s, "W")
        zeros, one = address(self.constants.zeros), address(self.constants.ones)
        return TiledDense(
            geometry(s), False, count, W, W, zeros, one, 0, 0, weights=self.weights(i), first=n
        )

    def weights(self, i: int) -> WeightGradient:
        """dW of stage i, made of what the passes leave."""
        return WeightGradient(
            self.tiles[i], self.base + self.layout.gradients[i + 1] * FLOAT,
            address(self.constants.ones), self.N, self.sizes[i], self.sizes[i + 1],
        )  # fmt: skip


class DenseStep(TrainingStep):
    """Loss and gradients of a batch, or a step of Adam, for one network of dense layers."""

    def __post_init__(self) -> None:
        self.code = code_stage(self.stages) if self.latent_grad else None
        self.library = library(vectors_here())
        self.constants = Constants(self.stages, self.params)
        self.sums = {name: np.zeros_like(p) for name, p in self.params.items()}
        self.batches: dict[int, Batch] = {}
        self.batch: Batch | None = None  # the last one

    def loss(self, x: Array, reduction: Reduction = "mean") -> float:
        """Forward of all samples; the second loss."""
        divisor = self.divisor(x, reduction)
        batch = self.begin_loss(x, divisor)
        batch.run(self.library, batch.forward)
        if self.latent_grad is not None:
            batch.du[:] = self.latent_grad(0, batch.u)
        return float(batch.losses.sum()) / divisor

    def begin_loss(self, x: Array, divisor: int) -> Batch:
        """Return the buffers for x, which they have then, and let the loss be over `divisor`."""
        batch = self.batch = self._batch(len(x))
        self.constants.scale[0] = 2.0 / divisor
        batch.losses[:] = 0
        batch.x[:] = x
        return batch

    def grads(self) -> Params:
        batch = self._backward()
        if batch.write is None:
            weights = self.weights_of(batch)
            todo = round_robin(w.calls(_like(s, self.sums)) for s, w in weights)
            batch.write = Program(self.library, todo)
        self._run(batch, batch.write)
        return self.sums

    def adam(self, m: Params, v: Params, settings: AdamSettings, step: int) -> None:
        batch = self._backward()
        self._run(batch, self.adam_program(batch, m, v, settings, step))

    def adam_program(
        self, batch: Batch, m: Params, v: Params, settings: AdamSettings, step: int
    ) -> Program:
        """Return the calls that make dW and db of all samples, and a step of Adam with them."""
        return batch.apply.program(self.library, self._adam_calls, m, v, settings, step)

    def _batch(self, N: int) -> Batch:
        if N not in self.batches:
            if len(self.batches) == BATCHES:
                self.batches.clear()
            self.batches[N] = Batch(self.stages, self.input_shape, N, self.constants, self.code)
        return self.batches[N]

    def _backward(self) -> Batch:
        if self.batch is None:
            raise ValueError("training_step: no loss was asked for whose gradients these would be")
        self.batch.run(self.library, self.batch.backward)
        return self.batch

    def _run(self, batch: Batch, panels: Program) -> None:
        in_ranges(panels.run_calls, len(panels.calls), batch.multiply_adds)

    def weights_of(self, batch: Batch) -> Iterator[tuple[Stage, WeightGradient]]:
        """dW of every dense layer."""
        return ((s, batch.weights(i)) for i, s in enumerate(self.stages) if s.linear)

    def _adam_calls(self, m: Params, v: Params, numbers: int) -> list[Call]:
        assert self.batch is not None
        self.require_moments(m, v)
        return round_robin(
            w.adam_calls(
                _like(s, self.sums), to=_like(s, self.params), m=_like(s, m), v=_like(s, v),
                numbers=numbers,
            )
            for s, w in self.weights_of(self.batch)
        )  # fmt: skip


def _like(s: Stage, arrays: Params) -> Addresses:
    """Where what belongs to W and b of a stage lies."""
    return Addresses(address(arrays[f"{s.name}.W"]), address(arrays[f"{s.name}.b"]))


def round_robin(layers: Iterable[Iterable[T]]) -> list[T]:
    """The calls of all layers, in GROUPS groups: neighbours go to different ones."""
    todo = [call for layer in layers for call in layer]
    return [call for group in range(GROUPS) for call in todo[group::GROUPS]]
