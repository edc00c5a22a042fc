"""k-means on a device: every kernel against the reference, in every order, on ragged shapes."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.kmeans import resident, shapes, start, tensor
from l2ae_kernels.cuda.kmeans.restarts import Resident, Restarts
from l2ae_kernels.implementations import IMPLEMENTATIONS
from l2ae_kernels.reference import kmeans as reference

SHAPES = [  # n, d, k: short samples with k known and not, whole tiles and more, long samples
    (1, 1, 1),
    (33, 10, 10),
    (257, 3, 7),
    (1025, 10, 17),
    (513, 40, 9),
]
DTYPES = [np.float32, np.float64]
# A shape of a type is seconds of compilation; float64 has every kernel in these.
EVERY_DAY = [(33, 10, 10), (513, 40, 9)]


def typed(shapes: list[tuple[int, int, int]]) -> pytest.MarkDecorator:
    """Shapes in float32, and in float64; of these only some in every run of the tests."""
    cases = []
    for dtype in DTYPES:
        for n, d, k in shapes:
            every_day = dtype == np.float32 or (n, d, k) in EVERY_DAY
            marks = () if every_day else pytest.mark.slow
            cases.append(pytest.param(n, d, k, dtype, marks=marks))
    return pytest.mark.parametrize(("n", "d", "k", "dtype"), cases)


# Sums of d squares in float32 and float64, in any order.
RTOL = {np.float32: 1e-5, np.float64: 1e-13}
ASSIGN = ["cuda-registers", "cuda-tensor"]


def blobs(n: int, d: int, k: int, dtype: type = np.float32, spread: float = 0.7) -> Array:
    rng = np.random.default_rng(n + d + k)
    centers = rng.normal(size=(k, d))
    return (centers[rng.integers(0, k, n)] + spread * rng.normal(size=(n, d))).astype(dtype)


def starts(x: Array, k: int, runs: int) -> Array:
    rng = np.random.default_rng(7)
    return np.stack([x[rng.choice(len(x), k, replace=False)] for _ in range(runs)])


def move_to_means(restarts: Restarts, which: list[int]) -> None:
    for r in which:
        filled = restarts.counts[r] > 0
        means = restarts.sums[r, filled] / restarts.counts[r, filled, None]
        restarts.centers[r, filled] = means.astype(restarts.centers.dtype)


def assert_nearest(x: Array, centers: Array, labels: Array, distances: Array) -> None:
    """Labels may differ from the nearest only where the two distances agree to rounding."""
    dtype = x.dtype.type
    exact = ((x[:, None].astype(np.float64) - centers[None].astype(np.float64)) ** 2).sum(axis=2)
    chosen = exact[np.arange(len(x)), labels]
    np.testing.assert_allclose(chosen, exact.min(axis=1), rtol=RTOL[dtype])
    np.testing.assert_allclose(distances, chosen, rtol=RTOL[dtype])


@typed(SHAPES)
def test_assign(device: Device, n: int, d: int, k: int, dtype: type) -> None:
    x, centers = blobs(n, d, k, dtype), blobs(k, d, 3, dtype)
    labels, distances = ops.assign(device.to_device(x), device.to_device(centers))
    assert labels.dtype == np.int32
    assert distances.dtype == dtype
    assert_nearest(x, centers, device.to_host(labels), device.to_host(distances))


@pytest.mark.parametrize("d", [3, 10, 40])
@pytest.mark.parametrize("rung", ASSIGN)
def test_ties_go_to_the_lowest_index(device: Device, rung: str, d: int) -> None:
    x = np.zeros((70, d), np.float32)
    values = [5.0] * 70 + [3, 1, -1, 1]
    centers = np.stack([np.full(d, value, np.float32) for value in values])
    labels, distances = ops.assign(device.to_device(x), device.to_device(centers), rung=rung)
    np.testing.assert_array_equal(device.to_host(labels), 71)
    np.testing.assert_array_equal(device.to_host(distances), d)


@pytest.mark.parametrize("d", [3, 40])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("rung", ASSIGN)
def test_labels_are_in_range_whatever_the_numbers(
    device: Device, rung: str, value: float, d: int
) -> None:
    x, centers = blobs(40, d, 3), blobs(70, d, 4)
    x[3], centers[5] = value, -value
    labels = device.to_host(
        ops.assign(device.to_device(x), device.to_device(centers), rung=rung)[0]
    )
    assert 0 <= labels.min() <= labels.max() < 70
    rest = np.arange(40) != 3
    with np.errstate(all="ignore"):
        expected = ops.assign(x, np.delete(centers, 5, axis=0), rung="reference")[0]
    np.testing.assert_array_equal(labels[rest], (expected + (expected >= 5))[rest])


@typed([*SHAPES, (65, 300, 60)])  # sums too many for a block
def test_update(device: Device, n: int, d: int, k: int, dtype: type) -> None:
    x, labels = blobs(n, d, k, dtype), np.random.default_rng(0).integers(0, k, n)
    sums, counts = ops.update(device.to_device(x), device.to_device(labels.astype(np.int32)), k)
    expected, expected_counts = reference.update(x, labels, k)
    np.testing.assert_array_equal(device.to_host(counts), expected_counts)
    np.testing.assert_allclose(device.to_host(sums), expected, rtol=0, atol=1e-10)


def test_update_of_numbers_of_many_sizes_is_exact_and_has_one_carry(device: Device) -> None:
    """Sums whose low halves wrap often: about half of the additions hand on a carry."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(2000, 3)) * 10.0 ** rng.uniform(-9, 3, (2000, 1))).astype(np.float32)
    labels = rng.integers(0, 2, 2000).astype(np.int32)
    sums, _ = ops.update(device.to_device(x), device.to_device(labels), 2)
    expected = reference.update(x, labels, 2)[0]
    np.testing.assert_allclose(device.to_host(sums), expected, rtol=1e-10)


@typed(SHAPES)
def test_every_pass_is_that_of_the_reference(
    device: Device, n: int, d: int, k: int, dtype: type
) -> None:
    x = blobs(n, d, k, dtype)
    slow = ops.restarts(x, k, 3, rung="reference")
    fast = ops.restarts(device.to_device(x), k, 3)
    assert fast.largest == slow.largest
    fast.centers[:] = starts(x, k, 3)
    for step in range(4):
        which = [0, 1, 2] if step < 2 else [0, 2]  # run 1 has ended
        slow.centers[:] = fast.centers
        fast.assign(which)
        slow.assign(which)
        np.testing.assert_array_equal(device.to_host(fast.labels), slow.labels)
        np.testing.assert_array_equal(fast.counts, slow.counts)
        np.testing.assert_array_equal(fast.changed[which], slow.changed[which])
        np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)
        np.testing.assert_allclose(fast.inertia, slow.inertia, rtol=1e-6, atol=1e-12)
        move_to_means(fast, which)


@pytest.mark.parametrize(("n", "d", "k"), [(1100, 10, 10), (2600, 40, 3), (650, 33, 65)])
def test_blocks_that_take_several_tiles(
    device: Device, monkeypatch: pytest.MonkeyPatch, n: int, d: int, k: int
) -> None:
    """Short samples, long ones and tensor cores, on a grid of four blocks."""
    if not device.emulated:
        pytest.skip("a GPU has a grid of its own size")
    monkeypatch.setattr(shapes, "BLOCKS", 1)
    x = blobs(n, d, k)
    slow, fast = ops.restarts(x, k, 1, rung="reference"), ops.restarts(device.to_device(x), k, 1)
    for restarts in (slow, fast):
        restarts.centers[:] = starts(x, k, 1)
        restarts.assign([0])
    np.testing.assert_array_equal(device.to_host(fast.labels), slow.labels)
    np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)
    np.testing.assert_allclose(fast.inertia, slow.inertia, rtol=1e-6)
    labels, _ = ops.assign(device.to_device(x), device.to_device(slow.centers[0]))
    np.testing.assert_array_equal(device.to_host(labels), slow.labels[0])


def test_samples_that_begin_on_no_border_of_16_bytes(device: Device) -> None:
    x = blobs(400, 3, 7)
    slow, fast = ops.restarts(x[1:], 7, 1), ops.restarts(device.to_device(x)[1:], 7, 1)
    for restarts in (slow, fast):
        restarts.centers[:] = starts(x, 7, 1)
        restarts.assign([0])
    np.testing.assert_array_equal(device.to_host(fast.labels), slow.labels)


@pytest.mark.parametrize(("d", "k"), [(10, 10), (100, 20)])
def test_float32_sums_have_the_bits_of_the_cpu(device: Device, d: int, k: int) -> None:
    x = blobs(900, d, k)
    here, there = ops.restarts(x, k, 1), ops.restarts(device.to_device(x), k, 1)
    if not hasattr(here, "differences"):
        pytest.skip("no emitted kernels here: other sums")
    for restarts in (here, there):
        restarts.centers[:] = starts(x, k, 1)
        restarts.assign([0])
    assert there.sums.tobytes() == here.sums.tobytes()


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_adopted_labels_are_where_the_next_pass_starts(
    device: Device, n: int, d: int, k: int
) -> None:
    x = blobs(n, d, k)
    labels = np.random.default_rng(1).integers(0, k, n).astype(np.int32)
    slow, fast = ops.restarts(x, k, 2, rung="reference"), ops.restarts(device.to_device(x), k, 2)
    for restarts in (slow, fast):
        put = device.to_device if restarts is fast else np.asarray
        restarts.centers[:] = starts(x, k, 2)
        restarts.assign([1])
        restarts.adopt(1, put(labels), put(np.ones(n, np.float32)))
        np.testing.assert_array_equal(restarts.counts[1], np.bincount(labels, minlength=k))
        assert restarts.inertia[1] == n
        restarts.assign([1])
    np.testing.assert_array_equal(device.to_host(fast.labels), slow.labels)
    np.testing.assert_array_equal(fast.changed, slow.changed)
    np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)
    fast.forget()
    fast.assign([1])
    assert fast.changed[1] == n
    np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)


# --- the start


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n", "d"), [(1, 1, 1), (4, 513, 10), (11, 1100, 40)])
def test_what_a_start_leaves(device: Device, m: int, n: int, d: int, dtype: type) -> None:
    x = blobs(n, d, 5, dtype)
    points = x[np.arange(2 * m).reshape(2, m) % n]
    nearest = np.random.default_rng(0).uniform(0, d, (2, n)).astype(dtype)
    nearest[1] = np.inf  # before the first center
    slow = ops.restarts(x, 2, 2, rung="reference")
    fast = ops.restarts(device.to_device(x), 2, 2)
    there = device.to_device(nearest)
    left = fast.lower(device.to_device(points), there, keep=False)
    np.testing.assert_array_equal(device.to_host(there), nearest)
    expected = slow.lower(points, nearest, keep=False)
    np.testing.assert_allclose(device.to_host(left), expected, rtol=RTOL[dtype])
    fast.lower(device.to_device(points[:, :1]), there, keep=True)
    slow.lower(points[:, :1], nearest, keep=True)
    np.testing.assert_allclose(device.to_host(there), nearest, rtol=RTOL[dtype], atol=0)
    if m <= 4:
        distances = device.to_host(fast.distances(device.to_device(points[0])))
        np.testing.assert_allclose(distances, slow.distances(points[0]), rtol=RTOL[dtype])


@pytest.mark.parametrize(("draws", "rows"), [(0.0, 1), (0.24, 1), (0.25, 3), (0.99, 3), (1.0, 3)])
@pytest.mark.parametrize("place", [0, 2 * shapes.TILE, 40 * shapes.TILE])
def test_a_draw_never_takes_a_sample_of_zero_weight(
    device: Device, draws: float, rows: int, place: int
) -> None:
    # 1.0 stands for a product that rounds up to the total
    nearest = np.zeros((1, 41 * shapes.TILE + 7), np.float32)
    nearest[0, place : place + 5] = [0, 1, 0, 3, 0]
    left = np.add.reduceat(nearest, np.arange(0, nearest.size, shapes.TILE), axis=1, dtype=float)
    found, stuck = device.zeros((1, 1), np.int64), device.full(1, -1, np.int32)
    arguments = (np.array([[draws]]), left[:, None], nearest)
    start.draw(device, 0, *map(device.to_device, arguments), found, stuck)
    assert int(device.to_host(found)[0, 0]) == place + rows
    assert int(device.to_host(stuck)[0]) == -1


def test_a_start_without_a_sample_to_draw_says_where(device: Device) -> None:
    x = np.repeat(blobs(2, 3, 2), 40, axis=0)
    first, draws = np.array([0, 70]), np.full((2, 3, 2), 0.5)
    centers, stuck = start.start(device.to_device(x), 4, first, draws)
    np.testing.assert_array_equal(stuck, [1, 1])  # two centers cover two distinct rows
    np.testing.assert_array_equal(centers[:, :2], [[x[0], x[40]], [x[40], x[0]]])


# --- resident runs


@pytest.mark.parametrize("spherical", [False, True])
@typed([(1, 1, 1), (33, 10, 10), (257, 3, 7), (900, 10, 10)])
def test_runs_ahead_end_where_those_of_single_passes_end(
    device: Device, n: int, d: int, k: int, spherical: bool, dtype: type
) -> None:
    x = blobs(n, d, k, dtype)
    if spherical:
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    ahead = ops.restarts(device.to_device(x), k, 4, rung="cuda-resident")
    by_one = ops.restarts(device.to_device(x), k, 4, rung="cuda-resident")
    for restarts in (ahead, by_one):
        restarts.centers[:] = starts(x, k, 4)
        restarts.assign([0, 1, 2, 3])
    most = [50, 50, 2]  # the last run is cut
    found = ahead.run_ahead([0, 1, 3], most, 0.0, spherical)
    for r, at_most, (inertias, moved) in zip([0, 1, 3], most, found, strict=True):
        history = []
        for _ in range(at_most):
            ((inertia,), distance) = by_one.run_ahead([r], [1], 0.0, spherical)[0]
            history.append(inertia)
            if not by_one.changed[r] or distance == 0 or by_one.counts[r].min() == 0:
                break
        assert history == inertias  # bit for bit: nothing depends on how runs share the blocks
        assert distance == moved
        for name in ("centers", "sums", "counts", "inertia", "changed"):
            assert getattr(ahead, name)[r].tobytes() == getattr(by_one, name)[r].tobytes()
    np.testing.assert_array_equal(device.to_host(ahead.labels), device.to_host(by_one.labels))


def test_a_run_ends_at_an_empty_cluster_and_at_a_small_step(device: Device) -> None:
    x = np.array([[0.0], [1.0], [10.0], [12.0]])
    restarts = ops.restarts(device.to_device(x), 2, 2, rung="cuda-resident")
    restarts.centers[:] = [[[1.0], [1e6]], [[0.0], [1.0]]]
    restarts.assign([0, 1])
    empty, small = restarts.run_ahead([0, 1], [9, 9], 100.0, False)
    assert len(empty[0]) == 1
    assert restarts.counts[0].min() == 0
    # {0} {1, 10, 12}: the second center moves from 1 to 23/3, and takes no sample of the first.
    np.testing.assert_allclose(small[0], [1 + (10 - 23 / 3) ** 2 + (12 - 23 / 3) ** 2])
    np.testing.assert_allclose(small[1], (20 / 3) ** 2)
    assert restarts.changed[1] == 1


def test_what_does_not_fit_the_chip_is_not_run_ahead(device: Device) -> None:
    x = device.to_device(blobs(64, 10, 3))
    assert resident.plan(device, x, 3, 2) is not None
    assert resident.plan(device, x, 3000, 2) is None
    long = device.to_device(blobs(64, 40, 3))
    assert resident.plan(device, long, 3, 2) is None
    assert Resident(long, 3, 1).run_ahead([0], [1], 0.0, False) is None


# --- tensor cores


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (33, 10, 10), (257, 3, 7), (150, 70, 129)])
def test_tensor_cores_find_the_labels_of_float32(device: Device, n: int, d: int, k: int) -> None:
    x, centers = blobs(n, d, k, spread=1.0), blobs(k, d, 3)
    there = device.to_device(x), device.to_device(centers)
    labels, nearest = tensor.assign_tensor(*there)
    expected = IMPLEMENTATIONS["assign"]["cuda-registers"].function(*there)
    np.testing.assert_array_equal(device.to_host(labels), device.to_host(expected[0]))
    np.testing.assert_array_equal(device.to_host(nearest), device.to_host(expected[1]))


def test_near_ties_are_looked_at_again_and_clear_cases_are_not(device: Device) -> None:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(70, 40)).astype(np.float32)
    x = np.repeat(centers[:10], 3, axis=0)
    twins = centers[20:30] + np.float32(1e-7) * centers[30:40]  # nearly in two places
    there = device.to_device(np.concatenate([x, twins]))
    centers = np.concatenate([centers, twins + np.float32(2e-7)])
    labels, nearest = device.empty(40, np.int32), device.empty(40, np.float32)
    again = tensor.decide(device, there, device.to_device(centers), labels, nearest)
    assert int(device.to_host(again)[0]) == 10
    exact = ops.assign(there, device.to_device(centers), rung="cuda-registers")[0]
    np.testing.assert_array_equal(device.to_host(labels), device.to_host(exact))


def test_one_product_of_tf32_would_not_do(device: Device) -> None:
    """Pairs of centers closer than the rounding to TF32, and farther than the margin."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(35, 40)).astype(np.float32)
    twins = centers + 5e-4 * rng.normal(size=centers.shape).astype(np.float32)
    x = device.to_device(rng.normal(size=(150, 40)).astype(np.float32))
    there = device.to_device(np.concatenate([centers, twins]))
    labels, nearest = device.empty(150, np.int32), device.empty(150, np.float32)
    again = tensor.decide(device, x, there, labels, nearest)
    assert int(device.to_host(again)[0]) < 75
    exact = ops.assign(x, there, rung="cuda-registers")[0]
    np.testing.assert_array_equal(device.to_host(labels), device.to_host(exact))


def test_the_margin_covers_what_rounding_does(device: Device) -> None:
    """Values of h from tensor cores and from float32 distances, against float64, at their worst."""
    a, b = tensor.margins(128)
    rng = np.random.default_rng(0)
    x, c = (rng.uniform(0.5, 1, (64, 128)).astype(np.float32) for _ in range(2))
    exact = ((x[:, None].astype(np.float64) - c.astype(np.float64)) ** 2).sum(axis=2)
    rounded = np.zeros((64, 64), np.float32)
    for f in range(128):
        rounded += (x[:, None, f] - c[None, :, f]) ** 2
    size, most = np.linalg.norm(x, axis=1)[:, None], np.linalg.norm(c, axis=1).max()
    assert (np.abs(rounded - exact) / 2 < b * (size + most) ** 2 / 2).all()
    assert 0 < a < 1e-4
