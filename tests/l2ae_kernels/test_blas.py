"""The number of BLAS threads is one inside, and what it was when all have left."""

import threading

import pytest

from l2ae_kernels.cpu.blas import single_threaded_blas


def counts():
    return [library.num_threads for library in single_threaded_blas().libraries]


@pytest.fixture(autouse=True)
def two_threads():
    """Every library has two threads, whatever this machine has."""
    before = counts()
    single_threaded_blas().set_threads([2] * len(before))
    single_threaded_blas().let_others_set()
    if 2 not in counts():
        pytest.skip("no BLAS whose threads can be set")
    yield
    single_threaded_blas().set_threads(before)
    single_threaded_blas().let_others_set()


def test_one_inside_and_as_before_outside():
    outside = counts()
    with single_threaded_blas():
        assert set(counts()) == {1}
    assert counts() == outside
    with pytest.raises(ValueError, match="inside"), single_threaded_blas():
        raise ValueError("inside")
    assert counts() == outside


def test_the_first_thread_to_leave_takes_nothing_from_the_others():
    outside, entered, leave = counts(), threading.Event(), threading.Event()

    def other():
        with single_threaded_blas():
            entered.set()
            assert leave.wait(60)

    thread = threading.Thread(target=other)
    with single_threaded_blas():
        thread.start()
        assert entered.wait(60)
    assert set(counts()) == {1}
    leave.set()
    thread.join()
    assert counts() == outside


def test_an_interrupted_exit_is_made_up_for():
    outside = counts()
    single_threaded_blas().__enter__()  # and Ctrl-C before it was left
    with single_threaded_blas():
        pass
    assert counts() == outside
