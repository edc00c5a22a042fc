"""Where the time of a compiled step goes: its calls, each timed by itself, in their own order.

The step is made as ever, by as many threads, on the same memory; only its programs read the clock
between calls.
"""

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.library import Kernels
from l2ae_kernels.cpu.microkernels.program import Program, address
from l2ae_kernels.cpu.numba.optim import ADAM_WORK
from l2ae_kernels.cpu.step.convolutional import SHARDS, ConvolutionalStep
from l2ae_kernels.cpu.step.dense import DenseStep
from l2ae_kernels.cpu.step.dense_batch import Region
from l2ae_kernels.cpu.step.dense_weights import Addresses, in_ranges_of_work, kernel
from l2ae_kernels.cpu.step.passes import Part, calls_of
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.stages import AdamSettings, Params, TrainingStep


class Label(NamedTuple):
    """What is timed."""

    stage: int | None  # None: of no stage
    what: str  # "forward", "adjoint in W", …
    kernel: str


Labels: TypeAlias = list[Label]  # of the calls of a program
Seconds: TypeAlias = dict[Label, tuple[float, int]]  # and the number of calls


class Clock:
    """Ticks of each label, of all threads together."""

    def __init__(self, library: Kernels) -> None:
        self.now: Any = library.function("now", 1)
        self.runs: list[tuple[Labels, Array, int]] = []  # labels, ticks and times of each
        self.started = self._times()

    def ticks(self, labels: Labels, times: int = 1) -> Array:
        """Return zeros for the ticks of calls, each of which is made so many times."""
        self.runs.append((labels, np.zeros(len(labels), np.int64), times))
        return self.runs[-1][1]

    def seconds(self) -> Seconds:
        """Return what was timed, in the order of the first calls."""
        (second, tick), (last_second, last_tick) = self.started, self._times()
        length = (last_second - second) / (last_tick - tick)
        found: Seconds = {}
        for labels, ticks, times in self.runs:
            for label, some in zip(labels, ticks.tolist(), strict=True):
                before = found.get(label, (0.0, 0))
                found[label] = before[0] + some * length, before[1] + times
        return found

    def _times(self) -> tuple[float, int]:
        tick = np.empty(1, np.int64)
        self.now(address(tick))
        return perf_counter(), int(tick[0])


def timed_step(
    step: TrainingStep, x: Array, m: Params, v: Params, settings: AdamSettings, number: int
) -> tuple[float, Seconds]:
    """Make step `number` of Adam on x (N, *input_shape); return its mean loss and what took time.

    Parameters and moments m, v change as by `step.loss(x)` and `step.adam(m, v, settings, number)`,
    to the bit. ValueError for a step that is none of the compiled ones, for one with a second loss,
    and as `loss`.
    """
    if step.latent_grad is not None:
        raise ValueError("timed_step: step has a latent_grad but expected one without")
    if isinstance(step, ConvolutionalStep):
        return _convolutional(step, x, m, v, settings, number)
    if isinstance(step, DenseStep):
        return _dense(step, x, m, v, settings, number)
    raise ValueError(f"timed_step: step is {type(step).__name__} but expected a compiled one")


def _convolutional(
    step: ConvolutionalStep, x: Array, m: Params, v: Params, settings: AdamSettings, number: int
) -> tuple[float, Seconds]:
    clock, divisor = Clock(step.library), step.divisor(x, "mean")
    step.begin_loss(divisor, len(x))
    weights = step.weights
    stages = [i for i, s in enumerate(step.stages) if s.kind in ("conv", "conv_transpose")]

    def pack(first: int, last: int) -> None:
        for i, program in zip(stages[first:last], weights.prepare[first:last], strict=True):
            labels = [Label(i, "pack W", call.kernel) for call in program.calls]
            program.run_timed(clock.ticks(labels), 0, 1)

    def shards(phase: int, first: int, last: int) -> None:
        for k in range(first, last):
            batches = step.micro_batches_of(len(x), k)
            if not batches:
                continue
            programs = step.programs_of(first, k)[phase]
            programs.read(x, 0, len(x), batches.start)
            for program, parts in zip(
                programs.micro_batch, programs.phase.micro_batch, strict=True
            ):
                ticks = clock.ticks(labels_of(parts), len(batches))
                program.run_timed(ticks, batches.start, batches.stop)
            programs.end.run_timed(clock.ticks(labels_of(programs.phase.end)), 0, 1)

    in_ranges(pack, len(weights.prepare), weights.floats * 4)
    for phase in range(step.phases):
        in_ranges(shards, SHARDS, step.phase_work(len(x)), phase)
        if phase < len(step.between):
            part, program = step.between[phase]
            program.run_timed(clock.ticks(labels_of([part])), 0, 1)
    program = step.adam_program(m, v, settings, number)
    ticks = clock.ticks([Label(None, "reduce, Adam", call.kernel) for call in program.calls])

    def reduce(first: int, last: int) -> None:
        program.run_calls_timed(ticks, first, last)

    in_ranges(reduce, len(program.calls), step.flat.size * ADAM_WORK)
    step.zeroed = True
    return float(step.losses.sum()) / divisor, clock.seconds()


def _dense(
    step: DenseStep, x: Array, m: Params, v: Params, settings: AdamSettings, number: int
) -> tuple[float, Seconds]:
    clock, divisor = Clock(step.library), step.divisor(x, "mean")
    batch = step.begin_loss(x, divisor)

    def run(parts: list[Part], first: int, last: int) -> None:
        program = Program(step.library, calls_of(parts))
        program.run_timed(clock.ticks(labels_of(parts), last - first), first, last)

    def run_regions(regions: Sequence[Region]) -> None:
        def blocks(region: Region, first: int, last: int) -> None:
            run(region.before, first, last)
            run([*region.parts(*batch.samples_of(first, last))], 0, 1)
            run(region.behind, first, last)

        for region in regions:
            in_ranges(blocks, batch.blocks, batch.multiply_adds // len(regions), region)
            run(region.between, 0, 1)

    run_regions(batch.forward)
    run_regions(batch.backward)
    program = step.adam_program(batch, m, v, settings, number)
    linear = [i for i, s in enumerate(step.stages) if s.linear]
    labels = [
        Label(i, "reduce, Adam", "reduce_adam")
        for i, s in enumerate(step.stages)
        if not s.linear
        for _ in s.parameters
    ]
    labels += [
        Label(i, "adjoint in W, Adam", kernel("dense_adam", w.parts))
        for i, (_, w) in zip(linear, step.weights_of(batch), strict=True)
        for _ in w.calls(Addresses(0, 0))
    ]
    ticks = clock.ticks(labels)

    def weights(first: int, last: int) -> None:
        program.run_calls_timed(ticks, first, last, step.workspace.address)

    in_ranges_of_work(weights, program.calls, batch.multiply_adds)
    return float(batch.losses.sum()) / divisor, clock.seconds()


def labels_of(parts: Iterable[Part]) -> Labels:
    """Return the label of each call of the parts."""
    return [Label(part.stage, part.what, call.kernel) for part in parts for call in part.calls]
