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

from collections.abc import Callable, Iterator
from math import isfinite, prod

import numpy as np

from l2ae_core.layers import Params, Shape
from l2ae_core.training import normalizations
from l2ae_core.training.compiled import Arena
from l2ae_core.training.loss import Reduction
from l2ae_core.training.normalizations import Constants, Normalization, Place
from l2ae_core.training.optim import AdamUpdate, Optimizer
from l2ae_core.training.stages import LatentGrad, Linear, Stage, code_stage
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels.calls import FLOAT, Call, sum_rows
from l2ae_kernels.cpu.microkernels.dense_calls import (
    Gradient,
    Weights,
    dense,
)
from l2ae_kernels.cpu.microkernels.elementwise import SQUARED_ERROR
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.ops import address
from l2ae_kernels.cpu.microkernels.program import Program
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.geometry import Images

SAMPLES = 256  # that go through a layer together: a block of x for them fits the second-level cache
HANDS = 16  # into which panels are dealt, so that threads with equally many have equal work
BATCHES = 4  # sizes of batches whose buffers are kept


class Batch:
    """The buffers of N samples, and the calls that take a range of them through the network."""

    def __init__(
        self, stages: list[Stage], input_shape: Shape, N: int, shared: Constants, code: int | None
    ) -> None:
        self.stages, self.input_shape, self.N, self.shared = stages, input_shape, N, shared
        self.sizes = [prod(input_shape), *(prod(s.output_shape) for s in stages)]
        arena = Arena()
        values = [arena.take(N * size) for size in self.sizes]
        gradients = [arena.take(N * size) for size in self.sizes[1:]]
        tiled = [arena.take(N * size) for size in self.sizes[:-1]]
        rows = [0 if isinstance(s, Linear) else N * s.rows for s in stages]
        inverses, means = ([arena.take(n) for n in rows] for _ in range(2))
        du = arena.take(N * self.sizes[code]) if code is not None else 0
        self.memory = np.zeros(arena.size, np.float32)
        base = address(self.memory)
        self.values, self.gradients, self.tiles, self.inverses, self.means = (
            [base + offset * FLOAT for offset in offsets]
            for offsets in (values, [0, *gradients], tiled, inverses, means)
        )
        self.x = self.memory[: N * self.sizes[0]].reshape(N, *input_shape)
        if code is not None:
            shape = N, self.sizes[code]
            self.u = self.memory[values[code] :][: prod(shape)].reshape(shape)
            self.du = self.memory[du:][: prod(shape)].reshape(shape)  # of the second loss
        self.code = code
        self.losses = np.zeros(N)  # float64, added in order
        self.programs: dict[tuple[str, int, int], Program] = {}
        self.gradient_program: Program | None = None
        self.adam_program: tuple[AdamUpdate, Program] | None = None

    def run(self, code: Library, calls: Callable[[int, int], Iterator[Call]]) -> None:
        """Make the calls of `forward` or `backward` for all samples, over threads."""

        def samples(first: int, last: int) -> None:
            key = calls.__name__, first, last
            if key not in self.programs:
                self.programs[key] = Program(code, calls(first, last))
            self.programs[key].run(0, 1)

        in_ranges(samples, self.N, self.N * self.multiply_adds)

    @property
    def multiply_adds(self) -> int:
        """Products of one sample in one direction."""
        return sum(s.geometry.multiply_adds for s in self.stages if isinstance(s, Linear))

    def forward(self, first: int, last: int) -> Iterator[Call]:
        """All layers, loss and its gradient; inputs of layers in tiles, for their dW."""
        for n in range(first, last, SAMPLES):
            count = min(SAMPLES, last - n)
            for i, s in enumerate(self.stages):
                x, y = self._at(self.values, i, n), self._at(self.values, i + 1, n)
                if not isinstance(s, Linear):
                    yield normalizations.forward(i, s, self._place(i, s, n, count), self.shared)
                    continue
                yield from self.product(i).tiles(x.address, count, n)
                yield dense(
                    count, x.sample, y.sample, x, self.weights(s, self.shared.params).W,
                    self.weights(s, self.shared.params).b, y, turned=False,
                    one=address(self.shared.ones), slope=address(self.shared.slopes[i:]),
                )  # fmt: skip
            yield self._loss(n, count)

    def _loss(self, n: int, count: int) -> Call:
        H, W, C = self.input_shape
        x, y = self._at(self.values, 0, n), self._at(self.values, -1, n)
        d = self._at(self.gradients, -1, n)
        return Call("squared_error", SQUARED_ERROR.row(
            y=y.address, x=x.address, x_sample=x.sample, x_row=W * C, d=d.address,
            d_sample=d.sample, d_row=W * C, samples=count, rows=H, columns=W * C, total=count,
            scale=address(self.shared.scale), loss=address(self.losses[n:]), loss_sample=1,
        ))  # fmt: skip

    def backward(self, first: int, last: int) -> Iterator[Call]:
        """dx of all layers but the first, times the mask of the activation that made x."""
        for n in range(first, last, SAMPLES):
            count = min(SAMPLES, last - n)
            for i, s in reversed(list(enumerate(self.stages))[1:]):
                dx, dy = self._at(self.gradients, i, n), self._at(self.gradients, i + 1, n)
                if not isinstance(s, Linear):
                    place = self._place(i, s, n, count)
                    yield normalizations.backward(s, place, dy.address, dx.address, self.shared, {})
                    continue
                active = self.stages[i - 1].slope != 1.0
                yield dense(
                    count, dy.sample, dx.sample, dy, self.weights(s, self.shared.params).W,
                    address(self.shared.zeros), dx, turned=True, one=address(self.shared.ones),
                    slope=address(self.shared.slopes[i - 1 :]),
                    gate=self._at(self.values, i, n).address if active else 0,
                )  # fmt: skip
                if i == self.code:
                    du = address(self.du[n:])
                    yield sum_rows(du, 1, count * dx.sample, dx.address)

    def _place(self, i: int, s: Normalization, n: int, count: int) -> Place:
        """Where a normalization has the samples n … n + count − 1."""
        x, y = (self._at(self.values, k, n).address for k in (i, i + 1))
        inverse, mean = (at[i] + n * s.rows * FLOAT for at in (self.inverses, self.means))
        return Place(count, x, y, inverse, mean)

    def _at(self, buffers: list[int], i: int, n: int) -> Images:
        """Sample n of buffer i, which holds vectors of the size of x (0) or of a stage's output."""
        size = self.sizes[i]
        return Images(buffers[i] + n * size * FLOAT, size, 0, 0)

    def product(self, i: int) -> Gradient:
        """dW of stage i, made of what the other two regions leave."""
        return Gradient(
            self.tiles[i], self.gradients[i + 1], address(self.shared.ones), self.N,
            self.sizes[i], self.sizes[i + 1],
        )  # fmt: skip

    def products(self) -> Iterator[tuple[Linear, Gradient]]:
        """dW of every dense layer."""
        for i, s in enumerate(self.stages):
            if isinstance(s, Linear):
                yield s, self.product(i)

    @staticmethod
    def weights(s: Linear, arrays: Params) -> Weights:
        """Where what belongs to a layer's W and b lies."""
        return Weights(address(arrays[f"{s.name}.W"]), address(arrays[f"{s.name}.b"]))


class CompiledDense:
    """Loss and gradients of a batch, or a step of Adam, for one network of dense layers."""

    def __init__(
        self,
        stages: list[Stage],
        params: Params,
        input_shape: Shape,
        vectors: Vectors,
        latent_grad: LatentGrad | None = None,
    ) -> None:
        self.stages, self.params, self.input_shape = stages, params, input_shape
        self.latent_grad, self.code = latent_grad, code_stage(stages) if latent_grad else None
        self.library = library(vectors)
        self.shared = Constants(stages, params)
        self.grads = {name: np.zeros_like(p) for name, p in params.items()}
        self.batches: dict[int, Batch] = {}
        self.numbers = np.zeros(7, np.float32)  # of Adam, where its kernel looks for them

    def gradients(self, x: Array, reduction: Reduction) -> tuple[float, Params]:
        """Return the loss of x (N, ...) and the gradients, which the next call overwrites."""
        batch, loss = self._forward(x, reduction)
        self._backward(batch, self._gradient_program(batch))
        return loss, self.grads

    def step(self, x: Array, reduction: Reduction, optimizer: Optimizer) -> float:
        """One update of the parameters; none when the loss is NaN or Inf. Return the loss."""
        batch, loss = self._forward(x, reduction)
        update = optimizer.fused(self.params) if isfinite(loss) else None
        if update is not None:
            self._backward(batch, self._adam_program(batch, update))
        elif isfinite(loss):
            self._backward(batch, self._gradient_program(batch))
            optimizer.step(self.params, self.grads)
        return loss

    def _forward(self, x: Array, reduction: Reduction) -> tuple[Batch, float]:
        if len(x) not in self.batches:
            if len(self.batches) == BATCHES:
                self.batches.clear()
            self.batches[len(x)] = Batch(
                self.stages, self.input_shape, len(x), self.shared, self.code
            )
        batch = self.batches[len(x)]
        count = len(x) * (prod(self.input_shape) if reduction == "mean" else 1)
        self.shared.scale[0] = 2.0 / count
        batch.losses[:] = 0
        batch.x[:] = x
        batch.run(self.library, batch.forward)
        if self.latent_grad is not None:
            batch.du[:] = self.latent_grad(0, batch.u)
        return batch, float(batch.losses.sum()) / count

    def _gradient_program(self, batch: Batch) -> Program:
        """The program that writes all gradients."""
        if batch.gradient_program is None:
            batch.gradient_program = self._panels(
                p.calls(batch.weights(s, self.grads)) for s, p in batch.products()
            )
        return batch.gradient_program

    def _adam_program(self, batch: Batch, update: AdamUpdate) -> Program:
        """The program that applies `update`; made anew where its arrays are other ones."""
        self.numbers[:] = update.numbers
        if batch.adam_program is None or not update.same_arrays(batch.adam_program[0]):
            batch.adam_program = (
                update,
                self._panels(
                    p.adam_calls(
                        batch.weights(s, self.grads),
                        to=batch.weights(s, self.params),
                        m=batch.weights(s, update.m),
                        v=batch.weights(s, update.v),
                        numbers=address(self.numbers),
                    )
                    for s, p in batch.products()
                ),
            )
        return batch.adam_program[1]

    def _panels(self, layers: Iterator[Iterator[Call]]) -> Program:
        """The calls of all layers, dealt into hands: neighbours go to different ones."""
        todo = [call for layer in layers for call in layer]
        return Program(self.library, [call for hand in range(HANDS) for call in todo[hand::HANDS]])

    def _backward(self, batch: Batch, panels: Program) -> None:
        batch.run(self.library, batch.backward)
        in_ranges(panels.run_calls, len(panels.calls), batch.N * batch.multiply_adds)
