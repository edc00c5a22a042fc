"""k-means on Dask arrays by workers in processes: no bit depends on them, or on lost ones."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

da = pytest.importorskip("dask.array")

import dask  # noqa: E402  # only where it is installed

from l2ae_core.clustering.kmeans import kmeans  # noqa: E402
from l2ae_core.data import dask_npy  # noqa: E402

from .made_up import blobs, rng  # noqa: E402
from .test_kmeans_on_dask import bits  # noqa: E402


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 100,000 samples."""
    path = tmp_path_factory.mktemp("samples") / "x.npy"
    np.save(path, blobs(100_000, 10, 6, spread=1.0).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def in_memory(samples: Path) -> dict[str, object]:
    return bits(kmeans(np.load(samples), 6, n_init=3, max_iter=8, rng=rng(3)))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Dask's own
@pytest.mark.parametrize(
    ("workers", "threads", "processes"), [(1, 1, True), (2, 1, True), (4, 1, True), (1, 2, False)]
)
def test_workers_do_not_change_a_bit(
    workers: int, threads: int, processes: bool, samples: Path, in_memory: dict[str, object]
) -> None:
    from distributed import Client, LocalCluster

    def received(dask_worker: Any) -> int:  # from other workers
        return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)

    with (
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        LocalCluster(n_workers=workers, threads_per_worker=threads, processes=processes,
                     dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        file = dask_npy(samples, 16 * 1024)
        assert bits(kmeans(file, 6, n_init=3, max_iter=8, rng=rng(3))) == in_memory
        # a few thousand rows, which tell where zero lies, but no chunks and no distances
        assert sum(client.run(received).values()) < file.nbytes / 10
        cut = da.from_array(np.load(samples), chunks=(9000, 10))
        assert bits(kmeans(cut, 6, n_init=3, max_iter=8, rng=rng(3))) == in_memory


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.filterwarnings("default")  # of Dask's own
@pytest.mark.parametrize("persist", [False, True])
def test_a_worker_that_is_killed_does_not_change_a_bit(
    persist: bool, samples: Path, in_memory: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: while centers are drawn and while they move. Its labels and chunks are lost."""
    from distributed import Client, LocalCluster

    from l2ae_kernels.dask import restarts

    killed: list[int] = []
    passes = 0

    def compute(*tasks: Any) -> Any:
        nonlocal passes
        passes += 1
        if passes in (5, 18):
            pid = next(iter(client.run(os.getpid).values()))
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        return original(*tasks)

    original = restarts.compute
    monkeypatch.setattr(restarts, "compute", compute)
    with (
        # After 15 s a cluster would not wait any longer for a worker that starts again.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        x = dask_npy(samples, 16 * 1024)
        found = kmeans(x.persist() if persist else x, 6, n_init=3, max_iter=8, rng=rng(3))
        assert bits(found) == in_memory
        assert len(set(killed)) == 2
