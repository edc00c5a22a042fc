// Short samples: D features each, a constant, so that a sample lies in registers.
#pragma once
#ifdef D
#include "fixed_point.cuh"
#include "apply_assignment.cuh"

constexpr int CLUSTERS_AT_ONCE = sizeof(real) * D <= 64 ? 4 : 1;  // more would need more registers
constexpr int ROW = (D + 3) / 4 * 4;  // numbers from one center to the next: whole 16 bytes
constexpr int SUM_ROW = D | 1;  // and from one sum to the next: the same feature of 32 in 32 banks
constexpr int MOVED_AT_ONCE = 2;

// The centers of a run, as (k, ROW): their rows are padded with zeros.
__device__ inline void pad_centers(real* to, const real* centers, int k) {
  for (int e = threadIdx.x; e < k * ROW; e += blockDim.x) {
    int cluster = e / ROW, feature = e % ROW;
    to[e] = feature < D ? centers[cluster * D + feature] : (real)0;
  }
}

// The nearest of k centers (k, ROW) in shared memory; equal distances take the first.
__device__ inline int nearest_short(
    const real (&value)[D], const real* centers, int k, real& lowest) {
  int label = 0;
  lowest = infinity();
#pragma unroll CLUSTERS_AT_ONCE
  for (int cluster = 0; cluster < k; ++cluster) {
    real distance = 0;
#pragma unroll
    for (int feature = 0; feature < D; ++feature) {
      real difference = value[feature] - centers[cluster * ROW + feature];
      distance = multiply_add(difference, difference, distance);
    }
    if (distance < lowest) {  // strictly: equal distances keep the lowest index
      lowest = distance;
      label = cluster;
    }
  }
  return label;
}

// Move a sample from its old sum (−1: none) to its new one.
//
// feature(f) is read from shared memory, a few at a time: few samples move, and the registers that
// all of them would need for it serve the distances.
template <class Feature>
__device__ inline void move_short(
    Feature feature, int before, int after, const Private& to, double inverse_scale) {
  atomicAdd(&to.counts[after], 1);
  if (before >= 0) atomicSub(&to.counts[before], 1);
  const int joins = after * SUM_ROW, leaves = before * SUM_ROW;
#pragma unroll 1
  for (int first = 0; first < D; first += MOVED_AT_ONCE) {
    real value[MOVED_AT_ONCE];
#pragma unroll
    for (int i = 0; i < MOVED_AT_ONCE; ++i) {
      value[i] = first + i < D ? feature(first + i) : (real)0;
    }
#pragma unroll
    for (int i = 0; i < MOVED_AT_ONCE; ++i) {
      int f = first + i;
      if (f >= D) break;
      int64 fixed = to_fixed((double)value[i], inverse_scale);
      add_shared(&to.low[joins + f], &to.high[joins + f], fixed);
      if (before >= 0) add_shared(&to.low[leaves + f], &to.high[leaves + f], -fixed);
    }
  }
}
#endif
