"""The headers grid.cuh and async_copy.cuh, as kernels include them on both sides."""

import shutil
import subprocess

import numpy as np
import pytest

from l2ae_kernels.emulator import EmulatorError

from . import test_mma
from .headers import ORDERS, SOURCE, function

CODE = r"""
#include "async_copy.cuh"
#include "grid.cuh"

// Every block's sum of x, then every thread reads all: rounds of a barrier over the grid.
extern "C" __global__ void rounds(float* x, float* next, unsigned* counter, int rounds) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
  for (int round = 0; round < rounds; ++round) {
    next[i] = x[i] + x[(i + blockDim.x) % n];
    grid_barrier(counter);
    x[i] = next[i];
    grid_barrier(counter);
  }
}

// Double-buffered: while one tile is summed, the next one is on its way.
extern "C" __global__ void pipeline(const float* x, float* sums, int tiles) {
  __shared__ float tile[2][4 * 32];
  float sum = 0.0f;
  async_copy<16>(&tile[0][4 * threadIdx.x], x + 4 * threadIdx.x);
  async_commit();
  for (int t = 0; t < tiles; ++t) {
    if (t + 1 < tiles) {
      const float* next = x + (t + 1) * 4 * 32 + 4 * threadIdx.x;
      async_copy<16>(&tile[(t + 1) % 2][4 * threadIdx.x], next);
    }
    async_commit();
    async_wait<1>();
    __syncthreads();
    for (int i = 0; i < 4; ++i) sum += tile[t % 2][i * 32 + (threadIdx.x + 1) % 32];
    __syncthreads();
  }
  sums[threadIdx.x] = sum;
}

// The target held a number before: what is it between the copy and the wait?
extern "C" __global__ void too_early(const float* x, float* y) {
  __shared__ float kept[2];
  kept[threadIdx.x] = 7.0f;
  async_copy<4>(&kept[threadIdx.x], &x[threadIdx.x]);
  async_commit();
  async_copy<4>(&kept[threadIdx.x], &x[2 + threadIdx.x]);
  async_commit();
  y[threadIdx.x] = kept[threadIdx.x];
  async_wait<1>();
  y[2 + threadIdx.x] = kept[threadIdx.x];
  async_wait<0>();
  y[4 + threadIdx.x] = kept[threadIdx.x];
}

// The first n of 4 rows of 16 bytes, zeros behind; x has no more than n.
extern "C" __global__ void padded(const float* x, float* y, int n) {
  __shared__ __align__(16) float tile[16];
  __shared__ float single[4];
  int row = threadIdx.x;
  async_copy_or_zero<16>(&tile[4 * row], x + 4 * row, row < n);
  // an address that is not read may lie anywhere, here in shared memory
  async_copy_or_zero<4>(&single[row], row < n ? x + row : &tile[row], row < n);
  async_commit();
  y[5 * row] = tile[4 * row];
  async_wait<0>();
  for (int i = 0; i < 4; ++i) y[5 * row + i] += tile[4 * row + i];
  y[5 * row + 4] = single[row];
}

extern "C" __global__ void misplaced(const float* x, float* y, int offset) {
  __shared__ float tile[8];
  if (offset < 8) async_copy<16>(&tile[offset], x);
  else async_copy<4>(y, x);
}
"""


@pytest.mark.parametrize("order", ORDERS)
def test_barrier_of_the_grid_orders_rounds(order):
    x = np.arange(5 * 16, dtype=np.float32)
    expected = x.copy()
    for _ in range(3):
        expected = expected + np.roll(expected, -16)
    counter = np.zeros(1, np.uint32)
    function(CODE, "rounds", order, cooperative=True)(
        (5,), (16,), (x, np.zeros_like(x), counter, np.int32(3))
    )
    np.testing.assert_array_equal(x, expected)
    assert counter[0] == 5 * 6  # as on a device: every block comes to every barrier


def test_barrier_of_the_grid_needs_a_cooperative_launch():
    x = np.zeros(32, np.float32)
    arguments = (x, x.copy(), np.zeros(1, np.uint32), np.int32(1))
    with pytest.raises(EmulatorError, match="enable_cooperative_groups=True"):
        function(CODE, "rounds")((2,), (16,), arguments)


def test_barrier_of_the_grid_wants_its_counter_at_zero():
    x = np.zeros(32, np.float32)
    arguments = (x, x.copy(), np.full(1, 2, np.uint32), np.int32(1))
    with pytest.raises(EmulatorError, match="the counter has to be 0 when the kernel starts"):
        function(CODE, "rounds", cooperative=True)((2,), (16,), arguments)


@pytest.mark.parametrize("order", ORDERS)
def test_copies_arrive_at_the_wait(order):
    x = np.random.default_rng(0).random((3, 4, 32)).astype(np.float32)
    sums = np.zeros(32, np.float32)
    function(CODE, "pipeline", order)((1,), (32,), (x, sums, np.int32(3)))
    np.testing.assert_allclose(sums, np.roll(x.sum((0, 1)), -1), rtol=1e-5)


def test_target_of_a_copy_is_unset_until_the_wait():
    x, y = np.arange(4, dtype=np.float32), np.zeros(6, np.float32)
    function(CODE, "too_early")((1,), (2,), (x, y))
    np.testing.assert_array_equal(y, [np.nan, np.nan, 0, 1, 2, 3])


@pytest.mark.parametrize("n", [0, 2, 4])
def test_copies_past_the_end_are_zeros_and_read_nothing(n):
    x = np.random.default_rng(0).random(16)[: 4 * n].astype(np.float32)
    y = np.zeros((4, 5), np.float32)
    function(CODE, "padded")((1,), (4,), (x, y, np.int32(n)))
    expected = np.zeros((4, 5), np.float32)
    expected[:n, :4] = x.reshape(n, 4)
    expected[:n, 4] = x[:n]
    expected[:, 0] = np.nan  # unset until the wait
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    ("offset", "message"), [(1, "not a multiple of 16 bytes"), (8, "not in shared memory")]
)
def test_misplaced_copies_are_named(offset, message):
    x, y = np.zeros(4, np.float32), np.zeros(4, np.float32)
    with pytest.raises(EmulatorError, match=message):
        function(CODE, "misplaced")((1,), (1,), (x, y, np.int32(offset)))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_headers_compile_for_devices_without_a_warning(architecture, tmp_path):
    (tmp_path / "headers.cu").write_text(CODE + test_mma.CODE)
    flags = [f"-arch={architecture}", "-std=c++17", "-cubin", "-Werror", "all-warnings"]
    command = ["nvcc", *flags, f"-I{SOURCE}", "headers.cu", "-o", "headers.cubin"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
