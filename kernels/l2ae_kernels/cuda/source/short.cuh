// Short samples: D features each, a constant, so that a sample lies in registers.
#pragma once
#ifdef D
#include "fixed_point.cuh"
#include "apply_assignment.cuh"

constexpr int CLUSTERS_AT_ONCE = sizeof(real) * D <= 64 ? 4 : 1;  // more would need more registers
constexpr int ROW = (D + 3) / 4 * 4;  // numbers from one center to the next: whole 16 bytes

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
// Its features are read from shared memory, `step` apart: few samples move, and the registers that
// all of them would need for it serve the distances.
__device__ inline void move_short(
    const real* features, int step, int before, int after, const Private& to,
    double inverse_scale) {
  atomicAdd(&to.counts[after], 1);
  if (before >= 0) atomicSub(&to.counts[before], 1);
#pragma unroll 2
  for (int feature = 0; feature < D; ++feature) {
    int64 fixed = to_fixed((double)features[feature * step], inverse_scale);
    add_shared(&to.low[after * D + feature], &to.high[after * D + feature], fixed);
    if (before >= 0) {
      add_shared(&to.low[before * D + feature], &to.high[before * D + feature], -fixed);
    }
  }
}
#endif
