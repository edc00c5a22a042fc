"""One function a contender: what a user would write, given a `.npy` file.

Each makes what it needs, the samples in memory or the workers, and returns what is timed.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from l2ae_bench import peers
from l2ae_bench.scale.cells import FLOATS, MAPPED, MEMORY, WORKERS, Cell
from l2ae_core import data, method
from l2ae_core.cli import main as command
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.commands import load_fitted
from l2ae_core.networks import Architecture
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.threads import MOST

Timed: TypeAlias = Callable[[], dict[str, float]]  # gives an inertia, a loss, or rows written
ITERATIONS = 10  # updates of the centers, from the same ones for all but MiniBatchKMeans
CHUNK = 1 << 16  # rows of a chunk of Dask


def contender(stack: ExitStack, cell: Cell, path: Path, folder: Path) -> Timed:
    """Prepare a cell, with what ends with the stack, and return what is timed."""
    if cell.contender in WORKERS or cell.contender == "dask-ml":
        stack.enter_context(_cluster(WORKERS.get(cell.contender, MOST)))
    makers = {"k-means": _kmeans, "fit": _fit, "score": _score}
    return makers[cell.work](cell, path, folder)


def _kmeans(cell: Cell, path: Path, _: Path) -> Timed:
    centers = start_centers(path, cell.k)
    if cell.contender in (MEMORY, MAPPED, *WORKERS):
        x = _chunks(path) if cell.contender in WORKERS else _array(cell, path)
        return lambda: {"inertia": _ours(x, centers)}
    if cell.contender == "dask-ml":
        chunks = _chunks(path)
        return lambda: {"inertia": _dask_ml(chunks, centers)}
    samples: Array = np.load(path)
    if cell.contender == "faiss":
        return lambda: {"inertia": _faiss(samples, centers)}
    mini_batch = cell.contender.endswith("mini-batch")
    return lambda: {"inertia": _sklearn(samples, centers, mini_batch)}


def start_centers(path: Path, k: int) -> Array:
    """Return k samples as the centers that all begin from."""
    samples = np.load(path, mmap_mode="r")
    rows = np.sort(np.random.default_rng(1).choice(len(samples), k, replace=False))
    return np.array(samples[rows])


def _array(cell: Cell, path: Path) -> Array:
    array: Array = np.load(path, mmap_mode="r" if cell.contender == MAPPED else None)
    return array


def _chunks(path: Path) -> Any:
    return data.dask_npy(path, CHUNK)


def _ours(x: Any, centers: Array) -> float:
    found = kmeans(x, len(centers), init=centers, max_iter=ITERATIONS, tol=0,
                   rng=np.random.default_rng(0))  # fmt: skip
    return float(found.inertia)


def _sklearn(x: Array, centers: Array, mini_batch: bool) -> float:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    common = {"n_clusters": len(centers), "init": centers, "n_init": 1, "tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is to stop before
        if mini_batch:
            peer = MiniBatchKMeans(**common, batch_size=256 * MOST, random_state=0).fit(x)
        else:
            peer = KMeans(**common, max_iter=ITERATIONS, algorithm="lloyd").fit(x)
    return float(peer.inertia_)


def _faiss(x: Array, centers: Array) -> float:
    faiss = peers.load("faiss")
    peer = faiss.Kmeans(x.shape[1], len(centers), niter=ITERATIONS, nredo=1, verbose=False,
                        min_points_per_centroid=1, max_points_per_centroid=len(x))  # fmt: skip
    peer.train(x, init_centroids=centers)
    return float(peer.index.search(x, 1)[0].sum(dtype=np.float64))


def _dask_ml(chunks: Any, centers: Array) -> float:
    from dask_ml.cluster import KMeans

    # Its inertia is a sum of distances, not of squares, where it ends before it converges.
    peer = KMeans(len(centers), init=centers, max_iter=ITERATIONS, tol=0.0).fit(chunks)
    return float(peer.inertia_)


@contextmanager
def _cluster(workers: int) -> Iterator[None]:
    """Start workers of one thread each, and make them the ones that Dask uses."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None,
                     host="127.0.0.1") as cluster,
        Client(cluster),
    ):  # fmt: skip
        yield


def _images(cell: Cell, path: Path) -> Any:
    """Return the images of a file as they are stored, in memory, or as float32 in memory."""
    images: Any = data.load(path if cell.contender == MAPPED else np.load(path)).images
    return np.asarray(images) if cell.contender == FLOATS else images


def _fit(cell: Cell, path: Path, _: Path) -> Timed:
    """Train an epoch of the paper's network."""
    if cell.contender in WORKERS:
        from l2ae_core import AutoEncoderClusterer

        chunks = _chunks(path)
        e = AutoEncoderClusterer(cell.k, model="cae", epochs=1, n_init=1, random_state=0)
        return lambda: {"loss": e.fit(chunks).history_[0]["loss"]}
    images, architecture = _images(cell, path), Architecture("cae", (28, 28, 1))

    def train() -> dict[str, float]:
        _, history = method.train(images, architecture, epochs=1, seed=0)
        return {"loss": history.records[0].loss}

    return train


def _score(cell: Cell, path: Path, folder: Path) -> Timed:
    """Score all images by a run: a file into a file as the command does, else in memory."""
    if cell.contender in (MEMORY, FLOATS):
        run, images = load_fitted(folder / "run"), _images(cell, path)
        return lambda: {"rows": len(method.score(run.model, run.clusters.centers, images).v)}
    out = folder / "scores.csv"
    arguments = ["score", str(folder / "run"), "--data", str(path), "--out", str(out)]
    if cell.contender in WORKERS:
        from distributed import default_client

        arguments += ["--cluster", default_client().scheduler.address]

    def score() -> dict[str, float]:
        if status := command(arguments):
            raise ValueError(f"scale: l2ae score ended with {status}")
        with out.open("rb") as file:
            return {"rows": sum(1 for _ in file) - 1}

    return score
