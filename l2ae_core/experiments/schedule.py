"""Run what is missing: side by side, resumable, without more threads than cores.

A run is done when its result file is there. A network that others go on from (DCEC from CAE) is
trained before them. With J jobs each has its share of the cores; on a Dask cluster every worker
does one run at a time, and RESULTS is a folder that all machines see.
"""

import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from l2ae_core.experiments import clustering, detection
from l2ae_core.experiments.methods import CLUSTER, SCORE
from l2ae_core.experiments.run import Folder, Result, Run
from l2ae_core.experiments.systems import find_system
from l2ae_core.files import atomic_file
from l2ae_core.training.run import versions
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.threads import MOST, threads


def run_missing(
    runs: Iterable[Run], folder: Folder, *, jobs: int = 1, cluster: str | None = None,
    progress: bool = True,
) -> list[Result]:  # fmt: skip
    """Do the runs whose result is not there yet, and return the results of all, in order.

    `jobs` runs go side by side; `cluster` is the address of a Dask scheduler that takes them
    instead. A run that fails raises its own error; all others that had finished are kept.
    Raises ValueError for jobs < 1, a system without an answer to the task, or a damaged result.
    """
    wanted = list(dict.fromkeys(runs))
    if jobs < 1:
        raise ValueError(f"reproduce: jobs is {jobs} but expected at least 1")
    for run in wanted:
        require_method(run)
    folder.path.mkdir(parents=True, exist_ok=True)
    waves = _waves([run for run in wanted if not folder.result(run).exists()])
    with tqdm(total=sum(map(len, waves)), desc="runs", disable=not progress) as bar:
        for wave in waves:
            for done in _side_by_side(wave, folder, jobs, cluster, progress):
                bar.set_postfix_str(str(done), refresh=False)
                bar.update()
    return [Result.read(folder.result(run)) for run in wanted]


def require_method(run: Run) -> None:
    """Raise ValueError where the system of a run has no answer to its task."""
    table = CLUSTER if run.task == "clustering" else SCORE
    if find_system(run.system).method not in table:
        raise ValueError(f"reproduce: {run.system} does no {run.task}")


def do(run: Run, folder: Folder, progress: bool) -> Run:
    """Do one run and write its result."""
    started = perf_counter()
    method = find_system(run.system).method
    if run.task == "clustering":
        dataset = clustering.load_all(run, folder)
        clustered = CLUSTER[method](run, folder, dataset, progress)
        result = clustering.to_result(run, dataset, clustered, environment(dataset.digest))
        arrays = clustered.arrays
    else:
        images = detection.partition(run, folder)
        scored = SCORE[method](run, folder, images, progress)
        result = detection.to_result(run, images, scored, environment(images.train.digest))
        arrays = scored.arrays
    result.seconds["all"] = round(perf_counter() - started, 2)
    if arrays:
        _write_arrays(arrays, folder, run)
    result.write(folder.result(run))
    return run


def environment(digest: str) -> dict[str, Any]:
    """What the bits of a result depend on, and when it was made."""
    from l2ae_core.bench.machine import processor

    return {
        "versions": versions(),
        "machine": {"processor": processor(), "system": platform.system(), "cores": MOST},
        "data_sha256": digest,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _waves(runs: list[Run]) -> list[list[Run]]:
    """Runs that go on from nothing, then those that go on from a network of another run."""
    first = [run for run in runs if run.start is None]
    later = [run for run in runs if run.start is not None]
    starts = dict.fromkeys(run.start for run in later if run.start is not None)
    first += [start for start in starts if start not in first]
    return [wave for wave in (first, later) if wave]


def _side_by_side(
    runs: list[Run], folder: Folder, jobs: int, cluster: str | None, progress: bool
) -> Iterator[Run]:
    """Yield the runs as they end."""
    if jobs == 1 and cluster is None:
        for run in runs:
            yield do(run, folder, progress)
        return
    share = max(1, MOST // jobs) if cluster is None else None
    with _workers(jobs, cluster) as parallel:
        yield from parallel(delayed(_do_in_worker)(run, folder, share) for run in runs)


@contextmanager
def _workers(jobs: int, cluster: str | None) -> Iterator[Parallel]:
    """Processes on this machine, or the workers of a Dask cluster."""
    if cluster is None:
        with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=max(1, MOST // jobs)):
            yield Parallel(return_as="generator_unordered")
        return
    from distributed import Client  # only a cluster needs it: pip install 'l2ae[dist]'

    with Client(cluster), parallel_config("dask", n_jobs=-1):
        yield Parallel(return_as="generator_unordered")


def _do_in_worker(run: Run, folder: Folder, share: int | None) -> Run:
    """Do a run with its share of the cores; None: all that the worker has."""
    with threads(MOST if share is None else share):
        return do(run, folder, progress=False)


def _write_arrays(arrays: dict[str, Array], folder: Folder, run: Run) -> None:
    path = folder.arrays(run.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
