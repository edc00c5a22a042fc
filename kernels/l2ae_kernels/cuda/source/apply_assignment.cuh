// What follows an assignment: new labels, and the sums, counts and inertia that go with them.
//
// Only samples whose label changed are added up: one leaves a sum and joins another, exactly
// (fixed_point.cuh). The first pass starts from label −1, no cluster, and adds every sample; after
// a few passes hardly any is touched, and a pass costs what its distances cost.
#pragma once
#include "fixed_point.cuh"

// What a run adds up to, a row of k·d + k + 2 numbers in global memory, and the inverse scales that
// make numbers whole.
struct Totals {
  int64* sums;     // (k, d) fixed-point
  int64* counts;   // (k)
  int64* changed;  // (1)
  int64* inertia;  // (1) fixed-point, with a scale of its own
  double inverse_scale;
  double inverse_inertia_scale;
};

__device__ inline int64 row_width(int k, int d) { return (int64)k * d + k + 2; }

__device__ inline Totals totals_of(
    int64* row, int k, int d, double inverse_scale, double inverse_inertia_scale) {
  int64* counts = row + (int64)k * d;
  return {row, counts, counts + k, counts + k + 1, inverse_scale, inverse_inertia_scale};
}

// The differences of one block, in shared memory: private, so that blocks do not wait for each
// other, and flushed once. What is not kept goes to global memory at once. The pointers are those
// of shared memory either way: a pointer that may also be null, or global, would make every
// addition a generic one (ATOM), where one on shared memory is ATOMS.
struct Private {
  unsigned* low;   // (k, pitch), see add_shared
  unsigned* high;  // (k, pitch)
  int* counts;     // (k)
  int pitch;       // numbers from one cluster to the next, d or more
  int kept;        // 0: nothing, 1: counts, 2: counts and sums (shapes.py)
};

__device__ inline Private carve(unsigned* memory, int k, int d, int kept) {
  unsigned* low = memory + k;
  return {low, low + (int64)k * d, (int*)memory, d, kept};
}

// Where element e of sums (k, d) lies in sums (k, pitch).
__device__ inline int padded_place(int e, int d, int pitch) {
  return pitch == d ? e : e / d * pitch + e % d;
}

__device__ inline void clear(const Private& to, int k) {
  if (to.kept < 1) return;
  for (int e = threadIdx.x; e < k; e += blockDim.x) to.counts[e] = 0;
  if (to.kept < 2) return;
  for (int e = threadIdx.x; e < k * to.pitch; e += blockDim.x) to.low[e] = to.high[e] = 0;
}

__device__ inline void flush(const Private& from, const Totals& to, int k, int d) {
  if (from.kept < 1) return;
  for (int e = threadIdx.x; e < k; e += blockDim.x) add_global(&to.counts[e], from.counts[e]);
  if (from.kept < 2) return;
  for (int e = threadIdx.x; e < k * d; e += blockDim.x) {
    int place = padded_place(e, d, from.pitch);
    add_global(&to.sums[e], join_halves(from.low[place], from.high[place]));
  }
}

__device__ inline void add_count(const Private& to, const Totals& totals, int cluster, int value) {
  if (to.kept > 0) {
    atomicAdd(&to.counts[cluster], value);
  } else {
    add_global(&totals.counts[cluster], value);
  }
}

// Move one sample by the lanes of a warp, which take its features side by side.
template <bool KEPT>
__device__ inline void move_row(
    const real* row, int before, int after, int d, const Private& to, const Totals& totals) {
  const int64 leaves = (int64)before * d, joins = (int64)after * d;
  for (int feature = threadIdx.x % 32; feature < d; feature += 32) {
    int64 value = to_fixed((double)row[feature], totals.inverse_scale);
    if (KEPT) {
      int place = (int)joins + feature;
      add_shared(&to.low[place], &to.high[place], value);
      place = (int)leaves + feature;
      if (before >= 0) add_shared(&to.low[place], &to.high[place], -value);
    } else {
      add_global(&totals.sums[joins + feature], value);
      if (before >= 0) add_global(&totals.sums[leaves + feature], -value);
    }
  }
}

// Move the samples of a warp, one a lane, from their old sum (−1: none) to their new one.
//
// The lanes take the features of one changed sample after the other: a row of x is read side by
// side, and so are the two rows of sums. All lanes of the warp must call it.
__device__ inline void move_samples(
    const real* x, int64 sample, int before, int after, int d, const Private& to,
    const Totals& totals) {
  unsigned left = __ballot_sync(0xffffffffu, before != after);
  if (before != after) {
    add_count(to, totals, after, 1);
    if (before >= 0) add_count(to, totals, before, -1);
  }
  while (left != 0) {
    int source = __ffs((int)left) - 1;
    left &= left - 1;
    const real* row = x + __shfl_sync(0xffffffffu, sample, source) * d;
    int leaves = __shfl_sync(0xffffffffu, before, source);
    int joins = __shfl_sync(0xffffffffu, after, source);
    if (to.kept == 2) {
      move_row<true>(row, leaves, joins, d, to, totals);
    } else {
      move_row<false>(row, leaves, joins, d, to, totals);
    }
  }
}

// Add what each thread counted to the totals of the run; all threads of the block must call it.
__device__ inline void add_up(int changed, int64 inertia, const Totals& totals) {
  int changes = __reduce_add_sync(0xffffffffu, changed);
  inertia = warp_sum(inertia);
  if (threadIdx.x % 32 == 0) {
    add_global(totals.changed, changes);
    add_global(totals.inertia, inertia);
  }
}
