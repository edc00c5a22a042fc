"""Arrays of a launch are copied: apart if they are apart, together if they overlap."""

import ctypes

import numpy as np
import pytest

from l2ae_kernels.emulator import EmulatorError, RawModule
from l2ae_kernels.emulator.arguments import Copies

both = pytest.mark.parametrize("guarded", [True, False])


def written(address, value):
    ctypes.c_float.from_address(address).value = value


@both
def test_arrays_that_overlap_are_one_memory(guarded):
    whole = np.arange(10, dtype=np.float32)
    part, other = whole[4:7], np.zeros(3, np.float32)
    copies = Copies([("a", part), ("b", whole), ("c", other), ("d", whole)], guarded=guarded)
    assert copies.address(part) == copies.address(whole) + 16
    written(copies.address(part), -1)
    written(copies.address(other) + 4, -2)
    np.testing.assert_array_equal(whole, np.arange(10))  # not before the kernel is done
    copies.back()
    np.testing.assert_array_equal(whole, [0, 1, 2, 3, -1, 5, 6, 7, 8, 9])
    np.testing.assert_array_equal(other, [0, -2, 0])


@both
def test_neighbours_are_apart(guarded):
    whole = np.arange(10, dtype=np.float32)
    left, right = whole[:5], whole[5:]
    copies = Copies([("a", left), ("b", right)], guarded=guarded)
    assert copies.address(right) != copies.address(left) + left.nbytes
    written(copies.address(right), -1)
    copies.back()
    assert whole[5] == -1


@both
def test_arrays_that_must_not_be_written_are_left_alone(guarded):
    array = np.arange(4, dtype=np.float32)
    array.flags.writeable = False
    copies = Copies([("a", array)], guarded=guarded)
    written(copies.address(array), -1)
    copies.back()
    assert array[0] == 0


@pytest.mark.parametrize("first", range(4))
def test_a_copy_is_aligned_like_its_array(first):
    array = np.zeros(8, np.float32)[first:]
    copy = Copies([("a", array)], guarded=True).address(array)
    assert copy % 128 == array.ctypes.data % 128


CODE = """
template <class T> __device__ void twice(const T* x, T* y, int shift) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i + shift] = 2 * x[i];
}
extern "C" __global__ void floats(const float* x, float* y, int shift) { twice(x, y, shift); }
extern "C" __global__ void doubles(const double* x, double* y, int shift) { twice(x, y, shift); }
extern "C" __global__ void ints(const int* x, int* y, int shift) { twice(x, y, shift); }
extern "C" __global__ void copies(const float* x, float* y, int shift) {
  int i = threadIdx.x;
  y[i + shift] = x[i];
}
extern "C" __global__ void rectified(float* x) { x[threadIdx.x] = fmaxf(x[threadIdx.x], 0.0f); }
extern "C" __global__ void doubled(float* x) { x[threadIdx.x] *= 2; }
"""
DTYPES = {"floats": np.float32, "doubles": np.float64, "ints": np.int32, "copies": np.float32}


@pytest.fixture(scope="module")
def module(cxx):
    return RawModule(code=CODE)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(
    ("threads", "shift", "index"),
    [(10, 0, None), (11, 0, 10), (1024, 0, 10), (10, 1, 10), (10, -1, -1)],
)
def test_a_write_outside_of_an_array_is_named(module, name, threads, shift, index):
    """A forgotten `if (i < n)` reads outside too: what it copies from there is noticed as well."""
    x = np.arange(10).astype(DTYPES[name])
    y = np.zeros(10, x.dtype)
    arguments = (x, y, np.int32(shift))
    if index is None:
        module.get_function(name)((1,), (threads,), arguments)
    else:
        with pytest.raises(EmulatorError, match=rf"to y\[{index}\], but y has 10 elements"):
            module.get_function(name)((1,), (threads,), arguments)
    done = (1 if name == "copies" else 2) * x
    np.testing.assert_array_equal(y[max(shift, 0) : 10 + min(shift, 0)],
                                  done[max(-shift, 0) : 10 - max(shift, 0)])  # fmt: skip


@pytest.mark.parametrize("name", ["rectified", "doubled"])
def test_a_write_outside_of_what_is_changed_in_place_is_named(module, name):
    with pytest.raises(EmulatorError, match=r"to x\[6\], but x has 6 elements"):
        module.get_function(name)((1,), (32,), (np.ones(6, np.float32),))


def test_a_view_ends_where_it_ends_and_an_overlapping_array_where_that_ends(module):
    whole = np.ones(20, np.float32)
    launch = module.get_function("doubled")
    with pytest.raises(EmulatorError, match=r"to x\[4\], but x has 4 elements"):
        launch((1,), (5,), (whole[:4],))
    np.testing.assert_array_equal(whole, [2] * 4 + [1] * 16)
    module.get_function("floats")((1,), (5,), (whole, whole[2:6], np.int32(0)))
    np.testing.assert_array_equal(whole[2:7], [4, 4, 8, 8, 16])


@pytest.mark.parametrize("name", ["floats", "doubles"])
def test_what_is_read_outside_of_an_array_is_nan(module, name):
    x, y = np.ones(4, DTYPES[name]), np.zeros(10, DTYPES[name])
    module.get_function(name)((1,), (10,), (x, y, np.int32(0)))
    np.testing.assert_array_equal(y, [2] * 4 + [np.nan] * 6)
