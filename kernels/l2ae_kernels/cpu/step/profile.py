"""Where the time of a compiled step goes: its calls, each timed by itself, in their own order.

The step is made as ever, by as many threads, on the same memory; only its programs run call by
call. Two readings of a clock and a call from Python, about a microsecond, come to each.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.library import Kernels
from l2ae_kernels.cpu.microkernels.program import Program
from l2ae_kernels.cpu.numba.optim import ADAM_WORK
from l2ae_kernels.cpu.step.convolutional import SHARDS, ConvolutionalStep
from l2ae_kernels.cpu.step.dense import DenseStep
from l2ae_kernels.cpu.step.dense_batch import Region
from l2ae_kernels.cpu.step.dense_weights import Addresses, in_ranges_of_work, kernel
from l2ae_kernels.cpu.step.memory import Workspace
from l2ae_kernels.cpu.step.passes import Part
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.stages import AdamSettings, Params, TrainingStep


class Label(NamedTuple):
    """What is timed."""

    stage: int | None  # None: of no stage
    what: str  # "forward", "adjoint in W", …
    kernel: str


Seconds: TypeAlias = dict[Label, tuple[float, int]]  # and the number of calls


class Clock:
    """Seconds of each label, of all threads together."""

    def __init__(self) -> None:
        self.threads: list[dict[Label, list[float]]] = []

    def start(self) -> "Ticks":
        """Return what times the calls of one thread."""
        self.threads.append(defaultdict(lambda: [0.0, 0.0]))
        return Ticks(self.threads[-1])

    def seconds(self) -> Seconds:
        """Return what was timed, in the order of the first calls."""
        found: Seconds = {}
        for label, (seconds, calls) in (item for own in self.threads for item in own.items()):
            before = found.get(label, (0.0, 0))
            found[label] = before[0] + seconds, before[1] + int(calls)
        return found


class Ticks:
    """The calls of one thread."""

    def __init__(self, own: dict[Label, list[float]]) -> None:
        self.own = own

    def time(self, label: Label, call: Callable[..., object], *arguments: Any) -> None:
        """Make a call and add its seconds to the label."""
        started = perf_counter()
        call(*arguments)
        seconds = perf_counter() - started
        entry = self.own[label]
        entry[0] += seconds
        entry[1] += 1


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
    clock, divisor = Clock(), step.divisor(x, "mean")
    step.begin_loss(divisor, len(x))
    weights = step.weights
    stages = [i for i, s in enumerate(step.stages) if s.kind in ("conv", "conv_transpose")]

    def pack(first: int, last: int) -> None:
        ticks = clock.start()
        for i, program in zip(stages[first:last], weights.prepare[first:last], strict=True):
            ticks.time(Label(i, "pack W", program.calls[0].kernel), program.run, 0, 1)

    def shards(phase: int, first: int, last: int) -> None:
        ticks = clock.start()
        for k in range(first, last):
            batches = step.micro_batches_of(len(x), k)
            if not batches:
                continue
            programs = step.programs_of(first, k)[phase]
            programs.read(x, 0, len(x), batches.start)
            batch, end = (
                _each(step.library, some) for some in (programs.phase.parts, programs.phase.end)
            )
            for i in batches:
                for label, program in batch:
                    ticks.time(label, program.run, i, i + 1)
            for label, program in end:
                ticks.time(label, program.run, 0, 1)

    in_ranges(pack, len(weights.prepare), weights.floats * 4)
    for phase in range(step.phases):
        in_ranges(shards, SHARDS, step.phase_work(len(x)), phase)
        if phase < len(step.between):
            part, program = step.between[phase]
            label = Label(part.stage, part.what, part.calls[0].kernel)
            clock.start().time(label, program.run, 0, 1)
    program = step.adam_program(m, v, settings, number)
    labels = [Label(None, "reduce, Adam", call.kernel) for call in program.calls]
    _run_calls(clock, program, labels, step.flat.size * ADAM_WORK)
    step.zeroed = True
    return float(step.losses.sum()) / divisor, clock.seconds()


def _dense(
    step: DenseStep, x: Array, m: Params, v: Params, settings: AdamSettings, number: int
) -> tuple[float, Seconds]:
    clock, divisor = Clock(), step.divisor(x, "mean")
    batch = step.begin_loss(x, divisor)

    def run(regions: Sequence[Region]) -> None:
        def blocks(region: Region, first: int, last: int) -> None:
            ticks = clock.start()
            samples = region.parts(*batch.samples_of(first, last))
            for parts, *span in ((region.before, first, last), (samples, 0, 1),
                                (region.behind, first, last)):  # fmt: skip
                for label, program in _each(step.library, parts):
                    ticks.time(label, program.run, *span)

        for region in regions:
            in_ranges(blocks, batch.blocks, batch.multiply_adds // len(regions), region)
            for label, program in _each(step.library, region.between):
                clock.start().time(label, program.run, 0, 1)

    run(batch.forward)
    run(batch.backward)
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
    _run_calls(clock, program, labels, batch.multiply_adds, step.workspace)
    return float(batch.losses.sum()) / divisor, clock.seconds()


def _each(library: Kernels, parts: Iterable[Part]) -> list[tuple[Label, Program]]:
    """Return a program for each call of the parts."""
    return [
        (Label(part.stage, part.what, call.kernel), Program(library, [call]))
        for part in parts
        for call in part.calls
    ]


def _run_calls(
    clock: Clock, program: Program, labels: list[Label], work: int,
    workspace: Workspace | None = None,
) -> None:  # fmt: skip
    """Make the calls of a program once, over threads."""

    def calls(first: int, last: int) -> None:
        ticks = clock.start()
        for i in range(first, last):
            ticks.time(
                labels[i], program.run_calls, i, i + 1, workspace.address if workspace else 0
            )

    in_ranges_of_work(calls, program.calls, work)
