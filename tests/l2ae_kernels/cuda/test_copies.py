"""Arrays larger than a piece go to a device as they are, through memory that does not grow."""

import numpy as np
import pytest

from l2ae_kernels.cuda import copies

PIECE = 4096


@pytest.fixture
def pieces(monkeypatch):
    monkeypatch.setattr(copies, "PIECE", PIECE)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, 5 * PIECE + 3])
def test_every_byte_arrives(device, size):
    host = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    np.testing.assert_array_equal(device.to_host(device.to_device(host)), host)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool"])
def test_shape_and_type_are_kept(device, dtype):
    host = np.arange(3 * 70 * 41).reshape(3, 70, 41).astype(dtype).transpose(2, 0, 1)
    there = device.to_device(host)
    assert there.dtype == dtype
    assert there.flags.c_contiguous
    np.testing.assert_array_equal(device.to_host(there), host)


@pytest.mark.usefixtures("pieces")
def test_the_host_may_write_to_its_array_afterwards(device):
    host = np.ones(10 * PIECE, np.uint8)
    there = device.to_device(host)
    host[:] = 2
    assert (device.to_host(there) == 1).all()


@pytest.mark.usefixtures("pieces")
def test_arrays_in_a_row_do_not_meet_in_a_slot(device):
    there = [device.to_device(np.full(3 * PIECE, n, np.uint8)) for n in range(4)]
    for n, array in enumerate(there):
        assert (device.to_host(array) == n).all()


@pytest.mark.usefixtures("pieces")
def test_no_more_memory_is_pinned_than_two_pieces(device):
    if device.emulated:
        pytest.skip("the emulator copies from the host's memory to the host's")
    pool = device.array_module.get_default_pinned_memory_pool()
    pool.free_all_blocks()
    for size in (20, 30, 40):
        device.to_device(np.zeros(size * PIECE, np.uint8))
    device.synchronize()
    assert pool.n_free_blocks() == 2
