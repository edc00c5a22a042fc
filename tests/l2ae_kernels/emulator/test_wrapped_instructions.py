"""The headers mma.cuh, grid.cuh and async_copy.cuh, as kernels include them on both sides."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import l2ae_kernels
from l2ae_kernels.emulator import EmulatorError, RawModule

SOURCE = Path(l2ae_kernels.__file__).parent / "cuda" / "source"
ORDERS = ["ascending", "descending", "shuffled"]

CODE = r"""
#include "async_copy.cuh"
#include "grid.cuh"
#include "mma.cuh"

// One warp: d (16, 8) += a (16, K) b (K, 8), row-major.
extern "C" __global__ void tf32(const float* a, const float* b, float* d) {
  int lane = threadIdx.x;
  unsigned mine_a[4], mine_b[2];
  float mine_d[4];
  for (int i = 0; i < 4; ++i) {
    mma::Cell at = mma::tf32_a(lane, i), out = mma::d(lane, i);
    mine_a[i] = mma::to_tf32(a[at.row * 8 + at.column]);
    mine_d[i] = d[out.row * 8 + out.column];
  }
  for (int i = 0; i < 2; ++i) {
    mma::Cell at = mma::tf32_b(lane, i);
    mine_b[i] = mma::to_tf32(b[at.row * 8 + at.column]);
  }
  mma::tf32(mine_d, mine_a, mine_b);
  for (int i = 0; i < 4; ++i) {
    mma::Cell out = mma::d(lane, i);
    d[out.row * 8 + out.column] = mine_d[i];
  }
}

extern "C" __global__ void cells(int* out) {
  int lane = threadIdx.x;
  mma::Cell found[10];
  for (int i = 0; i < 4; ++i) {
    found[i] = mma::tf32_a(lane, i);
    found[4 + i] = mma::d(lane, i);
    if (i < 2) found[8 + i] = mma::tf32_b(lane, i);
  }
  for (int i = 0; i < 10; ++i) {
    out[lane * 20 + 2 * i] = found[i].row;
    out[lane * 20 + 2 * i + 1] = found[i].column;
  }
}

// Fragments of a (16, 8) and of two b (8, 8), whose columns are 16 rows of 8, by ldmatrix: what
// each lane gets. Rows lie `pitch` numbers apart.
extern "C" __global__ void fragments(const float* a, const float* b, float* out, int pitch) {
  __shared__ __align__(16) float left[16 * 12];
  __shared__ __align__(16) float right[16 * 12];
  for (int i = threadIdx.x; i < 16 * 8; i += 32) {
    left[i / 8 * pitch + i % 8] = a[i];
    right[i / 8 * pitch + i % 8] = b[i];
  }
  __syncthreads();
  int lane = threadIdx.x;
  unsigned mine_a[4], mine_b[2][2];
  mma::Cell at = mma::address_a(lane);
  mma::load_a(mine_a, &left[at.row * pitch + at.column]);
  at = mma::address_b(lane);
  mma::load_b(mine_b[0], mine_b[1], &right[at.column * pitch + at.row]);
  for (int i = 0; i < 4; ++i) {
    out[lane * 8 + i] = __uint_as_float(mine_a[i]);
    out[lane * 8 + 4 + i] = __uint_as_float(mine_b[i / 2][i % 2]);
  }
}

extern "C" __global__ void not_shared(const float* x) {
  unsigned a[4];
  mma::load_a(a, x);
}

extern "C" __global__ void parts(const float* x, unsigned* big, unsigned* small, unsigned* near) {
  mma::Parts parts = mma::split(x[threadIdx.x]);
  big[threadIdx.x] = parts.big;
  small[threadIdx.x] = parts.small;
  near[threadIdx.x] = mma::near_tf32(x[threadIdx.x]);
}

extern "C" __global__ void rounded(const float* x, unsigned* tf32) {
  tf32[threadIdx.x] = mma::to_tf32(x[threadIdx.x]);
}

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

CAPITALS = [f"-D{letter}=({ord(letter)})" for letter in "ABCDKNPTX"]  # constants of a kernel


def function(name, order="ascending", cooperative=False):
    module = RawModule(
        code=CODE,
        options=(f"-I{SOURCE}", *CAPITALS),
        order=order,
        enable_cooperative_groups=cooperative,
    )
    return module.get_function(name)


def to_tf32(x):
    """To the nearest, ties away from zero: 13 bits of the mantissa go."""
    return ((x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def seen(x):
    """What a tensor core reads of float32: 10 bits of the mantissa."""
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


@pytest.mark.parametrize("order", ORDERS)
def test_product_of_rounded_matrices(order):
    rng = np.random.default_rng(0)
    a, b, d = (rng.standard_normal(s).astype(np.float32) for s in ((16, 8), (8, 8), (16, 8)))
    expected = d + to_tf32(a).astype(float) @ to_tf32(b).astype(float)
    unrounded = d + a.astype(float) @ b
    function("tf32", order)((1,), (32,), (a, b, d))
    # float32 sums of 9 terms of size one: well below the effect of rounding the factors
    np.testing.assert_allclose(d, expected, rtol=0, atol=3e-6)
    assert np.abs(d - unrounded).max() > 1e-4


def test_cells_of_the_registers_are_those_of_the_ptx_manual():
    """Where groupID = lane >> 2 and threadID_in_group = lane % 4 (PTX ISA, mma.m16n8k8).

    The product above cannot see it: it loads and multiplies by the same functions.
    """
    out = np.zeros((32, 10, 2), np.int32)
    function("cells")((1,), (32,), (out,))
    for lane in range(32):
        group, t = lane >> 2, lane % 4
        a = [(group, t), (group + 8, t), (group, t + 4), (group + 8, t + 4)]
        d = [(group, 2 * t), (group, 2 * t + 1), (group + 8, 2 * t), (group + 8, 2 * t + 1)]
        np.testing.assert_array_equal(out[lane], [*a, *d, (t, group), (t + 4, group)])


def test_rounding_to_tf32():
    x = np.concatenate(
        [
            np.random.default_rng(0).standard_normal(26),
            [0.0, -0.0, 1 + 2.0**-11, np.inf, -np.inf, 3e38],
        ]
    ).astype(np.float32)
    tf32 = np.zeros(32, np.float32)
    function("rounded")((1,), (32,), (x, tf32.view(np.uint32)))
    finite = np.isfinite(x)
    np.testing.assert_array_equal(tf32[finite], to_tf32(x[finite]))
    np.testing.assert_array_equal(tf32[~finite], x[~finite])
    assert tf32[28] == 1 + 2.0**-10  # a tie goes up


def test_fragments_by_ldmatrix_are_those_of_the_product():
    A = np.arange(128, dtype=np.float32).reshape(16, 8)
    B = 1000 + np.arange(128, dtype=np.float32).reshape(16, 8)  # columns of B, as rows
    out = np.zeros((32, 8), np.float32)
    function("fragments")((1,), (32,), (A, B, out, np.int32(12)))
    for lane in range(32):
        group, t = lane >> 2, lane % 4  # PTX ISA, mma.m16n8k8, as above
        a = [A[group, t], A[group + 8, t], A[group, t + 4], A[group + 8, t + 4]]
        b = [B[group, t], B[group, t + 4], B[group + 8, t], B[group + 8, t + 4]]
        np.testing.assert_array_equal(out[lane], [*a, *b])


def test_fragments_lie_in_shared_memory_at_multiples_of_16_bytes():
    A, out = np.zeros((16, 8), np.float32), np.zeros((32, 8), np.float32)
    with pytest.raises(EmulatorError, match="mma::load: the address is not a multiple of 16 bytes"):
        function("fragments")((1,), (32,), (A, A, out, np.int32(9)))
    with pytest.raises(EmulatorError, match="mma::load: the address is not in shared memory"):
        function("not_shared")((1,), (32,), (A,))


def test_parts_of_a_number_are_two_of_tf32():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(32) * 2.0 ** rng.integers(-60, 60, 32)).astype(np.float32)
    x[:4] = 2 - 2.0**-23, 1 + 1.24 * 2.0**-11, np.inf, -np.inf
    x[4:6].view(np.uint32)[:] = 0x7FC00000, 0x7FFFFFFF  # a NaN of NumPy's, and of a GPU's
    big, small, near = (np.zeros(32, np.float32) for _ in range(3))
    function("parts")((1,), (32,), (x, *(a.view(np.uint32) for a in (big, small, near))))
    np.testing.assert_array_equal(big, seen(big))
    np.testing.assert_array_equal(seen(big)[2:6], x[2:6])
    np.testing.assert_array_equal(seen(near)[2:6], x[2:6])
    finite = np.isfinite(x)
    x, near = x[finite].astype(float), seen(near)[finite]
    parts = big[finite].astype(float) + seen(small)[finite]
    assert (np.abs(x - parts) <= 1.25 * 2.0**-21 * np.abs(x)).all()
    assert (np.abs(x - near) <= 1.25 * 2.0**-11 * np.abs(x)).all()


@pytest.mark.parametrize("order", ORDERS)
def test_barrier_of_the_grid_orders_rounds(order):
    x = np.arange(5 * 16, dtype=np.float32)
    expected = x.copy()
    for _ in range(3):
        expected = expected + np.roll(expected, -16)
    counter = np.zeros(1, np.uint32)
    function("rounds", order, cooperative=True)(
        (5,), (16,), (x, np.zeros_like(x), counter, np.int32(3))
    )
    np.testing.assert_array_equal(x, expected)
    assert counter[0] == 5 * 6  # as on a device: every block comes to every barrier


def test_barrier_of_the_grid_needs_a_cooperative_launch():
    x = np.zeros(32, np.float32)
    arguments = (x, x.copy(), np.zeros(1, np.uint32), np.int32(1))
    with pytest.raises(EmulatorError, match="enable_cooperative_groups=True"):
        function("rounds")((2,), (16,), arguments)


def test_barrier_of_the_grid_wants_its_counter_at_zero():
    x = np.zeros(32, np.float32)
    arguments = (x, x.copy(), np.full(1, 2, np.uint32), np.int32(1))
    with pytest.raises(EmulatorError, match="the counter has to be 0 when the kernel starts"):
        function("rounds", cooperative=True)((2,), (16,), arguments)


@pytest.mark.parametrize("order", ORDERS)
def test_copies_arrive_at_the_wait(order):
    x = np.random.default_rng(0).random((3, 4, 32)).astype(np.float32)
    sums = np.zeros(32, np.float32)
    function("pipeline", order)((1,), (32,), (x, sums, np.int32(3)))
    np.testing.assert_allclose(sums, np.roll(x.sum((0, 1)), -1), rtol=1e-5)


def test_target_of_a_copy_is_unset_until_the_wait():
    x, y = np.arange(4, dtype=np.float32), np.zeros(6, np.float32)
    function("too_early")((1,), (2,), (x, y))
    np.testing.assert_array_equal(y, [np.nan, np.nan, 0, 1, 2, 3])


@pytest.mark.parametrize("n", [0, 2, 4])
def test_copies_past_the_end_are_zeros_and_read_nothing(n):
    x = np.random.default_rng(0).random(16)[: 4 * n].astype(np.float32)
    y = np.zeros((4, 5), np.float32)
    function("padded")((1,), (4,), (x, y, np.int32(n)))
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
        function("misplaced")((1,), (1,), (x, y, np.int32(offset)))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_headers_compile_for_devices_without_a_warning(architecture, tmp_path):
    (tmp_path / "headers.cu").write_text(CODE)
    flags = [f"-arch={architecture}", "-std=c++17", "-cubin", "-Werror", "all-warnings"]
    command = ["nvcc", *flags, f"-I{SOURCE}", "headers.cu", "-o", "headers.cubin"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
