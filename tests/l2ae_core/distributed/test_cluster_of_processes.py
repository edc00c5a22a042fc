"""Estimators on the workers of a cluster: the same bits with 1, 2 and 4, and with one killed."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from l2ae_core import AutoEncoderDetector, load
from l2ae_core.training.history import EpochRecord
from l2ae_kernels.arrays import Array

pytest.importorskip("distributed.client")  # "distributed" is also a folder of tests

import dask.array as da

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # warnings of Dask's own
N = 5000
FEW: dict[str, Any] = {
    "n_clusters": 3, "model": "dense", "hidden": (24,), "latent_dim": 4, "epochs": 3, "n_init": 2,
    "random_state": 0, "criterion": "both",
}  # fmt: skip


@pytest.fixture(scope="module")
def bytes8() -> Array:
    """Images (N, 8, 8) uint8 of digits, each a little brighter than the one before it."""
    images = load("digits").images[np.arange(N) % 1000, :, :, 0]
    return np.minimum(images * 200 + np.arange(N)[:, None, None] % 50, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def alone(bytes8: Array) -> AutoEncoderDetector:
    return AutoEncoderDetector(**FEW).fit(bytes8)


@contextmanager
def cluster_of(workers: int) -> Iterator[Any]:
    """A client of as many processes, each with one thread."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def require_same(found: AutoEncoderDetector, alone: AutoEncoderDetector) -> None:
    for name in ("embedding_", "labels_", "reconstruction_errors_", "cluster_centers_"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name), err_msg=name)
    assert (found.offset_, found.error_threshold_) == (alone.offset_, alone.error_threshold_)
    for name, p in alone.autoencoder_.params.items():
        np.testing.assert_array_equal(found.autoencoder_.params[name], p, err_msg=name)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers(workers: int, bytes8: Array, alone: AutoEncoderDetector) -> None:
    with cluster_of(workers) as client:
        X = client.persist(da.from_array(bytes8, chunks=(900, 8, 8)))
        require_same(AutoEncoderDetector(**FEW).fit(X), alone)
        np.testing.assert_array_equal(alone.reasons(X), alone.reasons(bytes8))


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
def test_a_worker_that_is_killed_changes_nothing(bytes8: Array, alone: AutoEncoderDetector) -> None:
    """One is killed in the training, which takes chunks of X with it, and one before the scores."""
    with cluster_of(2) as client:
        X = da.from_array(bytes8, chunks=(900, 8, 8)).persist()

        def kill() -> None:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        def on_epoch(record: EpochRecord, model: Any) -> None:
            if record.epoch == 2:
                kill()

        require_same(AutoEncoderDetector(callbacks=[on_epoch], **FEW).fit(X), alone)
        kill()
        found = alone.decision_function(X).compute()
        np.testing.assert_array_equal(found, alone.decision_function(bytes8))
