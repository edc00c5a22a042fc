// Gradients that come in parts: a sum over many samples is cut, and its parts are added in order.
#pragma once

#include "network.cuh"

constexpr int PART_THREADS = 256;
constexpr int PART_LANES = 8;  // that share the parts of a number, where there are many
constexpr int MANY_PARTS = 16;

// A named array of M models, (models, elements) in the flat array of parameters from `begin` on; the
// parts of its gradient lie (count, models, elements) in another one from `parts` on.
struct Segment {
  int64 begin, parts, elements, count;
};

// What a block has of a segment: the numbers of a model from `first` on, 256 of them, or 256 /
// PART_LANES where they have many parts.
struct SegmentTile {
  int segment, first;
};

// The number of an array that a thread is left with, and its sum.
struct PartSum {
  int64 index;  // within a model; < 0 for none
  real sum;
};

// Add the parts of the numbers of a block: one after the other, or where there are many each lane
// every 8th, then lanes in order. Threads side by side read numbers side by side. All call.
__device__ __forceinline__ PartSum
sum_of_parts(const real* flat, Segment segment, int64 first, int models, int64 model) {
  __shared__ real lane_sums[PART_THREADS];
  const int lanes = segment.count < MANY_PARTS ? 1 : PART_LANES, width = PART_THREADS / lanes;
  const int lane = threadIdx.x / width;
  const int64 i = first + threadIdx.x % width, apart = models * segment.elements;
  const bool is = i < segment.elements;
  real sum = 0;
  if (is) {
    const real* parts = flat + segment.parts + model * segment.elements + i;
    sum = parts[lane * apart];
#pragma unroll 4
    for (int64 part = lane + lanes; part < segment.count; part += lanes) sum += parts[part * apart];
  }
  if (lanes > 1) {
    lane_sums[threadIdx.x] = sum;
    __syncthreads();
    if (lane > 0) return {-1, 0};
    for (int l = 1; l < lanes; ++l) sum += lane_sums[l * width + threadIdx.x];
  }
  return {is ? i : -1, sum};
}
