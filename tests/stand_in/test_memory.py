"""Memory of the stand-in: poisoned, bounded, kept for a while; without CuPy."""

import ctypes

import numpy as np
import pytest

from .memory import ALIGNMENT, Memory


def content(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


@pytest.mark.parametrize("size", [0, 1, 512, 100_000])
def test_new_memory_is_aligned_and_holds_no_number(size: int) -> None:
    address = Memory().allocate(size)
    assert address % ALIGNMENT == 0


def test_new_and_freed_memory_holds_no_number() -> None:
    memory = Memory()
    address = memory.allocate(64)
    assert np.isnan(np.frombuffer(content(address, 64), "f4")).all()
    assert (np.frombuffer(content(address, 64), "i4") == -1).all()
    ctypes.memset(address, 0, 64)
    assert memory.free(address) is not None
    assert content(address, 64) == b"\xff" * 64
    assert memory.free(address) is None


def test_bytes_are_held_where_all_lie_in_one_block() -> None:
    memory = Memory()
    first, second = sorted(memory.allocate(100) for _ in range(2))
    assert memory.holds(first, 100)
    assert memory.holds(second + 99)
    assert not memory.holds(first, second + 100 - first)
    assert not memory.holds(first + 100)
    assert not memory.holds(first - 1)
    memory.free(first)
    assert not memory.holds(first)


@pytest.mark.parametrize(("at", "overrun"), [(-1, True), (0, False), (99, False), (100, True)])
def test_what_is_written_beside_a_block_is_seen(at: int, overrun: bool) -> None:
    memory = Memory()
    address = memory.allocate(100)
    ctypes.memset(address + at, 0, 1)
    for expected in (overrun, False):  # it is told once
        assert [block.overrun() for block in memory] == [expected]
