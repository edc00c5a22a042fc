"""The compiled step of a network with convolutions: two parallel regions for all micro-batches.

    prepare   pack all weights, once for the step                                    all threads
    micro     for each micro-batch: forward, loss, backward, with private sums       all threads
    reduce    add the private sums, in order, and apply them (Adam)                  all threads

Convolutions have few weights and large activations: 0.3 million and 26 for a batch of 256 of the
network in the paper. So each thread takes micro-batches (compiled.py) and adds to gradients of its
own, and what it reads and writes stays in its second-level cache.

A second loss at the code (stages.LatentGrad) cuts the way of a micro-batch in two; in between,
Python reads the code.

The samples are cut into PARTS fixed ranges with a gradient each, added in order: a result does not
depend on the number of threads.
"""

from collections.abc import Iterator
from math import isfinite, prod

import numpy as np

from l2ae_core.layers import Params, Shape
from l2ae_core.training.compiled import Arena, MicroBatch, Shared, aligned
from l2ae_core.training.loss import Reduction
from l2ae_core.training.optim import AdamUpdate, Optimizer
from l2ae_core.training.stages import LatentGrad, Linear, Stage, code_stage
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels.adam import REDUCE_ADAM
from l2ae_kernels.cpu.microkernels.calls import FLOAT, Call
from l2ae_kernels.cpu.microkernels.elementwise import REDUCE, SQUARED_ERROR
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.ops import address
from l2ae_kernels.cpu.microkernels.pack import COPY
from l2ae_kernels.cpu.microkernels.program import Program
from l2ae_kernels.cpu.threads import in_ranges

PARTS = 8  # ranges of samples with a gradient of their own, and so the most threads
SAMPLES = 16  # of a micro-batch
REDUCE_CHUNK = 1 << 14  # floats that a thread adds up at a time
ADAM_WORK = 32  # a value costs about as much as 32 multiply-adds: a root, a division


class CompiledConvolutional:
    """Loss and gradients of a batch, or a step of Adam, for one network and one set of arrays."""

    def __init__(
        self,
        stages: list[Stage],
        params: Params,
        input_shape: Shape,
        vectors: Vectors,
        latent_grad: LatentGrad | None = None,
    ) -> None:
        self.params, self.library, self.input_shape = params, library(vectors), input_shape
        self.latent_grad, code = latent_grad, code_stage(stages) if latent_grad else None
        self.shared = Shared(stages, params, vectors, SAMPLES)
        self.micro = MicroBatch(stages, input_shape, SAMPLES, self.shared, code)
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
            parts=address(self.parts), part=arena.size, count=PARTS, sum=address(self.flat),
            chunk=REDUCE_CHUNK,
        ))])  # fmt: skip
        self.numbers = np.zeros(7, np.float32)  # of Adam, where its kernel looks for them
        self.adam: tuple[AdamUpdate, Program] | None = None
        self.memory: dict[int, Array] = {}
        self.programs: dict[tuple[int, int], tuple[Program, list[Program], Program]] = {}
        self.work = sum(s.geometry.multiply_adds for s in stages if isinstance(s, Linear))
        self.clean = True  # whether `parts` is 0; an interrupted step leaves its sums there

    def gradients(self, x: Array, reduction: Reduction) -> tuple[float, Params]:
        """Return the loss of x (N, ...) and the gradients, which the next call overwrites."""
        loss = self._parts(x, reduction)
        self._reduce()
        return loss, self.grads

    def step(self, x: Array, reduction: Reduction, optimizer: Optimizer) -> float:
        """One update of the parameters; none when the loss is NaN or Inf. Return the loss."""
        loss = self._parts(x, reduction)
        if not isfinite(loss):
            return loss
        update = optimizer.fused(self.params)
        if update is None:
            self._reduce()
            optimizer.step(self.params, self.grads)
        else:
            program = self._adam_program(update)
            in_ranges(program.run_calls, len(program.calls), self.flat.size * ADAM_WORK)
            self.clean = True
        return loss

    def _parts(self, x: Array, reduction: Reduction) -> float:
        """Forward and backward of all micro-batches; gradients are in `parts` then."""
        count = len(x) * (prod(self.input_shape) if reduction == "mean" else 1)
        self.shared.scale[0] = 2.0 / count
        if not self.clean:
            self.parts[:] = 0
        self.clean = False
        self.losses[:] = 0
        micro_batches = -(-len(x) // self.micro.samples)

        def parts(first: int, last: int) -> None:
            for p in range(first, last):
                begin, micro_batch, end = self._programs(first, p)
                for row in micro_batch[0].rows("copy")[:1]:
                    row[COPY.names.index("source")] = address(x)
                    row[COPY.names.index("total")] = len(x)
                for row in micro_batch[-1].rows("squared_error"):
                    row[SQUARED_ERROR.names.index("total")] = len(x)
                begin.run(0, 1)
                which = range(p * micro_batches // PARTS, (p + 1) * micro_batches // PARTS)
                self._run(micro_batch, first, which, len(x))
                end.run(0, 1)

        self.shared.pack()
        in_ranges(parts, PARTS, 3 * self.work * len(x))
        return float(self.losses.sum()) / count

    def _run(self, micro_batch: list[Program], slot: int, which: range, total: int) -> None:
        """Run micro-batches; with a second loss at the code one by one, and stop there for it."""
        if self.latent_grad is None:
            micro_batch[0].run(which.start, which.stop)
            return
        micro, memory = self.micro, self.memory[slot]
        u, du = (memory[at : at + micro.codes].reshape(SAMPLES, -1) for at in (micro.u, micro.du))
        for m in which:
            micro_batch[0].run(m, m + 1)
            count = min(SAMPLES, total - m * SAMPLES)
            du[:count], du[count:] = self.latent_grad(m * SAMPLES, u[:count]), 0
            micro_batch[1].run(m, m + 1)

    def _programs(self, slot: int, part: int) -> tuple[Program, list[Program], Program]:
        """What begins a part, takes a micro-batch of it, and ends it, in the memory of one slot.

        No two threads have the same slot.
        """
        if (slot, part) not in self.programs:
            if slot not in self.memory:
                self.memory[slot] = aligned(self.micro.size)
            memory = address(self.memory[slot])
            sums = {n: address(self.parts[part, at:]) for n, at in self.offsets.items()}
            begin = self.micro.begin(memory)
            todo = self.micro.calls(memory, sums, address(self.losses[part:]))
            end = self.micro.end(memory, sums)
            self.programs[slot, part] = (
                Program(self.library, begin),
                [Program(self.library, calls) for calls in todo],
                Program(self.library, end),
            )
        return self.programs[slot, part]

    def _reduce(self) -> None:
        in_ranges(self.reduce.run, self.chunks, self.parts.size)
        self.clean = True

    def _adam_program(self, update: AdamUpdate) -> Program:
        """The program that applies `update`; made anew where its arrays are other ones."""
        self.numbers[:] = update.numbers
        if self.adam is None or not update.same_arrays(self.adam[0]):
            self.adam = update, Program(self.library, self._adam_calls(update))
        return self.adam[1]

    def _adam_calls(self, update: AdamUpdate) -> Iterator[Call]:
        """One call for each chunk of a parameter."""
        for name, p in self.params.items():
            for first in range(0, p.size, REDUCE_CHUNK):
                here = first * FLOAT
                yield Call("reduce_adam", REDUCE_ADAM.row(
                    parts=address(self.parts), part=self.parts.shape[1], count=PARTS,
                    first=self.offsets[name] + first, size=min(REDUCE_CHUNK, p.size - first),
                    p=address(p) + here, m=address(update.m[name]) + here,
                    v=address(update.v[name]) + here, numbers=address(self.numbers),
                ))  # fmt: skip
