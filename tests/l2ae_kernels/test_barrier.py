"""Threads that meet at barriers, and the iterations of k-means that run between them."""

from threading import Thread

import numpy as np
import pytest
from numba import njit

from l2ae_kernels import ops
from l2ae_kernels.cpu.barrier import run_team, wait
from l2ae_kernels.cpu.codegen.vectors import SETS, get_vectors, vectors
from l2ae_kernels.cpu.threads import MOST, threads

pytestmark = pytest.mark.usefixtures("all_cores")

ROUNDS = 300


@njit(nogil=True)
def pass_on(table, barrier, first, last):
    """Row t of round i is one more than the sum of all rows of round i − 1."""
    for i in range(1, len(table)):
        table[i, first] = 1 + table[i - 1].sum()
        wait(barrier)


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_all_have_arrived_when_the_first_goes_on(size):
    """Without the wait a thread reads a row that another has not written yet."""
    table = np.zeros((30, size))
    run_team(pass_on, size, table)
    wanted = [0.0]
    for _ in range(29):
        wanted.append(1 + size * wanted[-1])
    np.testing.assert_array_equal(table, np.repeat(np.array(wanted)[:, None], size, axis=1))


def test_two_teams_at_once_do_not_wait_for_each_other():
    tables = [np.zeros((ROUNDS, MOST)) for _ in range(2)]

    def work(table):
        with threads(MOST):
            for _ in range(20):
                run_team(pass_on, MOST, table)

    callers = [Thread(target=work, args=(table,), daemon=True) for table in tables]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
        assert not caller.is_alive()


def made(n, d, k, runs):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, d)).astype(np.float32)
    centers = np.stack([x[rng.choice(n, k, replace=False)] for _ in range(runs)])
    return x, centers


def iterated(rung, x, centers, at_once):
    """Inertias of 12 iterations of runs 0 and 2, so many at a time; and the end."""
    runs, k, _ = centers.shape
    restarts = ops.restarts(x, k, runs, impl=rung)
    restarts.centers[:] = centers
    restarts.reset()
    restarts.assign(list(range(runs)))
    rows, remaining = [], 12
    while remaining:
        inertias = iterate(restarts, [0, 2], min(remaining, at_once))
        assert 1 <= len(inertias) <= min(remaining, at_once)
        rows.append(inertias)
        remaining -= len(inertias)
        np.testing.assert_array_equal(inertias[-1], restarts.inertia[[0, 2]])
    return np.concatenate(rows), restarts


def iterate(restarts, active, most):
    """Inertias (iterations, runs) of a call of `iterate`."""
    before = restarts.centers[active].copy()
    found = restarts.iterate(active, [most] * len(active), 0.0, False)
    if len(found[0].inertias) == 1:
        alone = getattr(restarts, "short", False)  # the threads move the centers, in float64
        wide = float if alone else before.dtype
        moved = (restarts.centers[active].astype(wide) - before).astype(float)
        squares = (moved**2).sum(axis=(1, 2))
        np.testing.assert_allclose([run.moved for run in found], squares, rtol=1e-12)
    return np.array([run.inertias for run in found]).T


@pytest.mark.skipif(get_vectors() is None, reason="no emitted kernels here")
@pytest.mark.parametrize(("n", "d", "k"), [(700, 3, 5), (3001, 10, 7), (901, 90, 20)])
@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("name", SETS)
def test_iterations_are_those_of_the_reference(name, at_once, n, d, k):
    x, centers = made(n, d, k, 3)
    slow, reference = iterated("reference", x, centers, 1)
    with vectors(name):
        fast, restarts = iterated("register", x, centers, at_once)
    np.testing.assert_array_equal(restarts.labels, reference.labels)
    np.testing.assert_allclose(fast, slow, rtol=1e-6)
    np.testing.assert_allclose(restarts.centers, reference.centers, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(get_vectors() is None or MOST < 2, reason="one core, or no emitted kernels")
def test_a_team_is_no_larger_than_the_threads_in_use():
    """Made for two threads, used by one: it takes both ranges of the samples."""
    x, centers = made(3001, 10, 7, 1)
    with threads(2):
        restarts = ops.restarts(x, 7, 1, impl="register")
    restarts.centers[:] = centers
    with threads(1):
        restarts.assign([0])
        iterate(restarts, [0], 3)
    assert restarts.counts[0].sum() == 3001


@pytest.mark.skipif(get_vectors() is None or MOST < 2, reason="one core, or no emitted kernels")
def test_bits_do_not_depend_on_the_size_of_the_team():
    x, centers = made(5003, 10, 9, 3)
    ends = []
    for count in (1, 2):
        with threads(count):
            rows, restarts = iterated("register", x, centers, 12)
        ends.append((rows.tobytes(), restarts.centers.tobytes(), restarts.labels.tobytes()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("rung", ["reference", None])
def test_iterations_end_where_no_label_changes(rung):
    x = np.array([[0.0], [1.0], [10.0], [11.0]], np.float32)
    restarts = ops.restarts(x, 2, 1, impl=rung)
    restarts.centers[0] = [[0.4], [10.4]]
    restarts.assign([0])
    assert iterate(restarts, [0], 50).shape == (1, 1)
    assert restarts.changed[0] == 0
    assert restarts.inertia[0] == pytest.approx(1.0)


@pytest.mark.parametrize("rung", ["reference", None])
def test_iterations_end_where_a_cluster_is_empty(rung):
    samples = [[28, 9], [10, 27], [0, 5], [13, 26], [0, 4], [2, 8], [5, 29], [14, 1]]
    restarts = ops.restarts(np.array(samples, np.float32), 4, 1, impl=rung)
    restarts.centers[0] = [[1, 25], [21, 4], [28, 15], [24, 28]]
    restarts.assign([0])
    assert restarts.counts[0].min() == 1
    assert len(iterate(restarts, [0], 50)) == 1  # the first mean pulls its cluster away from it
    assert restarts.counts[0].tolist() == [0, 4, 1, 3]
    assert np.isfinite(restarts.centers).all()
