// Sums over the 32 lanes of a warp, and over the warps of a block.
#pragma once

// Lanes are added as a tree: every lane gets the same bits, in every run. All 32 have to call.
template <class Number>
__device__ __forceinline__ Number sum_of_warp(Number value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  return value;
}

// The sum over a block of WARPS warps, which thread 0 gets: lanes as a tree, then warps in order. All
// threads call.
template <int WARPS>
__device__ __forceinline__ double sum_of_block(double value) {
  __shared__ double warp_sums[WARPS];
  double sum = sum_of_warp(value);
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int w = 1; w < WARPS; ++w) sum += warp_sums[w];
  return sum;
}
