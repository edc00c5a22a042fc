// What follows an assignment: new labels, and the sums, counts and inertia that go with them.
//
// Only samples whose label changed are added up: one leaves a sum and joins another, exactly
// (fixed_point.cuh). The first pass starts from label −1, no cluster, and adds every sample; after
// a few passes hardly any is touched, and a pass costs what its distances cost.
#pragma once
#include "fixed_point.cuh"

// Sums of one run, in global memory, and the inverse scales that make numbers whole.
struct Totals {
  int64* sums;     // (k, d) fixed-point
  int64* counts;   // (k)
  int64* changed;  // (1)
  int64* inertia;  // (1) fixed-point, with a scale of its own
  double inverse_scale;
  double inverse_inertia_scale;
};

// The differences of one block, in shared memory: private, so that blocks do not wait for each
// other, and flushed once. low is null where they do not fit; then all goes to global memory.
struct Private {
  unsigned* low;   // (k, d), see add_shared
  unsigned* high;  // (k, d)
  int* counts;     // (k)
};

__device__ inline Private carve(unsigned* memory, int k, int d, int is_private) {
  if (!is_private) return {nullptr, nullptr, (int*)memory};
  return {memory, memory + k * d, (int*)(memory + 2 * k * d)};
}

__device__ inline void clear(const Private& to, int k, int d) {
  for (int e = threadIdx.x; e < k; e += blockDim.x) to.counts[e] = 0;
  if (to.low == nullptr) return;
  for (int e = threadIdx.x; e < k * d; e += blockDim.x) to.low[e] = to.high[e] = 0;
}

__device__ inline void flush(const Private& from, const Totals& to, int k, int d) {
  for (int e = threadIdx.x; e < k; e += blockDim.x) add_global(&to.counts[e], from.counts[e]);
  if (from.low == nullptr) return;
  for (int e = threadIdx.x; e < k * d; e += blockDim.x) {
    add_global(&to.sums[e], join_halves(from.low[e], from.high[e]));
  }
}

__device__ inline void add_feature(
    const Private& to, const Totals& totals, int64 place, int64 value) {
  if (to.low == nullptr) {
    add_global(&totals.sums[place], value);
  } else {
    add_shared(&to.low[place], &to.high[place], value);
  }
}

// Move the samples of a warp, one a lane, from their old sum (−1: none) to their new one.
//
// The lanes take the features of one changed sample after the other: a row of x is read side by
// side, and so are the two rows of sums. All lanes of the warp must call it.
__device__ inline void move_samples(
    const real* x, int64 sample, int before, int after, int d, const Private& to,
    const Totals& totals) {
  int lane = threadIdx.x % 32;
  unsigned left = __ballot_sync(0xffffffffu, before != after);
  if (before != after) {
    atomicAdd(&to.counts[after], 1);
    if (before >= 0) atomicSub(&to.counts[before], 1);
  }
  while (left != 0) {
    int source = __ffs((int)left) - 1;
    left &= left - 1;
    const real* row = x + __shfl_sync(0xffffffffu, sample, source) * d;
    int64 leaves = (int64)__shfl_sync(0xffffffffu, before, source) * d;
    int64 joins = (int64)__shfl_sync(0xffffffffu, after, source) * d;
    for (int feature = lane; feature < d; feature += 32) {
      int64 value = to_fixed((double)row[feature], totals.inverse_scale);
      add_feature(to, totals, joins + feature, value);
      if (leaves >= 0) add_feature(to, totals, leaves + feature, -value);
    }
  }
}

// Add what each thread counted to the totals of the run; all threads of the block must call it.
__device__ inline void add_up(int changed, int64 inertia, const Totals& totals) {
  int64 changes = warp_sum((int64)changed);
  inertia = warp_sum(inertia);
  if (threadIdx.x % 32 == 0) {
    add_global(totals.changed, changes);
    add_global(totals.inertia, inertia);
  }
}
