"""Steps of a network with every call timed: what each part takes, does, reaches of the ceilings."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from l2ae_bench.comparison import Measurement
from l2ae_bench.rates import Ceilings
from l2ae_bench.steps import BATCH, NETWORKS, NORMALIZED
from l2ae_bench.work import UNITS, Work
from l2ae_core.networks import build
from l2ae_core.training.lower import lower
from l2ae_kernels import ops
from l2ae_kernels.cpu.step.products import geometry
from l2ae_kernels.cpu.step.profile import Label, Seconds, timed_step
from l2ae_kernels.operations import IMPLEMENTATIONS
from l2ae_kernels.stages import AdamSettings, Params, Stage

PRODUCTS = ("forward", "adjoint in W", "adjoint in x", "adjoint in W, Adam")
SIZES = re.compile(r"_\d+(x\d+)?(?=_|$)")  # of tiles and taps, in the names of kernels
WARM_UP = 2  # steps
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Entry:
    """What one part of a step takes; medians over steps."""

    stage: str  # "encoder.0 conv 28×28×1 → 14×14×32", "" for what is of no stage
    what: str
    ms: float  # of all threads together, over their number
    share: float  # of the step
    kernels: dict[str, float]  # ms of each, the longest first
    work: Work | None = None
    ceiling: str | None = None  # its name
    reached: float | None = None  # share of the ceiling


@dataclass(frozen=True)
class Profile:
    """A step of one network."""

    network: str
    threads: int
    step_ms: float  # as ever
    timed_ms: float  # with the clock read between calls
    entries: list[Entry]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-ready values."""
        return asdict(self)


def networks() -> list[str]:
    """Return the names of networks that have a compiled step."""
    return [name for name in (NETWORKS | NORMALIZED) if _stages(name) is not None]


def profile(
    network: str, threads: int, repeats: int, ceilings: Sequence[Measurement] = (),
    done: Callable[[], object] = lambda: None,
) -> Profile:  # fmt: skip
    """Time `repeats` steps with every call, and as many as ever; call `done` after each pair."""
    rng = np.random.default_rng(0)
    model = build((NETWORKS | NORMALIZED)[network], rng)
    stages = _stages(network)
    assert stages is not None  # of a network that `networks` names
    x = rng.random((BATCH, *model.input_shape), dtype=np.float32)
    m, v = _zeros(model.params), _zeros(model.params)
    step = ops.training_step(
        stages, model.params, model.input_shape, state=model.state, impl="compiled"
    )
    plain, timed, seconds = list[float](), list[float](), list[Seconds]()
    for i in range(WARM_UP + repeats):
        started = perf_counter()
        step.loss(x, "mean")
        step.adam(m, v, AdamSettings(), 2 * i + 1)
        between = perf_counter()
        _, found = timed_step(step, x, m, v, AdamSettings(), 2 * i + 2)
        ended = perf_counter()
        if i >= WARM_UP:
            plain.append(between - started)
            timed.append(ended - between)
            seconds.append(found)
            done()
    ms = {label: 1e3 * median(s[label][0] for s in seconds) / threads for label in seconds[0]}
    entries = _entries(stages, ms, sum(ms.values()), Ceilings(ceilings), threads)
    return Profile(network, threads, 1e3 * median(plain), 1e3 * median(timed), entries)


def _stages(network: str) -> list[Stage] | None:
    architecture = (NETWORKS | NORMALIZED)[network]
    model = build(architecture, np.random.default_rng(0))
    stages = lower(model)
    if stages is None:
        return None
    x = next(iter(model.params.values()))
    return stages if IMPLEMENTATIONS["training_step"]["compiled"].takes(x, stages) else None


def _zeros(params: Params) -> Params:
    return {name: np.zeros_like(p) for name, p in params.items()}


def _entries(
    stages: Sequence[Stage], ms: dict[Label, float], total: float, ceilings: Ceilings, threads: int
) -> list[Entry]:
    """Put the kernels of each part of each stage together, those of all sizes of tiles."""
    parts: dict[tuple[int | None, str], dict[str, float]] = {}
    for label, time in ms.items():
        kernels, name = parts.setdefault((label.stage, label.what), {}), SIZES.sub("", label.kernel)
        kernels[name] = kernels.get(name, 0.0) + time
    entries = []
    for (i, what), kernels in parts.items():
        time = sum(kernels.values())
        work = _work(stages, i, what)
        found = None if work is None else ceilings.of(work, threads)
        entries.append(Entry(
            "" if i is None else described(stages[i]), what, time, time / total,
            dict(sorted(kernels.items(), key=lambda item: -item[1])), work,
            None if found is None else found[0],
            None if found is None or work is None else work.rate(time) / found[1],
        ))  # fmt: skip
    return entries


def _work(stages: Sequence[Stage], i: int | None, what: str) -> Work | None:
    """Return the plain work of a part: products of a linear stage, bytes of what is small."""
    if i is not None and what in PRODUCTS:
        return Work(2.0 * BATCH * geometry(stages[i]).multiply_adds, 0.0)
    if i is not None and what.startswith("normalize"):
        floats = BATCH * prod(stages[i].input_shape) * (3 if "adjoint" in what else 2)
        return Work(0.0, float(FLOAT * floats), "bytes")
    if what == "loss":
        return Work(0.0, float(FLOAT * 3 * BATCH * prod(stages[-1].output_shape)), "bytes")
    return None


def described(s: Stage) -> str:
    """Return a stage in a few words."""
    kinds = {
        "conv_transpose": "transposed", "l2_normalize": "l2", "layer_norm": "layer norm",
        "batch_norm": "batch norm",
    }  # fmt: skip
    name = kinds.get(s.kind, s.kind)
    before, after = ("×".join(map(str, shape)) for shape in (s.input_shape, s.output_shape))
    return f"{s.name} {name} {before} → {after}" if s.linear else f"{s.name} {name} {before}"


def rate(entry: Entry) -> str:
    """Return GFLOP/s or GB/s to three digits, nothing where nothing is counted."""
    if entry.work is None:
        return ""
    return f"{entry.work.rate(entry.ms):.3g} {UNITS[entry.work.unit]}"
