"""Where the time of a compiled step goes: its calls, each timed by itself, in their own order.

The step is made as ever, by as many threads, on the same memory; only its programs run call by
call. Two readings of a clock and a call from Python, about a microsecond, come to each.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.library import Kernels
from l2ae_kernels.cpu.microkernels.program import Program
from l2ae_kernels.cpu.numba.optim import ADAM_WORK
from l2ae_kernels.cpu.step.convolutional import SAMPLES, SHARDS, ConvolutionalStep
from l2ae_kernels.cpu.step.dense import DenseStep, round_robin
from l2ae_kernels.cpu.step.dense_weights import Addresses
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
    step.begin_loss(divisor)
    weights, micro_batches = step.weights, -(-len(x) // SAMPLES)
    stages = [i for i, s in enumerate(step.stages) if s.kind in ("conv", "conv_transpose")]

    def pack(first: int, last: int) -> None:
        ticks = clock.start()
        for i, program in zip(stages[first:last], weights.prepare[first:last], strict=True):
            ticks.time(Label(i, "pack W", program.calls[0].kernel), program.run, 0, 1)

    def shards(first: int, last: int) -> None:
        ticks = clock.start()
        for k in range(first, last):
            parts = step.programs_of(first, k).parts
            parts.read(x, 0, len(x))
            begin, batch, end = (
                _each(step.library, some)
                for some in (parts.begin, parts.encode + parts.rest, parts.end)
            )
            for label, program in begin:
                ticks.time(label, program.run, 0, 1)
            for i in range(k * micro_batches // SHARDS, (k + 1) * micro_batches // SHARDS):
                for label, program in batch:
                    ticks.time(label, program.run, i, i + 1)
            for label, program in end:
                ticks.time(label, program.run, 0, 1)

    in_ranges(pack, len(weights.prepare), weights.floats * 4)
    in_ranges(shards, SHARDS, 3 * step.work * len(x))
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

    def run(calls: Callable[[int, int], Iterator[Part]]) -> None:
        def samples(first: int, last: int) -> None:
            ticks = clock.start()
            for label, program in _each(step.library, calls(first, last)):
                ticks.time(label, program.run, 0, 1)

        in_ranges(samples, batch.N, batch.multiply_adds)

    run(batch.forward)
    run(batch.backward)
    program = step.adam_program(batch, m, v, settings, number)
    linear = [i for i, s in enumerate(step.stages) if s.linear]
    labels = round_robin(
        [Label(i, "adjoint in W, Adam", "dense_adam")] * len([*w.calls(Addresses(0, 0))])
        for i, (_, w) in zip(linear, step.weights_of(batch), strict=True)
    )
    _run_calls(clock, program, labels, batch.multiply_adds)
    return float(batch.losses.sum()) / divisor, clock.seconds()


def _each(library: Kernels, parts: Iterable[Part]) -> list[tuple[Label, Program]]:
    """Return a program for each call of the parts."""
    return [
        (Label(part.stage, part.what, call.kernel), Program(library, [call]))
        for part in parts
        for call in part.calls
    ]


def _run_calls(clock: Clock, program: Program, labels: list[Label], work: int) -> None:
    """Make the calls of a program once, over threads."""

    def calls(first: int, last: int) -> None:
        ticks = clock.start()
        for i in range(first, last):
            ticks.time(labels[i], program.run_calls, i, i + 1)

    in_ranges(calls, len(program.calls), work)
