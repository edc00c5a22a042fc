// Sums that do not depend on the order of the additions, for any number of threads and blocks.
//
//     s = Σ_i round(v_i / scale),   scale a power of two,   |s| < 2^63
//
// Every term is a whole number, so an addition is exact and the sum is a function of what is added:
// bit-equal from run to run, and subtracting a sample undoes its addition. Float sums would need
// a fixed order of additions, which atomics do not have, and a table of partial sums that is added
// up in every iteration. The host chooses a scale so small that rounding does not matter and so
// large that no sum overflows: kmeans/fixed_point.py.
//
// In sm_90 code an atomicAdd on shared memory is a loop around compare-and-swap for floats, and for
// 64-bit integers too (ATOMS.CAST.SPIN.64); for 32-bit integers it is one instruction, ATOMS.ADD.
// Hence the two halves.
#pragma once
#include "types.cuh"

__device__ inline int64 to_fixed(double value, double inverse_scale) {
  return __double2ll_rn(value * inverse_scale);  // ties to even, as the host's rint
}

// Add to a sum in shared memory that is kept as two halves. An addition that wraps the low half
// adds one carry to the high half, whichever thread comes first: the total is exact modulo 2^64.
__device__ inline void add_shared(unsigned* low, unsigned* high, int64 value) {
  unsigned low_value = (unsigned)value;
  unsigned before = atomicAdd(low, low_value);
  unsigned carry = before + low_value < before ? 1u : 0u;
  unsigned high_value = (unsigned)((uint64)value >> 32) + carry;
  if (high_value != 0) atomicAdd(high, high_value);
}

// Add to a sum in global memory: one instruction, done in the second-level cache.
__device__ inline void add_global(int64* sum, int64 value) {
  if (value != 0) atomicAdd((uint64*)sum, (uint64)value);
}

__device__ inline int64 join_halves(unsigned low, unsigned high) {
  return (int64)(((uint64)high << 32) | low);
}

// The sum over the 32 lanes of a warp, in lane 0; all lanes must call it.
__device__ inline int64 warp_sum(int64 value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, distance);
  }
  return value;
}
