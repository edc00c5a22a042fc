"""The header mma.cuh, as kernels include it on both sides: products, fragments, parts."""

import numpy as np
import pytest

from l2ae_kernels.emulator import EmulatorError

from .headers import ORDERS, function

CODE = r"""
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

extern "C" __global__ void four(const float* x, unsigned* out, int from) {
  __shared__ __align__(16) float numbers[8];
  if (threadIdx.x < 8) numbers[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  const uint4 read = mma::load_four(from < 0 ? x : numbers + from);
  if (threadIdx.x > 0) return;
  out[0] = read.x, out[1] = read.y, out[2] = read.z, out[3] = read.w;
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
"""


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
    function(CODE, "tf32", order)((1,), (32,), (a, b, d))
    # float32 sums of 9 terms of size one: well below the effect of rounding the factors
    np.testing.assert_allclose(d, expected, rtol=0, atol=3e-6)
    assert np.abs(d - unrounded).max() > 1e-4


def test_cells_of_the_registers_are_those_of_the_ptx_manual():
    """Where groupID = lane >> 2 and threadID_in_group = lane % 4 (PTX ISA, mma.m16n8k8).

    The product above cannot see it: it loads and multiplies by the same functions.
    """
    out = np.zeros((32, 10, 2), np.int32)
    function(CODE, "cells")((1,), (32,), (out,))
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
    function(CODE, "rounded")((1,), (32,), (x, tf32.view(np.uint32)))
    finite = np.isfinite(x)
    np.testing.assert_array_equal(tf32[finite], to_tf32(x[finite]))
    np.testing.assert_array_equal(tf32[~finite], x[~finite])
    assert tf32[28] == 1 + 2.0**-10  # a tie goes up


def test_fragments_by_ldmatrix_are_those_of_the_product():
    A = np.arange(128, dtype=np.float32).reshape(16, 8)
    B = 1000 + np.arange(128, dtype=np.float32).reshape(16, 8)  # columns of B, as rows
    out = np.zeros((32, 8), np.float32)
    function(CODE, "fragments")((1,), (32,), (A, B, out, np.int32(12)))
    for lane in range(32):
        group, t = lane >> 2, lane % 4  # PTX ISA, mma.m16n8k8, as above
        a = [A[group, t], A[group + 8, t], A[group, t + 4], A[group + 8, t + 4]]
        b = [B[group, t], B[group, t + 4], B[group + 8, t], B[group + 8, t + 4]]
        np.testing.assert_array_equal(out[lane], [*a, *b])


def test_fragments_lie_in_shared_memory_at_multiples_of_16_bytes():
    A, out = np.zeros((16, 8), np.float32), np.zeros((32, 8), np.float32)
    with pytest.raises(EmulatorError, match="mma::load: the address is not a multiple of 16 bytes"):
        function(CODE, "fragments")((1,), (32,), (A, A, out, np.int32(9)))
    with pytest.raises(EmulatorError, match="mma::load: the address is not in shared memory"):
        function(CODE, "not_shared")((1,), (32,), (A,))


def test_four_numbers_lie_in_shared_memory_at_a_multiple_of_16_bytes():
    x, out = np.arange(8, dtype=np.float32), np.zeros(4, np.float32)
    four = function(CODE, "four")
    four((1,), (32,), (x, out.view(np.uint32), np.int32(4)))
    np.testing.assert_array_equal(out, x[4:])
    with pytest.raises(EmulatorError, match="load_four: the address is not a multiple of 16 bytes"):
        four((1,), (32,), (x, out.view(np.uint32), np.int32(2)))
    with pytest.raises(EmulatorError, match="load_four: the address is not in shared memory"):
        four((1,), (32,), (x, out.view(np.uint32), np.int32(-1)))


def test_parts_of_a_number_are_two_of_tf32():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(32) * 2.0 ** rng.integers(-60, 60, 32)).astype(np.float32)
    x[:4] = 2 - 2.0**-23, 1 + 1.24 * 2.0**-11, np.inf, -np.inf
    x[4:6].view(np.uint32)[:] = 0x7FC00000, 0x7FFFFFFF  # a NaN of NumPy's, and of a GPU's
    big, small, near = (np.zeros(32, np.float32) for _ in range(3))
    function(CODE, "parts")((1,), (32,), (x, *(a.view(np.uint32) for a in (big, small, near))))
    np.testing.assert_array_equal(big, seen(big))
    np.testing.assert_array_equal(seen(big)[2:6], x[2:6])
    np.testing.assert_array_equal(seen(near)[2:6], x[2:6])
    finite = np.isfinite(x)
    x, near = x[finite].astype(float), seen(near)[finite]
    parts = big[finite].astype(float) + seen(small)[finite]
    assert (np.abs(x - parts) <= 1.25 * 2.0**-21 * np.abs(x)).all()
    assert (np.abs(x - near) <= 1.25 * 2.0**-11 * np.abs(x)).all()
