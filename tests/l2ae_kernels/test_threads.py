"""How many threads kernels use, and what of the caller's context they see."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest

from l2ae_kernels.cpu.threads import MOST, get_threads, in_ranges, threads, use_threads

WORK = 1 << 40  # multiply-adds: worth every thread
several = pytest.mark.skipif(MOST < 2, reason="one core")
pytestmark = pytest.mark.usefixtures("all_cores")


@several
def test_threads_of_the_team_see_the_context_of_the_caller():
    seen = []

    def kernel(first, last):
        seen.append((np.geterr()["over"], len(seen)))
        time.sleep(0.01)

    with np.errstate(over="raise"):
        in_ranges(kernel, MOST, WORK)
    assert {over for over, _ in seen} == {"raise"}
    assert len(seen) == MOST


@several
def test_a_thread_begins_with_all_cores_unless_it_is_given_the_context():
    with threads(1), ThreadPoolExecutor(1) as pool:
        assert pool.submit(get_threads).result() == MOST
        assert pool.submit(copy_context().run, get_threads).result() == 1


def test_a_number_of_threads_in_another_thread_is_its_own():
    worker = threading.Thread(target=use_threads, args=(1,))
    worker.start()
    worker.join()
    assert get_threads() == MOST
