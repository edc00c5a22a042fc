"""The compiled step of a network with convolutions: two parallel regions for all micro-batches.

    prepare   pack all weights, once for the step                                    all threads
    micro     for each micro-batch: forward, loss, backward, with private sums       all threads
    reduce    add the private sums, in order, and apply them (Adam)                  all threads

Convolutions have few weights and large activations: 0.3 million and 26 for a batch of 256 of the
network in the paper. So each thread takes micro-batches (micro_batch.py) and adds to gradients of
its own, and what it reads and writes stays in its second-level cache.

A second loss at the code (stages.LatentGrad) cuts the pass of a micro-batch in two; in between,
Python reads the code. Batch norm needs all samples of a batch: its network takes several passes,
the phases of micro_batch.py, each a parallel region, and in between the calling thread adds up what
the micro-batches left, in order.

The samples are cut into SHARDS fixed ranges with a gradient each, added in order: a result does not
depend on the number of threads.
"""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.adam import REDUCE_ADAM
from l2ae_kernels.cpu.microkernels.elementwise import REDUCE
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.ops import vectors_here
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call, Program, address
from l2ae_kernels.cpu.numba.optim import ADAM_WORK
from l2ae_kernels.cpu.step.batch_norm import BatchNorm
from l2ae_kernels.cpu.step.memory import AdamProgram, Arena, aligned
from l2ae_kernels.cpu.step.micro_batch import MicroBatch, PackedWeights, Programs, set_total
from l2ae_kernels.cpu.step.passes import NORMALIZED, NORMALIZED_ADJOINT, Part
from l2ae_kernels.cpu.step.products import geometry
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.stages import (
    AdamSettings,
    Params,
    Reduction,
    Shape,
    Stage,
    TrainingStep,
    code_stage,
)

SHARDS = 8  # ranges of samples with a gradient of their own, and so the most threads
REDUCE_CHUNK = 1 << 14  # floats that a thread adds up at a time
# A micro-batch has as many samples as leave 600,000 floats behind linear stages: with all that is
# made of them they fill a second-level cache of 1 or 2 MB some times over, and packed weights serve
# as many as they can.
SAMPLES = (32, 16, 8, 4)
FLOATS = 600_000


def micro_batch_samples(stages: Sequence[Stage], input_shape: Shape) -> int:
    """Return how many samples go through a network together."""
    floats = prod(input_shape) + sum(prod(s.output_shape) for s in stages if s.linear)
    return next((n for n in SAMPLES if n * floats <= FLOATS), SAMPLES[-1])


class ConvolutionalStep(TrainingStep):
    """Loss and gradients of a batch, or a step of Adam, for one network and one set of arrays."""

    def __post_init__(self) -> None:
        stages, params, vectors = self.stages, self.params, vectors_here()
        self.library = library(vectors)
        code = code_stage(stages) if self.latent_grad else None
        self.samples = micro_batch_samples(stages, self.input_shape)
        self.weights = PackedWeights(stages, params, vectors, self.samples)
        self.micro = MicroBatch(stages, self.input_shape, self.samples, self.weights, code)
        arena = Arena()
        self.offsets = {name: arena.take(p.size) for name, p in params.items()}
        self.flat = np.zeros(arena.size, np.float32)
        self.shards = np.zeros((SHARDS, arena.size), np.float32)
        self.sums = {
            name: self.flat[at : at + params[name].size].reshape(params[name].shape)
            for name, at in self.offsets.items()
        }
        self.losses = np.zeros(SHARDS)
        self.chunks = -(-arena.size // REDUCE_CHUNK)
        self.reduce = Program(self.library, [Call("reduce", REDUCE.row(
            shards=address(self.shards), shard=arena.size, count=SHARDS, sum=address(self.flat),
            chunk=REDUCE_CHUNK,
        ))])  # fmt: skip
        self.apply = AdamProgram()
        self.memory: dict[int, Array] = {}
        self.programs: dict[tuple[int, int], list[Programs]] = {}  # one a phase
        self.norms: dict[int, BatchNorm] = {}  # by stage
        self.between: list[tuple[Part, Program]] = []  # two phases: sums over all samples
        self.capacity = 0  # micro-batches that batch norms have room for
        self.work = sum(geometry(s).multiply_adds for s in stages if s.linear)
        self.zeroed = True  # whether `shards` is 0; an interrupted step leaves its sums there

    def samples_of(self, count: int, shards: range) -> slice:
        """Return the samples of neighbouring shards of a batch of `count`."""
        first, last = (self.micro_batches_of(count, k).start for k in (shards.start, shards.stop))
        return slice(*(min(n * self.samples, count) for n in (first, last)))

    def micro_batches_of(self, count: int, k: int) -> range:
        """Return those of shard k of a batch of `count` samples."""
        total = -(-count // self.samples)
        return range(k * total // SHARDS, (k + 1) * total // SHARDS)

    def loss(self, x: Array, reduction: Reduction = "mean") -> float:
        """Forward and backward of all micro-batches; their gradients are in `shards` then."""
        divisor = self.divisor(x, reduction)
        self._fill(range(SHARDS), x, len(x), divisor)
        return float(self.losses.sum()) / divisor

    def loss_and_shards(
        self, x: Array, shards: range, count: int, reduction: Reduction = "mean"
    ) -> tuple[Array, Array]:
        """Return the losses (S,) float64, not divided, and gradients (S, P) of S shards of a batch.

        x are the samples of these shards, see `samples_of`, of a batch of `count`, one at least.
        Shards of several processes give, by `take_sums`, what `loss` alone finds, bit for bit.
        ValueError where x has another length, and for a step with a second loss or batch norm.
        """
        own = self.samples_of(count, shards)
        if len(x) != own.stop - own.start or self.latent_grad is not None:
            raise ValueError(
                f"training_step: x has {len(x)} samples and latent_grad is {self.latent_grad} but "
                f"expected the {own.stop - own.start} of {shards} of {count}, and None"
            )
        if self.state:
            raise ValueError("training_step: batch norm needs all samples of a batch, not shards")
        self._fill(shards, x, count, self.divisor(x, reduction) // len(x) * count)
        some = slice(shards.start, shards.stop)
        return self.losses[some].copy(), self.shards[some].copy()

    def take_sums(self, losses: Array, sums: Array, divisor: int) -> float:
        """Take the losses (SHARDS,) and the sum (P,) of gradients of all shards; return the loss.

        The sum is 0 + shard 0 + shard 1 + …, in this order. `grads` or `adam` may follow.
        """
        self.shards[0], self.shards[1:] = sums, 0
        self.zeroed = False
        return float(losses.sum()) / divisor

    def _fill(self, chosen: range, x: Array, count: int, divisor: int) -> None:
        """Compute some shards of a batch of `count` samples, of which x are theirs."""
        self.begin_loss(divisor, count)
        begin = self.samples_of(count, chosen).start

        def shards(phase: int, first: int, last: int) -> None:
            for k in chosen[first:last][:: 1 - phase % 2 * 2]:  # what was written last comes first
                batches = self.micro_batches_of(count, k)
                if batches:
                    programs = self.programs_of(first, k)[phase]
                    programs.read(x, begin, count, batches.start)
                    self._run(programs.micro_batch, first, batches, count)
                    programs.end.run(0, 1)

        self.weights.pack()
        for phase in range(self.phases):
            in_ranges(shards, len(chosen), self.phase_work(len(x)), phase)
            if phase < len(self.between):
                self.between[phase][1].run(0, 1)

    def begin_loss(self, divisor: int, count: int) -> None:
        """Let gradients and losses be 0, the loss over `divisor`, the batch of `count` samples."""
        self.weights.scale[0] = 2.0 / divisor
        if not self.zeroed:
            self.shards[:] = 0
        self.zeroed = False
        self.losses[:] = 0
        self._keep(-(-count // self.samples))
        for _, program in self.between:
            set_total(program.calls, count)

    @property
    def phases(self) -> int:
        """Passes over all micro-batches."""
        return len(self.between) + 1

    def phase_work(self, samples: int) -> int:
        """Multiply-adds of a phase, on average."""
        return 3 * self.work * samples // self.phases

    def _keep(self, micro_batches: int) -> None:
        """Let batch norms have room for so many micro-batches."""
        if not self.state or micro_batches <= self.capacity:
            return
        self.programs.clear()
        shard = {name: address(self.shards[0, at:]) for name, at in self.offsets.items()}
        norms = self.norms = self.micro.norms(micro_batches, self.state, shard)
        sums = [
            *(Part(i, NORMALIZED, [norm.add_moments()]) for i, norm in norms.items()),
            *(Part(i, NORMALIZED_ADJOINT, [n.add_sums()]) for i, n in reversed(norms.items())),
        ]
        self.between = [(part, Program(self.library, part.calls)) for part in sums]
        self.capacity = micro_batches

    def grads(self) -> Params:
        in_ranges(self.reduce.run, self.chunks, self.shards.size)
        self.zeroed = True
        return self.sums

    def adam(self, m: Params, v: Params, settings: AdamSettings, step: int) -> None:
        program = self.adam_program(m, v, settings, step)
        in_ranges(program.run_calls, len(program.calls), self.flat.size * ADAM_WORK)
        self.zeroed = True

    def adam_program(self, m: Params, v: Params, settings: AdamSettings, step: int) -> Program:
        """Return the calls that add up the gradients of the shards and make a step of Adam."""
        return self.apply.program(self.library, self._adam_calls, m, v, settings, step)

    def _run(self, programs: list[Program], slot: int, batches: range, total: int) -> None:
        """Run micro-batches; where a second loss acts at the code one by one, and stop for it."""
        if len(programs) == 1:
            programs[0].run(batches.start, batches.stop)
            return
        assert self.latent_grad is not None
        u, du = self.micro.layout.codes(self.memory[slot], self.samples)
        for m in batches:
            programs[0].run(m, m + 1)
            first = m * self.samples
            count = min(self.samples, total - first)
            du[:count], du[count:] = self.latent_grad(first, u[:count]), 0
            programs[1].run(m, m + 1)

    def programs_of(self, slot: int, k: int) -> list[Programs]:
        """The programs of shard k in the memory of one slot, of each phase.

        No two threads have the same slot.
        """
        if (slot, k) not in self.programs:
            if slot not in self.memory:
                self.memory[slot] = aligned(self.micro.size)
            shard = {name: address(self.shards[k, at:]) for name, at in self.offsets.items()}
            phases = self.micro.phases(
                address(self.memory[slot]), shard, address(self.losses[k:]), self.norms
            )
            self.programs[slot, k] = [Programs(self.library, phase) for phase in phases]
        return self.programs[slot, k]

    def _adam_calls(self, m: Params, v: Params, numbers: int) -> Iterator[Call]:
        """One call for each chunk of a parameter."""
        self.require_moments(m, v)
        for name, p in self.params.items():
            for first in range(0, p.size, REDUCE_CHUNK):
                here = first * FLOAT
                yield Call("reduce_adam", REDUCE_ADAM.row(
                    shards=address(self.shards), shard=self.shards.shape[1], count=SHARDS,
                    first=self.offsets[name] + first, size=min(REDUCE_CHUNK, p.size - first),
                    p=address(p) + here, m=address(m[name]) + here, v=address(v[name]) + here,
                    numbers=numbers,
                ))  # fmt: skip
