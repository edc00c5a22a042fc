"""Runs over the chunks of a Dask array: the bits of the rung that takes the samples in memory."""

from typing import Any

import numpy as np
import pytest

da = pytest.importorskip("dask.array")

import dask  # noqa: E402  # only where it is installed

from l2ae_kernels import ops  # noqa: E402
from l2ae_kernels.arrays import Array, device_name, to_host  # noqa: E402
from l2ae_kernels.cpu.codegen.vectors import get_vectors, vectors  # noqa: E402
from l2ae_kernels.dask import chunks as module  # noqa: E402
from l2ae_kernels.dask import passes, tasks  # noqa: E402
from l2ae_kernels.dask import restarts as on_dask  # noqa: E402
from l2ae_kernels.dask.chunks import BLOCK, Chunks, aligned, in_memory  # noqa: E402
from l2ae_kernels.dask.numpy_sums import piece_of, sum_of_pieces  # noqa: E402
from l2ae_kernels.dask.ordered import variances  # noqa: E402
from l2ae_kernels.dask.tasks import Task, compute, value  # noqa: E402
from l2ae_kernels.reference.restarts import Restarts  # noqa: E402

from ..cuda.samples import blobs  # noqa: E402

R = 3
SHAPES = [  # n, d, k: short samples, long ones; one chunk; a block that ends in the next chunk
    (5120, 3, 5),
    (4097, 90, 37),
    (700, 10, 4),
    (33 * 1100, 2, 3),
]


def wide_range(n: int, d: int, dtype: type) -> Array:
    """Numbers of many sizes, whose float64 sums depend on the order of the additions."""
    rng = np.random.default_rng(n + d)
    return (rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-5, 4, (n, 1))).astype(dtype)


def state(restarts: Restarts) -> dict[str, object]:
    names = ("centers", "sums", "counts", "inertia")
    changed = (restarts.changed != 0).tolist()
    return {name: getattr(restarts, name).tobytes() for name in names} | {"changed": changed}


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize(
    ("dtype", "name"), [(np.float32, "best"), (np.float32, "none"), (np.float64, "none")]
)
def test_every_number_is_that_of_samples_in_memory(
    monkeypatch: pytest.MonkeyPatch, dtype: type, name: str, n: int, d: int, k: int
) -> None:
    monkeypatch.setattr(passes, "STEP", 1024)  # several in a chunk
    x = blobs(n, d, k, spread=1.5).astype(dtype) + wide_range(n, d, dtype) / 1e3
    rng = np.random.default_rng(k)
    first, draws = rng.integers(n, size=R), rng.random((R, k - 1, 3))
    draws[..., 2] = np.nextafter(1, 0)  # the last sample
    best = getattr(get_vectors(), "name", "none")
    with vectors(best if name == "best" else name):
        here = ops.restarts(x, k, R)
        there = ops.restarts(da.from_array(x, chunks=(1500, d)), k, R)
        assert device_name(there.x) == "dask"
        assert there.max_abs == here.max_abs
        stuck = [restarts.init_centers(first, draws) for restarts in (here, there)]
        np.testing.assert_array_equal(*stuck)
        for active in ([0, 1, 2], [2]):  # runs end
            for restarts in (here, there):
                restarts.assign(active)
            assert state(there) == state(here)
            moved = [r.iterate(active, [1] * len(active), 0.0, True) for r in (here, there)]
            assert moved[0] == moved[1]
            assert state(there) == state(here)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_clusters_move_to_the_same_samples(
    dtype: type, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if together:  # what chunks have comes here added up
        monkeypatch.setattr(on_dask, "COMING", 1)
        monkeypatch.setattr(on_dask, "TOGETHER", 2)
    half = wide_range(1200, 4, dtype)
    x = np.concatenate([half, -half])  # equal distances from 0, in several chunks
    here, there = ops.restarts(x, 6, 1), ops.restarts(da.from_array(x, chunks=(1024, 2)), 6, 1)
    for restarts in (here, there):
        restarts.centers[0] = 1e6
        restarts.centers[0, 3] = 0
        restarts.assign([0])
        restarts.fill(0, 0.0)
        assert restarts.counts.min() > 0
    assert state(there) == state(here)
    for restarts in (here, there):
        restarts.iterate([0], [1], 0.0, False)
    assert state(there) == state(here)


@pytest.mark.needs_vectors
def test_what_comes_does_not_grow_with_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of 20 chunks, of which three would fit, come as three."""
    x, k = blobs(20 * 1024, 3, 5, spread=1.5).astype(np.float32), 5
    monkeypatch.setattr(on_dask, "COMING", 3 * R * k * 3 * 8)
    come = []

    def compute(*wanted: Any) -> Any:
        come.append(len(wanted[0]))
        return original(*wanted)

    original = on_dask.compute
    here, there = ops.restarts(x, k, R), ops.restarts(da.from_array(x, chunks=(1024, 3)), k, R)
    monkeypatch.setattr(on_dask, "compute", compute)
    for restarts in (here, there):
        restarts.centers[:] = x[:k]
        restarts.assign([0, 1, 2])
    assert come == [3]
    assert state(there) == state(here)


def test_runs_side_by_side_take_no_more_memory_than_the_samples() -> None:
    """Their distances, before and after a center is taken; and few sums here."""
    picked = on_dask.Restarts.runs_together
    for dtype, n, d, k, expected in (
        (np.float32, 10**8, 10, 10, 5),
        (np.float64, 10**8, 10, 10, 5),
        (np.float64, 10**6, 2, 10, 4),  # they fit what runs may always take
        (np.float32, 10**8, 1000, 1000, 8 if get_vectors() else 1),
        (np.float64, 10**8, 1000, 1000, 1),
    ):
        x = da.zeros((n, d), dtype=dtype, chunks=(1 << 20, d))
        assert picked(x, k) == expected, (dtype, n, d, k)


def test_an_inertia_that_cancels_is_summed_up() -> None:
    x = np.repeat(wide_range(5, 3, np.float32), 700, axis=0)
    here, there = ops.restarts(x, 5, 1), ops.restarts(da.from_array(x, chunks=(999, 3)), 5, 1)
    for restarts in (here, there):
        restarts.centers[0] = x[::700] * np.float32(1 + 1e-6)
        restarts.assign([0])
    assert state(there) == state(here)
    assert 0 < there.inertia[0] < 1e-9 * (x**2).sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 7, 129, 1033, 8193, 40_001])
def test_sums_of_pieces_are_those_of_numpy(n: int, dtype: type) -> None:
    a = wide_range(n, 1, dtype)[:, 0]
    rng = np.random.default_rng(n)
    for cuts in ([], [n // 2], sorted(rng.integers(n, size=9)), list(range(1024, n, 1024))):
        parts = zip(np.split(a, cuts), [0, *cuts], strict=True)
        pieces = [piece_of(part, int(first), n) for part, first in parts]
        assert sum_of_pieces(pieces, n, a.dtype) == float(a.sum(dtype=np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_piece_costs_what_it_holds(dtype: type) -> None:
    """And not what all numbers are: 4 · 10¹⁷ of them."""
    first = 2**58 + 5
    piece = piece_of(np.ones(3, dtype), first, 2**59)
    assert len(piece.nodes) + len(piece.ends) == 1
    assert piece.ends[0][0] == first - 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d"), [(1, 2), (20_001, 1), (20_001, 3), (3001, 100)])
def test_variances_are_those_of_numpy(n: int, d: int, dtype: type) -> None:
    x = wide_range(n, d, dtype)
    found = variances(aligned("test", da.from_array(x, chunks=(3000, d))))
    assert found.tobytes() == x.var(axis=0, dtype=np.float64).tobytes()


@pytest.mark.parametrize("rows", [100, 511, 513, 900, 1024, 1500, 5000])
def test_chunks_are_whole_blocks(rows: int) -> None:
    x = np.arange(2 * 5000).reshape(5000, 2)
    whole = aligned("test", da.from_array(x, chunks=(rows, 1)))
    first = np.cumsum([0, *whole.chunks[0]])[:-1]
    assert not (first % BLOCK).any()
    assert min(whole.chunks[0]) > 0
    assert whole.chunks[1] == (2,)
    np.testing.assert_array_equal(to_host(whole), x)
    again = aligned("test", whole)
    assert again is whole


@pytest.mark.parametrize("rows", [1024, 700])
def test_a_pass_makes_every_chunk_once(rows: int) -> None:
    """Also where blocks of a chunk are the neighbour's."""
    made = []

    def make(block_id: tuple[int, int]) -> Array:
        made.append(block_id[0])
        return np.full((rows, 2), block_id[0])

    with dask.config.set(scheduler="synchronous"):
        chunks = ((rows,) * 4, (2,))
        x = da.map_blocks(make, chunks=chunks, dtype=int, meta=np.empty((0, 0), int))
        found = Chunks(aligned("test", x))
        for _ in range(2):
            made.clear()
            rows_found = compute(found.map(passes.rows_of, rows=np.zeros(0, int)))
            assert sorted(made) == [0, 1, 2, 3]
    assert len(rows_found) == len(found)


@pytest.mark.parametrize("persist", [False, True])
def test_graphs_of_chunks_that_share_a_part_stay_flat(
    persist: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of x − x.mean() do, where each chunk needs a part of all."""
    looked = [0]

    def counted(*arguments: Any, **named: Any) -> Any:
        looked[0] += 1
        return original(*arguments, **named)

    original = module.get_dependencies
    for where in (module, tasks):
        monkeypatch.setattr(where, "get_dependencies", counted)
    counts = []
    for m in (20, 80):
        x = np.arange(m * 1024.0).reshape(-1, 1)
        chunked = da.from_array(x, chunks=(1024, 1))
        chunked = chunked - chunked.mean(axis=0)
        looked[0] = 0
        chunks = Chunks(chunked.persist() if persist else chunked)
        found = compute(chunks.map(passes.rows_of, rows=np.zeros(0, int)))
        assert len(found) == m
        counts.append(looked[0])
    assert counts[1] < 5 * counts[0]


def test_arrays_for_all_chunks_do_not_swell_the_graph() -> None:
    chunks = Chunks(da.zeros((1 << 22, 64), dtype=np.float32, chunks=(4096, 64)))
    assert isinstance(chunks.send(np.zeros(100)), np.ndarray)
    assert isinstance(chunks.send(np.zeros((64, 64))), tasks.Task)  # 32 KB for each of 1024


def test_what_lies_in_memory_is_known() -> None:
    x = da.from_array(np.zeros((3000, 2)), chunks=(1024, 2))
    assert in_memory(x)
    assert not in_memory(x + 1)
    assert in_memory((x + 1).persist())
    assert not in_memory((x + 1).persist().rechunk((2048, 2)))
    assert not in_memory(da.zeros((3000, 2), chunks=(1024, 2)))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_tasks_end_with_what_waits_for_them(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a traceback, as a notebook keeps one, holds their futures."""
    distributed = pytest.importorskip("distributed")
    import time

    with (
        distributed.LocalCluster(1, threads_per_worker=1, processes=False,
                                 dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip

        def gather(futures: Any) -> Any:
            while not cluster.scheduler.tasks:  # they are sent in another thread
                time.sleep(0.01)
            raise error

        monkeypatch.setattr(client, "gather", gather)
        wanted = [Task(time.sleep, value(0.05)) for _ in range(200)]
        with pytest.raises(error) as kept:
            compute(wanted, [])
        ended = time.monotonic() + 5
        while cluster.scheduler.tasks and time.monotonic() < ended:
            time.sleep(0.01)
        assert not cluster.scheduler.tasks
        assert kept.tb is not None


def test_a_graph_begins_at_results_that_are_kept() -> None:
    """Of a hundred tasks, each of which takes the one before."""
    calls = []

    def add(a: int) -> int:
        calls.append(a)
        return a + 1

    last = value(0)
    for i in range(100):
        step = Task(add, last)
        assert compute([Task(abs, step)], [step]) == [i + 1]
        last = step
    assert calls == list(range(100))
    graph: dict[object, object] = {}
    last.write(graph)
    assert len(graph) == 1
