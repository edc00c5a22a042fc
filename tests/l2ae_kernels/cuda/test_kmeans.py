"""k-means on a device: every kernel against the reference, in every order, on ragged shapes."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.kmeans import shapes
from l2ae_kernels.cuda.kmeans.restarts import Restarts
from l2ae_kernels.reference import kmeans as reference

from .samples import ASSIGN, SHAPES, assert_nearest, blobs, move_to_means, starts, typed


@pytest.mark.everyday("33-10-10-float32")
@typed(SHAPES)
def test_assign(device: Device, n: int, d: int, k: int, dtype: type) -> None:
    x, centers = blobs(n, d, k, dtype), blobs(k, d, 3, dtype)
    labels, distances = ops.assign(device.to_device(x), device.to_device(centers))
    assert labels.dtype == np.int32
    assert distances.dtype == dtype
    assert_nearest(x, centers, device.to_host(labels), device.to_host(distances))


@pytest.mark.everyday("40")
@pytest.mark.parametrize(("rung", "d"), ASSIGN)
def test_ties_go_to_the_lowest_index(device: Device, rung: str, d: int) -> None:
    x = np.zeros((70, d), np.float32)
    values = [5.0] * 70 + [3, 1, -1, 1]
    centers = np.stack([np.full(d, value, np.float32) for value in values])
    labels, distances = ops.assign(device.to_device(x), device.to_device(centers), impl=rung)
    np.testing.assert_array_equal(device.to_host(labels), 71)
    np.testing.assert_array_equal(device.to_host(distances), d)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize(("rung", "d"), ASSIGN)
def test_labels_are_in_range_whatever_the_numbers(
    device: Device, rung: str, value: float, d: int
) -> None:
    x, centers = blobs(40, d, 3), blobs(70, d, 4)
    x[3], centers[5] = value, -value
    labels = device.to_host(
        ops.assign(device.to_device(x), device.to_device(centers), impl=rung)[0]
    )
    assert 0 <= labels.min() <= labels.max() < 70
    rest = np.arange(40) != 3
    with np.errstate(all="ignore"):
        expected = ops.assign(x, np.delete(centers, 5, axis=0), impl="reference")[0]
    np.testing.assert_array_equal(labels[rest], (expected + (expected >= 5))[rest])


def test_a_rung_that_is_named_refuses_what_another_would_have_to_do(device: Device) -> None:
    x, long = (device.to_device(blobs(70, d, 4)) for d in (3, 40))
    for samples, centers in ((x, x[:64]), (long, long[:63])):
        with pytest.raises(ValueError, match="assign: no implementation cuda-tensor .*: it takes"):
            ops.assign(samples, centers, impl="cuda-tensor")
    for samples, k in ((long, 3), (x, 5000)):
        with pytest.raises(ValueError, match="restarts: no implementation cuda-resident .*takes"):
            ops.restarts(samples, k, 1, impl="cuda-resident")
    assert type(ops.restarts(long, 3, 1)) is Restarts


@pytest.mark.everyday("33-10-10-float32")
@typed([*SHAPES, (65, 300, 60)])  # sums too many for a block
def test_update(device: Device, n: int, d: int, k: int, dtype: type) -> None:
    x, labels = blobs(n, d, k, dtype), np.random.default_rng(0).integers(0, k, n)
    sums, counts = ops.update(device.to_device(x), device.to_device(labels.astype(np.int32)), k)
    expected, expected_counts = reference.update(x, labels, k)
    np.testing.assert_array_equal(device.to_host(counts), expected_counts)
    np.testing.assert_allclose(device.to_host(sums), expected, rtol=0, atol=1e-10)


def test_update_of_numbers_of_many_sizes_is_exact_and_has_one_carry(device: Device) -> None:
    """Sums whose low halves wrap often: about half of the additions carry."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(2000, 3)) * 10.0 ** rng.uniform(-9, 3, (2000, 1))).astype(np.float32)
    labels = rng.integers(0, 2, 2000).astype(np.int32)
    sums, _ = ops.update(device.to_device(x), device.to_device(labels), 2)
    expected = reference.update(x, labels, 2)[0]
    np.testing.assert_allclose(device.to_host(sums), expected, rtol=1e-10)


@pytest.mark.everyday("33-10-10-float32", "513-40-9-float32")
@typed(SHAPES)
def test_every_pass_is_that_of_the_reference(
    device: Device, n: int, d: int, k: int, dtype: type
) -> None:
    x = blobs(n, d, k, dtype)
    slow = ops.restarts(x, k, 3, impl="reference")
    fast = ops.restarts(device.to_device(x), k, 3)
    assert fast.max_abs == slow.max_abs
    fast.centers[:] = starts(x, k, 3)
    for step in range(4):
        active = [0, 1, 2] if step < 2 else [0, 2]  # run 1 has ended
        slow.centers[:] = fast.centers
        fast.assign(active)
        slow.assign(active)
        np.testing.assert_array_equal(device.to_host(fast.labels), slow.labels)
        np.testing.assert_array_equal(fast.counts, slow.counts)
        np.testing.assert_array_equal(fast.changed[active], slow.changed[active])
        np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)
        np.testing.assert_allclose(fast.inertia, slow.inertia, rtol=1e-6, atol=1e-12)
        move_to_means(fast, active)


@pytest.mark.parametrize(("n", "d", "k"), [(1100, 10, 10), (2600, 40, 3), (650, 33, 65)])
def test_blocks_that_take_several_tiles(
    device: Device, monkeypatch: pytest.MonkeyPatch, n: int, d: int, k: int
) -> None:
    """Short samples, long ones and tensor cores, on a grid of four blocks."""
    if not device.emulated:
        pytest.skip("a GPU has a grid of its own size")
    monkeypatch.setattr(shapes, "BLOCKS", 1)
    x = blobs(n, d, k)
    slow, fast = ops.restarts(x, k, 1, impl="reference"), ops.restarts(device.to_device(x), k, 1)
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


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize(
    ("d", "dtype"),
    [
        (32, np.float32),
        (24, np.float32),
        *(pytest.param(d, np.float32, marks=pytest.mark.slow) for d in (4, 8, 12, 16)),
        *(pytest.param(d, np.float64, marks=pytest.mark.slow) for d in (2, 4, 8, 12, 16)),
    ],
)
def test_rows_whose_pieces_change_places(device: Device, d: int, dtype: type, runs: int) -> None:
    """Rows of whole 16 bytes lie turned in shared memory, also those that are no whole block."""
    x = blobs(301, d, 20, dtype)
    for samples, there in ((x, device.to_device(x)), (x[1:], device.to_device(x)[1:])):
        slow = ops.restarts(samples, 20, runs, impl="reference")
        fast = ops.restarts(there, 20, runs, impl="cuda-fused")
        for restarts in (slow, fast):
            restarts.centers[:] = starts(x, 20, runs)
            restarts.assign(list(range(runs)))
        np.testing.assert_array_equal(device.to_host(fast.labels), slow.labels)
        np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)
        labels, _ = ops.assign(there, device.to_device(slow.centers[0]), impl="cuda-registers")
        np.testing.assert_array_equal(device.to_host(labels), slow.labels[0])


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
    slow, fast = ops.restarts(x, k, 2, impl="reference"), ops.restarts(device.to_device(x), k, 2)
    for restarts in (slow, fast):
        put = device.to_device if restarts is fast else np.asarray
        restarts.centers[:] = starts(x, k, 2)
        restarts.assign([1])
        restarts.apply_assignment(1, put(labels), put(np.ones(n, np.float32)))
        np.testing.assert_array_equal(restarts.counts[1], np.bincount(labels, minlength=k))
        assert restarts.inertia[1] == n
        restarts.assign([1])
    np.testing.assert_array_equal(device.to_host(fast.labels), slow.labels)
    np.testing.assert_array_equal(fast.changed, slow.changed)
    np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)
    fast.reset()
    fast.assign([1])
    assert fast.changed[1] == n
    np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)
