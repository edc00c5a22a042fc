"""Several Lloyd runs at once: every rung against the reference, and what the fast one skips."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import SETS, get_vectors, vectors
from l2ae_kernels.cpu.threads import MOST, threads
from l2ae_kernels.reference.restarts import BLOCK

from .cuda.samples import blobs, move_to_means, starts

RUNGS = [("blocked", "none"), *(("register", name) for name in SETS)]
SHAPES = [  # n, d, k: short samples; long samples, whose centers are one group or several
    (1, 1, 1),
    (700, 3, 5),
    (1033, 16, 37),
    (517, 130, 9),
    (1501, 90, 45),
]
PASSES = 8
needs_vectors = pytest.mark.skipif(get_vectors() is None, reason="no emitted kernels here")


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("rung", RUNGS, ids="-".join)
def test_every_pass_is_that_of_the_reference(rung: tuple[str, str], n: int, d: int, k: int) -> None:
    x = blobs(n, d, k)
    slow = ops.restarts(x, k, 3, impl="reference")
    with vectors(rung[1]):
        fast = ops.restarts(x, k, 3, impl=rung[0])
        fast.centers[:] = starts(x, k, 3)
        for step in range(PASSES):
            active = [0, 1, 2] if step < 4 else [0, 2]  # run 1 has ended
            slow.centers[:] = fast.centers
            fast.assign(active)
            slow.assign(active)
            np.testing.assert_array_equal(fast.labels, slow.labels)
            np.testing.assert_array_equal(fast.counts, slow.counts)
            np.testing.assert_array_equal(fast.changed[active], slow.changed[active])
            np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)
            np.testing.assert_allclose(fast.inertia, slow.inertia, rtol=1e-6, atol=1e-12)
            move_to_means(fast, active)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("name", SETS)
def test_bounds_and_steps_do_not_change_a_bit(name: str, n: int, d: int, k: int) -> None:
    """After many passes: the labels of a pass without bounds, and sums that only they decide."""
    require_the_same_bits(name, n, d, k)


@pytest.mark.parametrize("name", SETS)
def test_blocks_of_a_pass_may_be_long(name: str) -> None:
    """Where a slot has many samples, a pass takes more of them at a time."""
    with threads(1):
        require_the_same_bits(name, 20_001, 10, 6)


def require_the_same_bits(name: str, n: int, d: int, k: int) -> None:
    x = blobs(n, d, k, spread=1.5)  # close clusters: many samples are nearly as near to another
    with vectors(name):
        restarts = ops.restarts(x, k, 1, impl="register")
        restarts.centers[:] = starts(x, k, 1)
        for _ in range(PASSES):
            restarts.assign([0])
            labels, distances = ops.assign(x, restarts.centers[0])
            np.testing.assert_array_equal(restarts.labels[0], labels)
            fresh = ops.restarts(x, k, 1, impl="register")
            fresh.apply_assignment(0, labels, distances)
            assert fresh.sums.tobytes() == restarts.sums.tobytes()
            assert fresh.counts.tobytes() == restarts.counts.tobytes()
            move_to_means(restarts, [0])


@needs_vectors
@pytest.mark.parametrize("d", [3, 100])
def test_sums_do_not_depend_on_the_way_there(d: int) -> None:
    """Values of many sizes, whose plain float64 sums depend on the order of the additions."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(3000, d)) * 10.0 ** rng.uniform(-9, 3, (3000, 1))).astype(np.float32)
    restarts, fresh = (ops.restarts(x, 15, 1, impl="register") for _ in range(2))
    for _ in range(20):
        restarts.centers[0] = x[rng.choice(3000, 15)]
        restarts.assign([0])
    fresh.apply_assignment(0, restarts.labels[0], np.zeros(3000, np.float32))
    assert fresh.sums.tobytes() == restarts.sums.tobytes()


@needs_vectors
@pytest.mark.parametrize("k", [9, 45])
def test_samples_that_are_safe_are_not_read(k: int) -> None:
    x = blobs(600, 130, k, spread=0.1)
    restarts = ops.restarts(x, k, 1, impl="register")
    restarts.centers[0] = starts(x, k, 1)
    for _ in range(30):
        restarts.assign([0])
        if not restarts.changed[0]:
            break
        move_to_means(restarts, [0])
    before = restarts.labels.copy()
    x[:] = 1e3  # no bound would keep such a label; the array was not copied
    restarts.assign([0])
    assert (restarts.labels == before).mean() > 0.9
    restarts.reset()
    restarts.assign([0])
    assert (restarts.labels == restarts.labels[0, 0]).all()


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("rung", RUNGS, ids="-".join)
def test_adopted_labels_are_where_the_next_pass_starts(
    rung: tuple[str, str], n: int, d: int, k: int
) -> None:
    x = blobs(n, d, k)
    labels = np.random.default_rng(1).integers(0, k, n).astype(np.int32)
    slow = ops.restarts(x, k, 1, impl="reference")
    with vectors(rung[1]):
        fast = ops.restarts(x, k, 1, impl=rung[0])
        for restarts in (slow, fast):
            restarts.centers[:] = starts(x, k, 1)
            restarts.assign([0])
            restarts.apply_assignment(0, labels, np.ones(n, np.float32))
            np.testing.assert_array_equal(restarts.counts[0], np.bincount(labels, minlength=k))
            assert restarts.inertia[0] == n
            restarts.assign([0])
    np.testing.assert_array_equal(fast.labels, slow.labels)
    np.testing.assert_array_equal(fast.changed, slow.changed)
    np.testing.assert_allclose(fast.sums, slow.sums, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("rung", RUNGS, ids="-".join)
def test_potentials_of_candidates(rung: tuple[str, str], n: int, d: int, k: int) -> None:
    x = blobs(n, d, k)
    candidates = x[np.arange(6).reshape(2, 3) % n]
    nearest = np.random.default_rng(0).uniform(0, d, (2, n)).astype(np.float32)
    nearest[1] = np.inf  # before the first center
    exact = ((x.astype(np.float64) - candidates[:, :, None]) ** 2).sum(axis=3)
    expected = np.minimum(exact, nearest[:, None])
    blocks = np.arange(0, n, BLOCK)
    with vectors(rung[1]):
        restarts = ops.restarts(x, k, 2, impl=rung[0])
        before = nearest.copy()
        potentials = restarts.min_sq_distances(candidates, nearest, keep=False)
        np.testing.assert_array_equal(nearest, before)
        kept = restarts.min_sq_distances(candidates[:, :1], nearest, keep=True)
    np.testing.assert_allclose(potentials, np.add.reduceat(expected, blocks, axis=2), rtol=1e-5)
    np.testing.assert_array_equal(kept, potentials[:, :1])
    np.testing.assert_allclose(nearest, expected[:, 0], rtol=1e-5)


@needs_vectors
@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf, -7.0, 3.0])
@pytest.mark.parametrize("rung", ["blocked", "register"])
def test_the_largest_number_and_one_that_is_none(rung: str, x: float) -> None:
    samples = np.full((3000, 5), 0.5, np.float32)
    samples[2345, 1] = x
    max_abs = ops.restarts(samples, 2, 1, impl=rung).max_abs
    assert max_abs == abs(x) if np.isfinite(x) else not np.isfinite(max_abs)


@needs_vectors
@pytest.mark.parametrize(("d", "k"), [(10, 10), (100, 20)])
def test_inertia_far_from_the_origin_and_nearly_zero(d: int, k: int) -> None:
    x = blobs(3000, d, k, spread=1.0) + np.float32(3e4)
    restarts = ops.restarts(x, k, 1, impl="register")
    restarts.centers[:] = starts(x, k, 1)
    for _ in range(4):
        restarts.assign([0])
        difference = x.astype(np.float64) - restarts.centers[0, restarts.labels[0]]
        np.testing.assert_allclose(restarts.inertia[0], (difference**2).sum(), rtol=1e-8)
        move_to_means(restarts, [0])
    copies = np.repeat(x[:k], 50, axis=0)
    restarts = ops.restarts(copies, k, 1, impl="register")
    restarts.centers[0] = x[:k]
    restarts.assign([0])
    assert restarts.inertia[0] == 0


@needs_vectors
@pytest.mark.skipif(MOST < 2, reason="one thread only")
@pytest.mark.parametrize(("d", "k"), [(10, 10), (100, 20)])
def test_bits_do_not_depend_on_the_number_of_threads(d: int, k: int) -> None:
    x = blobs(50_001, d, k, spread=1.5)
    results = []
    for count in (1, 2):
        with threads(count):
            restarts = ops.restarts(x, k, 2, impl="register")
            restarts.centers[:] = starts(x, k, 2)
            for _ in range(5):
                restarts.assign([0, 1])
                move_to_means(restarts, [0, 1])
            nearest = np.full((1, len(x)), np.inf, x.dtype)
            potentials = restarts.min_sq_distances(x[None, :9], nearest, keep=True)
            results.append([restarts.labels, restarts.sums, restarts.inertia, nearest, potentials])
    for one, two in zip(*results, strict=True):
        assert one.tobytes() == two.tobytes()


@needs_vectors
def test_numbers_of_one_size_are_summed_exactly() -> None:
    x = np.full((100_000, 1), 0.1, np.float32)
    restarts = ops.restarts(x, 1, 1, impl="register")
    restarts.assign([0])
    np.testing.assert_allclose(restarts.sums, len(x) * np.float64(np.float32(0.1)), rtol=1e-12)
