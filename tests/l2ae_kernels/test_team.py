"""Parallel regions: whatever interrupts one, no thread is at work afterwards and the next works."""

import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core.compiler_lock import global_compiler_lock

from l2ae_kernels.cpu import barrier as barrier_module
from l2ae_kernels.cpu import team as team_module
from l2ae_kernels.cpu import threads as threads_module
from l2ae_kernels.cpu.barrier import run_team, wait
from l2ae_kernels.cpu.threads import MOST, get_threads, in_ranges

from ..interrupts import interrupted_at

WORK = 1 << 40  # multiply-adds: worth every thread
SOURCES = (barrier_module, team_module, threads_module)
several = pytest.mark.skipif(MOST < 2, reason="one core")
pytestmark = pytest.mark.usefixtures("all_cores")


class Kernel:
    """Adds one to its range of `out`, and knows whether it is still running somewhere."""

    def __init__(self, items=2, seconds=0.002):
        self.out, self.seconds = np.zeros(items, np.int64), seconds
        self.running, self.callers = [], []

    def __call__(self, first, last):
        self.running.append(first)
        self.callers.append(threading.current_thread())
        time.sleep(self.seconds)
        self.out[first:last] += 1
        self.running.remove(first)


@njit(nogil=True)
def meet(out, barrier, first, last):
    """Count the rounds that all threads have made together."""
    for _ in range(50):
        if not wait(barrier):
            return
        for i in range(first, last):
            out[i] += 1


class Meeting(Kernel):
    """The same for threads that wait for each other."""

    def __call__(self, barrier, first, last):
        self.running.append(first)
        time.sleep(self.seconds)
        meet(self.out, barrier, first, last)
        self.running.remove(first)


def by_ranges(kernel):
    in_ranges(kernel, len(kernel.out), WORK)


def by_team(kernel):
    run_team(kernel, len(kernel.out))


@several
@pytest.mark.parametrize(("run", "kind", "sum_"), [(by_ranges, Kernel, 1), (by_team, Meeting, 50)])
def test_an_interrupt_at_any_instruction_leaves_no_thread_at_work(run, kind, sum_):
    """And the next region works, on a thread other than the caller's too."""
    run(kind())  # threads are started, kernels compiled
    for n in count(1):
        kernel, interrupted = kind(), False
        try:
            with interrupted_at(n, *SOURCES):
                run(kernel)
        except KeyboardInterrupt:
            interrupted = True
        assert not kernel.running
        after = kernel.out.copy()
        whole = kind(seconds=0)
        run(whole)
        assert whole.out.tolist() == [sum_] * len(whole.out)
        np.testing.assert_array_equal(kernel.out, after)
        if not interrupted:
            break
    assert n > 100  # instructions were counted
    assert kernel.out.tolist() == [sum_] * len(kernel.out)


@several
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("run", [by_ranges, by_team])
def test_what_a_range_raises_is_raised(run, first, kind):
    """By the range of the caller and by that of another thread; nobody waits for the one that
    failed."""
    error, other_begun = kind("as it was"), threading.Event()
    base = Meeting if run is by_team else Kernel

    class Failing(base):
        def __call__(self, *arguments):
            if arguments[-2] == first:
                assert other_begun.wait(60)
                raise error
            other_begun.set()
            super().__call__(*arguments)

    kernel = Failing(seconds=0.02)
    with pytest.raises(kind, match="as it was"):
        run(kernel)
    assert not kernel.running
    run(whole := base())
    assert len(set(whole.out.tolist())) == 1


@several
@pytest.mark.parametrize("run", [by_ranges, by_team])
def test_regions_that_begin_in_a_region_are_done_by_one_thread(run):
    """A thread of the team that waited for the team would wait for ever."""
    seen = []

    def kernel(*arguments):
        seen.append(get_threads())
        inner = Kernel(seconds=0)
        by_ranges(inner)
        by_team(Meeting(seconds=0))
        assert len(set(inner.callers)) == 1

    kernel.out = np.zeros(2)
    run(kernel)
    assert seen == [1, 1]
    assert get_threads() == MOST


@several
def test_many_threads_may_call_kernels_at_once():
    def work(_):
        for _ in range(20):
            for run, kind, sum_ in ((by_ranges, Kernel, 1), (by_team, Meeting, 50)):
                run(kernel := kind(seconds=0.0005))
                assert kernel.out.tolist() == [sum_, sum_]

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, i) for i in range(8)]:
            future.result(timeout=60)


@several
def test_without_threads_to_start_the_caller_does_all(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    team_module.team.cache_clear()
    for run, kind, sum_ in ((by_ranges, Kernel, 1), (by_team, Meeting, 50)):
        run(kernel := kind())
        assert kernel.out.tolist() == [sum_, sum_]
    team_module.team.cache_clear()


@several
def test_the_caller_does_what_no_thread_came_for():
    """All threads of the team are busy: a short region does not wait for them."""
    busy, go_on = threading.Event(), threading.Event()

    def hold(first, last):
        busy.set()
        assert go_on.wait(60)

    holder = threading.Thread(target=in_ranges, args=(hold, MOST, WORK))
    holder.start()
    assert busy.wait(60)
    by_ranges(kernel := Kernel(MOST, seconds=0))
    go_on.set()
    holder.join()
    assert kernel.out.tolist() == [1] * MOST


@several
def test_regions_that_are_over_keep_nothing_while_the_threads_are_busy():
    """A long region in one thread, and many short ones in another."""
    busy, go_on = threading.Event(), threading.Event()

    def hold(first, last):
        busy.set()
        assert go_on.wait(60)

    def short(array, first, last):
        array[first:last] += 1

    holder = threading.Thread(target=in_ranges, args=(hold, MOST, WORK))
    holder.start()
    assert busy.wait(60)
    arrays = [np.zeros(2) for _ in range(1500)]
    for array in arrays:
        in_ranges(short, 2, WORK, array)
    assert np.sum(arrays) == 3000
    kept = [weakref.ref(array) for array in arrays]
    waiting = team_module.team().regions.qsize()
    del array, arrays
    alive = sum(array() is not None for array in kept)
    go_on.set()
    holder.join()
    assert alive == 0
    assert waiting < 1500
    by_team(meeting := Meeting(seconds=0))
    assert meeting.out.tolist() == [50, 50]


@several
@pytest.mark.parametrize("when", ["before", "inside"])
def test_an_interrupted_compilation_locks_no_thread_out(when):
    """Ctrl-C between a lock and its `with` leaves it with the thread that was interrupted."""
    both_begun, compiled = threading.Barrier(2), []

    def kernel(first, last):
        both_begun.wait(60)
        if when == "inside" and first == 0:
            global_compiler_lock.acquire()
        with global_compiler_lock:
            compiled.append(first)

    def work():
        if when == "before":
            global_compiler_lock.acquire()
        in_ranges(kernel, 2, WORK)

    caller = threading.Thread(target=work, daemon=True)
    caller.start()
    caller.join(30)
    assert sorted(compiled) == [0, 1]
    assert not caller.is_alive()


def child(code, timeout=60):
    """The end of a process that runs `code`: return code, and what it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_the_process_ends_while_a_daemon_is_in_a_kernel():
    code = """
import threading, tests.l2ae_kernels.test_team as t
begun = threading.Event()
def go():
    while True:
        t.by_ranges(t.Kernel()); t.by_team(t.Meeting()); begun.set()
threading.Thread(target=go, daemon=True).start()
begun.wait()
print("end")
"""
    assert child(code) == (0, "end\n", "")


@pytest.mark.slow
def test_kernels_run_while_the_interpreter_ends():
    code = """
import atexit, sys, tests.l2ae_kernels.test_team as t
def work(when, run=t.by_ranges, team=t.by_team, kernel=t.Kernel, meeting=t.Meeting):
    run(k := kernel()); team(m := meeting())
    print(when, k.out.tolist(), m.out.tolist(), flush=True)
class Late:
    def __del__(self, work=work, ends=sys.is_finalizing):
        work("finalizing" if ends() else "early")
atexit.register(work, "atexit")
work("first")
late = Late()
"""
    steps = ("first", "atexit", "finalizing")
    assert child(code) == (0, "".join(f"{step} [1, 1] [50, 50]\n" for step in steps), "")
