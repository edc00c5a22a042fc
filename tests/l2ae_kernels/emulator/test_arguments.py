"""Under AddressSanitizer arrays are copied: apart if they are apart, together if they overlap."""

import ctypes

import numpy as np

from l2ae_kernels.emulator.arguments import Copies


def written(address, value):
    ctypes.c_float.from_address(address).value = value


def test_arrays_that_overlap_are_one_memory():
    whole = np.arange(10, dtype=np.float32)
    part, other = whole[4:7], np.zeros(3, np.float32)
    copies = Copies([part, whole, other, whole])
    assert copies.address(part) == copies.address(whole) + 16
    written(copies.address(part), -1)
    written(copies.address(other) + 4, -2)
    np.testing.assert_array_equal(whole, np.arange(10))  # not before the kernel is done
    copies.back()
    np.testing.assert_array_equal(whole, [0, 1, 2, 3, -1, 5, 6, 7, 8, 9])
    np.testing.assert_array_equal(other, [0, -2, 0])


def test_neighbours_are_apart():
    whole = np.arange(10, dtype=np.float32)
    left, right = whole[:5], whole[5:]
    copies = Copies([left, right])
    assert copies.address(right) != copies.address(left) + left.nbytes
    written(copies.address(right), -1)
    copies.back()
    assert whole[5] == -1


def test_arrays_that_must_not_be_written_are_left_alone():
    array = np.arange(4, dtype=np.float32)
    array.flags.writeable = False
    copies = Copies([array])
    written(copies.address(array), -1)
    copies.back()
    assert array[0] == 0
