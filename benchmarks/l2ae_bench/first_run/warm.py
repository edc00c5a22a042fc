"""Every module that the other parts need, compiled in many processes to CuPy's cache on disk."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from time import perf_counter

from l2ae_bench.choice import Choice
from l2ae_bench.cuda import rungs, step
from l2ae_bench.cuda.precision import Precision
from l2ae_bench.first_run import checks, times
from l2ae_bench.first_run.findings import Findings
from l2ae_bench.steps import NETWORKS
from l2ae_kernels.cuda.device import Device, find_device
from l2ae_kernels.cuda.emulated import emulate

PROCESSES = 12
Job = Callable[[], float]


def run(device: Device, findings: Findings, tiny: bool) -> None:
    """Append the seconds of each job, whichever process did it; a job that fails is a finding."""
    began = perf_counter()
    jobs = {f"rungs of {case.workload}": partial(rungs_of, i, tiny, device.emulated)
            for i, case in enumerate(checks.cases(tiny))}  # fmt: skip
    if not tiny:
        for name, precision in ((n, p) for n in NETWORKS for p in step.PARTS):
            jobs[f"{name}, {precision}"] = partial(network, name, precision)
        for _, d, k in times.SAMPLES:
            jobs[f"k-means {d} features, {k} clusters"] = partial(kmeans, d, k)
    if tiny:
        for name, job in jobs.items():
            findings.attempt("warm", name, job)
    else:
        spawn = multiprocessing.get_context("spawn")  # a context of CUDA survives no fork
        with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
            names = {pool.submit(job): name for name, job in jobs.items()}
            for ended in as_completed(names):
                findings.attempt("warm", names[ended], ended.result)
    findings.add("warm", "all", {"s": round(perf_counter() - began, 1), "jobs": len(jobs)})


def rungs_of(index: int, tiny: bool, emulated: bool) -> float:
    """Call every rung of a case once; return the seconds."""
    began, device = perf_counter(), emulate("shuffled") if emulated else find_device()
    case = checks.cases(tiny)[index]
    for rung in rungs.rungs(case, device, Choice()):
        rung.call()
    return round(perf_counter() - began, 2)


def network(name: str, precision: Precision) -> float:
    """Make the steps of one network, alone and with others."""
    began, device = perf_counter(), find_device()
    training = step.Training.of(NETWORKS[name], step.MICRO_BATCH, precision)
    for models in (1, step.MODELS):
        training.on(device, models).run(training.batches(2))
    return round(perf_counter() - began, 2)


def kmeans(d: int, k: int) -> float:
    """Make a pass and an assignment of k-means."""
    began, device = perf_counter(), find_device()
    times.passes(device, times.Samples(max(2 * k, 1000), d, k))
    return round(perf_counter() - began, 2)
