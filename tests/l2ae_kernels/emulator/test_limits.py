"""What a block and the whole emulated device have room for: as much as a GPU of this kind."""

import numpy as np
import pytest

from l2ae_kernels.emulator import EmulatorError, RawModule
from l2ae_kernels.emulator.module import MULTIPROCESSORS, SHARED, STATIC_SHARED

CODE = r"""#line 1 "room.cu"
struct Tile { double a[128]; };
template <int N> __device__ float of_a_function(float x) {
  __shared__ float values[N];
  values[threadIdx.x] = x;
  return values[threadIdx.x];
}
extern "C" __global__ void none(float* x) { extern __shared__ float dynamic[]; }
extern "C" __global__ void declares(float* x) {
  constexpr int ROWS = 8;
  __shared__ float rows[ROWS][9];
  if (x[0] > 0) {
    __shared__ Tile tile;
    tile.a[threadIdx.x] = x[0];
  } else {
    __shared__ __align__(16) Tile tile;
    tile.a[threadIdx.x] = 0;
  }
  rows[0][threadIdx.x % 9] = 0;
}
extern "C" __global__ void by_a_function(float* x) {
  extern __shared__ float dynamic[];
  x[0] = of_a_function<1000>(x[0]);
}
"""
DECLARED = 8 * 9 * 4 + 2 * 128 * 8


def kernel(name, **how):
    return RawModule(code=CODE, **how).get_function(name)


def launch(function, grid=(1,), block=(1,), shared_mem=0):
    function(grid, block, (np.zeros(1, np.float32),), shared_mem=shared_mem)


def test_bytes_of_a_kernel_are_known_before_it_runs():
    assert [kernel(name).shared_size_bytes for name in ("none", "declares")] == [0, DECLARED]
    assert kernel("declares").max_dynamic_shared_size_bytes == STATIC_SHARED - DECLARED


def test_static_and_dynamic_shared_memory_have_one_limit():
    declares = kernel("declares")
    launch(declares, shared_mem=STATIC_SHARED - DECLARED)
    with pytest.raises(ValueError, match=f"expected 0 to {STATIC_SHARED - DECLARED};"):
        launch(declares, shared_mem=STATIC_SHARED - DECLARED + 1)
    declares.max_dynamic_shared_size_bytes = SHARED
    launch(declares, shared_mem=SHARED - DECLARED)
    with pytest.raises(ValueError, match=f"expected 0 to {SHARED - DECLARED};"):
        launch(declares, shared_mem=SHARED - DECLARED + 1)


def test_a_variable_of_a_function_counts_where_it_is_met():
    function = kernel("by_a_function")
    function.max_dynamic_shared_size_bytes = SHARED
    launch(function, shared_mem=SHARED - 4000)
    with pytest.raises(
        EmulatorError, match=r"room\.cu:3: __shared__ values.* 4000 bytes of static"
    ):
        launch(function, shared_mem=SHARED - 3999)


@pytest.mark.parametrize(
    ("threads", "shared_mem", "each"),
    [(1, 0, 32), (256, 0, 8), (1000, 0, 2), (64, 100 * 1024, 2), (64, SHARED, 1)],
)
def test_a_cooperative_grid_is_no_larger_than_the_device(threads, shared_mem, each):
    function = kernel("none", enable_cooperative_groups=True)
    function.max_dynamic_shared_size_bytes = SHARED
    most = MULTIPROCESSORS * each
    launch(function, (most,), (threads,), shared_mem)
    with pytest.raises(ValueError, match=f"grid of {most + 1} blocks but expected at most {most},"):
        launch(function, (most + 1,), (threads,), shared_mem)
    launch(kernel("none"), (most + 1,), (threads,))
