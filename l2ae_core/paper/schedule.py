"""Run what is missing: side by side, resumable, without more threads than cores.

A run is done when its result file is there. A network that others go on from (DCEC from CAE) is
trained before them. A run that fails does not stop the others.

    jobs = J   J processes on this machine, each with its share of the cores
    cluster    the workers of a Dask scheduler, which see RESULTS at the same path; as many runs at
               a time as a worker has threads, each with its share of that machine's cores (where a
               machine has several workers, set NUMBA_NUM_THREADS to the cores of one)
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from threading import Thread
from time import perf_counter, sleep
from typing import TypeAlias

import numpy as np
from joblib import Parallel, delayed, parallel_config

from l2ae_core.devices import DeviceName, training_device
from l2ae_core.distributed.workers import connect
from l2ae_core.environment import machine, versions
from l2ae_core.files import atomic_file, remove_temporary_files
from l2ae_core.locks import locked
from l2ae_core.paper import protocols
from l2ae_core.paper.methods import CLUSTER, SCORE
from l2ae_core.paper.on_device import describe_group, groups_of, train_networks, trained_on
from l2ae_core.paper.result import Environment, Machine, Result
from l2ae_core.paper.run import ResultsDir, Run
from l2ae_core.paper.systems import find_system
from l2ae_core.progress import Bar, say
from l2ae_core.signals import leave_signals_to_the_parent
from l2ae_core.tables import counted
from l2ae_core.training.history import TrainingError
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.threads import MOST, get_threads, threads
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.ops.checks import count

Attempt: TypeAlias = tuple[Run, Exception | None]  # and why it failed
Attempts: TypeAlias = Callable[[list[Run], ResultsDir], Iterator[Attempt]]  # as they end
_log = logging.getLogger(__name__)
LOOK = 1.0  # seconds between two looks at the parent


def run_missing(
    runs: Iterable[Run], folder: ResultsDir, *, jobs: int = 1, cluster: str | None = None,
    device: Device | DeviceName | None = None, micro_batch: int | None = None,
    progress: bool = True,
) -> list[Result]:  # fmt: skip
    """Do the runs whose result is not there yet, and return the results of all, in order.

    `jobs` runs go side by side; `cluster` is the address of a Dask scheduler that takes them
    instead. A `device` trains the networks of systems whose method is "network", several at once
    (on_device.py), with the `micro_batch` of `train_together`; all else, and every other system, is
    done on the processor.
    Ctrl-C (KeyboardInterrupt) is raised on; what had finished is kept, and the next call goes on
    with what had not.
    Raises ValueError at once for jobs < 1, or other than 1 on a device, a system without an answer
    to the task, a folder of collected results, or Dask or the device missing;
    ChildProcessError when one of the processes was killed; ValueError at the end, with the name of
    the run, when runs failed (bad data, a training that diverged, a full disk, a run that another
    process is at work on) or a result is damaged.
    """
    asked = list(dict.fromkeys(runs))
    if jobs < 1:
        raise ValueError(f"reproduce: jobs is {jobs} but expected at least 1")
    if cluster is not None and find_spec("distributed") is None:
        raise ValueError("reproduce: cluster needs Dask: pip install 'l2ae[dist]'")
    chosen = training_device(device)
    if chosen is not None and (jobs != 1 or cluster is not None):
        raise ValueError(f"reproduce: device is {chosen}: expected jobs 1 and no cluster")
    if micro_batch is not None:
        count("reproduce", "micro_batch", micro_batch)
        if chosen is None:
            raise ValueError(f"reproduce: micro_batch is {micro_batch} but device is the processor")
    for run in asked:
        require_method(run)
    if any(folder.path.glob("*.jsonl")):
        raise ValueError(
            f"reproduce: {folder.path} has collected results, to be shown; run into another folder"
        )
    folder.path.mkdir(parents=True, exist_ok=True)
    waves = plan(asked, folder)
    total, failed, done = sum(map(len, waves)), [], 0
    missing = counted(total, "missing run")
    with Bar(total=total, desc="runs", disable=not progress) as bar:
        try:
            attempts = _attempts(waves, folder, jobs, cluster, chosen, micro_batch, progress)
            for run, error in attempts:
                done += error is None
                failed += [f"{run}: {error}"] if error else []
                ended = f"{'failed' if error else 'done'}: {run}"
                bar.set_postfix_str(ended, refresh=False)
                bar.update()
                so_far = f"{done + len(failed)} of {counted(total, 'run')}"
                say(f"{so_far}, {ended}", _log, shown=progress)
        except KeyboardInterrupt as interrupt:
            goes_on = "the same command goes on"
            if cluster is not None:  # Dask cannot stop a task that has begun
                goes_on = f"let those that run on {cluster} end before {goes_on}"
            interrupt.__notes__ = [f"stopped after {done} of {missing}; {goes_on}"]
            raise
        except BrokenExecutor as error:
            raise ChildProcessError(
                f"reproduce: a process was killed after {done} of {missing}, perhaps "
                "for want of memory; the same command goes on"
            ) from error
    if failed:
        of = counted(total, "run")
        raise ValueError(f"reproduce: {len(failed)} of {of} failed: {'; '.join(failed)}")
    return [Result.read(folder.result(run)) for run in asked]


def plan(runs: Iterable[Run], folder: ResultsDir) -> list[list[Run]]:
    """Return what is to be done, in waves: what goes on from a network comes after that network.

    The network of a start is needed even where nobody asked for it.
    """
    missing = [run for run in dict.fromkeys(runs) if not folder.result(run).exists()]
    later = [run for run in missing if run.start is not None]
    starts = [run.start for run in later if run.start is not None]
    absent = [start for start in starts if not folder.trained(start)]
    first = list(dict.fromkeys([run for run in missing if run.start is None] + absent))
    return [wave for wave in (first, later) if wave]


def require_method(run: Run) -> None:
    """Raise ValueError where the system of a run has no answer to its task."""
    table = CLUSTER if run.task == "clustering" else SCORE
    if find_system(run.system).method not in table:
        raise ValueError(f"reproduce: {run.system} does no {run.task}")


def do(run: Run, folder: ResultsDir, progress: bool) -> None:
    """Do one run, or go on with it, and write its result.

    BlockingIOError when another process is at work on the same run.
    """
    path, images = folder.result(run), folder.arrays(run.id)
    with locked(path):
        for written in (path, images):
            remove_temporary_files(written.parent, written.name)
        result, arrays = _measure(run, folder, progress)
        if arrays:
            with atomic_file(images) as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
        result.write(path)


def _measure(run: Run, folder: ResultsDir, progress: bool) -> tuple[Result, dict[str, Array]]:
    """Train and evaluate; return the result, and the images for the report."""
    started = perf_counter()
    method = find_system(run.system).method
    if run.task == "clustering":
        dataset = protocols.load_all(run, folder)
        clusters = CLUSTER[method](run, folder, dataset, progress)
        seconds = round(perf_counter() - started, 2)
        here = environment(dataset.digest, trained_on(run, folder))
        return protocols.compare_clusters(run, dataset, clusters, seconds, here), clusters.arrays
    images = protocols.partition(run, folder)
    scores = SCORE[method](run, folder, images, progress)
    seconds = round(perf_counter() - started, 2)
    here = environment(images.train.digest, trained_on(run, folder))
    return protocols.measure_detection(run, images, scores, seconds, here), scores.arrays


def environment(digest: str, device: str | None = None) -> Environment:
    """Return what the bits of a result depend on, and when it was made."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    return Environment(versions(), Machine(**machine()), digest, today, get_threads(), device)


def _attempts(
    waves: list[list[Run]], folder: ResultsDir, jobs: int, cluster: str | None,
    device: Device | None, micro_batch: int | None, progress: bool,
) -> Iterator[Attempt]:  # fmt: skip
    """Yield the runs as they end."""
    if device is not None:
        for wave in waves:
            yield from _after_device(wave, folder, device, micro_batch, progress)
        return
    if jobs == 1 and cluster is None:
        yield from (_attempt(run, folder, progress) for wave in waves for run in wave)
        return
    folder = folder.resolved()  # a worker may stand elsewhere
    side_by_side = _in_processes(jobs) if cluster is None else _on_cluster(cluster)
    with side_by_side as attempt_all:
        for wave in waves:
            yield from attempt_all(wave, folder)


def _after_device(
    wave: list[Run], folder: ResultsDir, device: Device, micro_batch: int | None, progress: bool
) -> Iterator[Attempt]:
    """Train the networks of a wave on a device; do each run when its own is there.

    A run whose training failed there is not done: the processor would go on with it.
    """
    groups = groups_of(wave, folder)
    waiting = {run for group in groups for run in group}
    yield from (_attempt(run, folder, progress) for run in wave if run not in waiting)
    for i, group in enumerate(groups, start=1):
        say(f"group {i} of {len(groups)}, {describe_group(group)}", _log, shown=progress)
        failed = train_networks(group, folder, device, micro_batch=micro_batch, progress=progress)
        for run in group:
            yield (run, failed[run]) if run in failed else _attempt(run, folder, progress)


@contextmanager
def _in_processes(jobs: int) -> Iterator[Attempts]:
    """Processes on this machine."""
    share = max(1, MOST // jobs)
    with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=share):
        parallel = Parallel(return_as="generator_unordered")
        here = os.getpid()
        yield lambda runs, folder: parallel(
            delayed(_in_process)(run, folder, share, here) for run in runs
        )


@contextmanager
def _on_cluster(address: str) -> Iterator[Attempts]:
    """The workers of a Dask cluster.

    Not by joblib, which does all work here and now when there is one worker alone.
    """
    from distributed import as_completed  # only a cluster needs it

    with connect("reproduce: cluster", address) as client, client.as_current():
        yield lambda runs, folder: (
            future.result()
            for future in as_completed(
                [client.submit(_in_worker, run, folder, None, pure=False) for run in runs]
            )
        )


def _attempt(run: Run, folder: ResultsDir, progress: bool) -> Attempt:
    """Do a run, or return why it failed: bad input, a training that diverged, a full disk."""
    try:
        do(run, folder, progress)
    except (ValueError, OSError, TrainingError) as error:
        return run, error
    return run, None


def _in_process(run: Run, folder: ResultsDir, share: int, parent: int) -> Attempt:
    """Do a run in a process that ends with its parent.

    Otherwise it would train for hours after its parent was killed, with the lock of the run, which
    the next command could not go on with.
    """
    leave_signals_to_the_parent()
    watch = Thread(target=_end_with, args=(parent,), name="end with the parent", daemon=True)
    watch.start()
    return _in_worker(run, folder, share)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        sleep(LOOK)
    os._exit(1)


def _in_worker(run: Run, folder: ResultsDir, share: int | None) -> Attempt:
    """Do a run with its share of the cores; None: that of a thread of a Dask worker."""
    if share is None:
        from distributed import get_worker

        share = MOST // get_worker().state.nthreads
    with threads(max(1, min(share, MOST))):
        return _attempt(run, folder, progress=False)
