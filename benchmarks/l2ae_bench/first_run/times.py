"""Each kernel alone on the card: by events, in a graph of 20, and what Python takes to queue it."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from l2ae_bench.case import Case
from l2ae_bench.choice import Choice
from l2ae_bench.cuda import rungs, step
from l2ae_bench.cuda.precision import Precision
from l2ae_bench.first_run import checks
from l2ae_bench.first_run.clock import Clock
from l2ae_bench.first_run.findings import Findings
from l2ae_bench.steps import BATCH, NETWORKS
from l2ae_bench.work import Work
from l2ae_core.networks import Architecture
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.kmeans.resident import Resident, plan_grid

ONCE = 1_000_000  # samples that the host draws; a larger set repeats them
IN_GRAPH = 20


class Samples(NamedTuple):
    """Samples (n, d) in k clusters."""

    n: int
    d: int
    k: int

    @property
    def name(self) -> str:
        """Sizes, as in the names of workloads."""
        return f"{self.n}x{self.d}-k{self.k}"


SAMPLES = (
    Samples(70_000, 10, 10),
    Samples(100_000_000, 10, 10),
    Samples(1_000_000, 128, 1024),
    Samples(200_000, 64, 256),
)
TINY = (Samples(300, 10, 10),)


def run(device: Device, findings: Findings, tiny: bool) -> None:
    """Append microseconds, and the rates that follow."""
    networks = checks.SMALL if tiny else NETWORKS
    for name, network in networks.items():
        for precision in step.PARTS:
            for models, pieces in ((1, None), (step.MODELS, None), (step.MODELS, step.MICRO_BATCH)):
                what = f"{name}, {precision}, {models} model{'s' * (models > 1)}"
                what += f", {pieces} images at a time" if pieces else ""
                findings.attempt("time", what, partial(
                    of_steps, device, network, precision, models, pieces, tiny
                ))  # fmt: skip
    for samples in TINY if tiny else SAMPLES:
        findings.attempt("time", f"samples {samples.name}", partial(
            of_kmeans, device, samples, findings, tiny
        ))  # fmt: skip
        if not device.emulated:  # room for the next samples
            device.array_module.get_default_memory_pool().free_all_blocks()
    for choice in checks.RAGGED if tiny else (Choice(),):
        for case in rungs.cases(choice):
            findings.attempt("time", case.workload, partial(
                of_rungs, device, case, choice, findings, tiny
            ))  # fmt: skip


def timed(
    device: Device, call: Callable[[], Any], work: Work, *, captures: bool, tiny: bool
) -> dict[str, float]:
    """Return microseconds of a call, in a graph where it may be; and until Python has queued it."""
    clock, few = Clock(device), 2 if tiny else 20
    found = {"alone_us": 1e6 * clock.alone(call, few), "queue_us": 1e6 * clock.queued(call, few)}
    us = 1e6 * clock.in_graph(call, 2 if tiny else IN_GRAPH, few) if captures else found["alone_us"]
    rates = {"TFLOP/s": work.flop / us / 1e6, "TB/s": work.bytes / us / 1e6}
    return {"us": us, **found, **rates}


def of_rungs(
    device: Device, case: Case, choice: Choice, findings: Findings, tiny: bool
) -> dict[str, int]:
    """Append the times of the rungs of a case, and return how many there are."""
    chosen = rungs.rungs(case, device, choice)
    for rung in chosen:
        findings.attempt("time", rung.workload, partial(
            timed, device, rung.call, case.work, captures=rung.captures, tiny=tiny
        ))  # fmt: skip
    return {"rungs": len(chosen)}


def of_steps(
    device: Device, network: Architecture, precision: Precision, models: int,
    micro_batch: int | None, tiny: bool,
) -> dict[str, float]:  # fmt: skip
    """Return microseconds of a step of one model, and what Table IV takes by such steps."""
    training = step.Training.of(network, 3 if tiny else BATCH, precision)
    steps, batches = training.on(device, models, micro_batch), 2 if tiny else 100
    steps.run(training.batches(2))  # launched, then captured
    began = perf_counter()
    steps.run(training.batches(batches))
    us = 1e6 * (perf_counter() - began) / batches / models
    return {"us": us, "Table IV, s": us * step.TABLE4_TRAININGS * step.TABLE4_STEPS / 1e6}


def of_kmeans(device: Device, samples: Samples, findings: Findings, tiny: bool) -> dict[str, float]:
    """Append the times of an assignment, a pass and an iteration; return the gigabytes of x."""
    x, centers = _made(device, samples)
    n, d, k = samples
    work = Work(2.0 * n * d * k, 4.0 * n * (d + 1))
    restarts = ops.restarts(x, k, 1, impl="cuda-fused")
    restarts.centers[:] = device.to_host(centers)
    restarts.assign([0])  # from here on labels stay
    time = partial(timed, device, work=work, captures=False, tiny=tiny)
    calls: dict[str, Callable[[], Any]] = {
        "assign": partial(time, partial(ops.assign, x, centers)),
        "pass": partial(time, partial(restarts.assign, [0])),
    }
    if plan_grid(device, x, k, 1) is not None:
        calls["resident"] = partial(resident, x, device.to_host(centers), tiny)
    for name, call in calls.items():
        findings.attempt("time", f"{name} {samples.name}", call)
    return {"GB": 4e-9 * n * d}


def resident(x: Array, centers: Array, tiny: bool) -> dict[str, Any]:
    """Return microseconds of an iteration of the resident kernel: of many less those of few."""
    few, many, repeats = (2, 4, 2) if tiny else (5, 25, 15)

    def iterate(most: int) -> tuple[float, int]:
        run = Resident(x, len(centers), 1)
        run.centers[:] = centers
        run.assign([0])
        began = perf_counter()
        (ended,) = run.iterate([0], [most], -1.0, False)  # it waits
        return perf_counter() - began, len(ended.inertias)

    (a, fewer), (b, more) = (min(iterate(most) for _ in range(repeats)) for most in (few, many))
    found = {"iterations": [fewer, more], "call_us": 1e6 * a}
    if more > fewer and b > a:
        found["us"] = 1e6 * (b - a) / (more - fewer)
    return found


def passes(device: Device, samples: Samples) -> None:
    """Make a pass and an assignment, which compiles both."""
    x, centers = _made(device, samples)
    ops.assign(x, centers)
    for impl in ("cuda-fused", None):
        restarts = ops.restarts(x, samples.k, 1, impl=impl)
        restarts.centers[:] = device.to_host(centers)
        restarts.assign([0])


def _made(device: Device, samples: Samples) -> tuple[Array, Array]:
    """Return samples on the device, and the first of them as centers."""
    n, d, k = samples
    host = np.random.default_rng(0).standard_normal((min(n, ONCE), d)).astype(np.float32)
    x = device.to_device(host)
    if n > ONCE:
        x = device.array_module.tile(x, (n // ONCE, 1))
    return x, device.to_device(host[:k])
