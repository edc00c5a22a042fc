// Sums over the 32 lanes of a warp.
#pragma once

// Lanes are added as a tree: every lane gets the same bits, in every run. All 32 have to call.
template <class Number>
__device__ __forceinline__ Number sum_of_warp(Number value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  return value;
}
