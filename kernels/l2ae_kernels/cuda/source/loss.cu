// The squared error of M reconstructions, and its gradient.
//
//   E = Σ (y − x)²        dy = 2 (y − x) factor, where y > 0, else slope times that

#include "network.cuh"
#include "warp.cuh"

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;

// dy, and the squared error of a part of the numbers of each model.
//
// One pass for both: a thread reads y and x, writes dy, and adds up the squares of every 256th
// number of its part in float64. The sums of a block are added in order, lanes as a tree, then
// warps; the parts (count, models) are cut by the size of one model alone. Null dy or parts are not
// written. What is absent of a model has dy = 0, and no error.
// grid (parts, 1, models).
extern "C" __global__ void __launch_bounds__(THREADS) squared_error(
    const real* y, const real* x, real* dy, double* parts, int64 elements, int64 part,
    int64 x_models, real twice_factor, real slope, const int* counts, const real* twice_factors,
    int64 of_sample) {
  const int64 begin = blockIdx.x * part, end = min(elements, begin + part);
  const int64 from = blockIdx.z * elements;
  const int64 there = counts ? counts[blockIdx.z] * of_sample : elements;
  if (twice_factors) twice_factor = twice_factors[blockIdx.z];
  x += blockIdx.z * x_models;
  double sum = 0;
  for (int64 i = begin + threadIdx.x; i < end; i += THREADS) {
    if (i >= there) {
      if (dy) dy[from + i] = 0;
      continue;
    }
    const real away = y[from + i] - x[i];
    sum += (double)away * away;
    if (dy) dy[from + i] = gated(away * twice_factor, y, from + i, slope);
  }
  if (!parts) return;
  sum = sum_of_block<WARPS>(sum);
  if (threadIdx.x == 0) parts[blockIdx.x * gridDim.z + blockIdx.z] = sum;
}

// errors[model] += Σ parts: a warp a model, a lane every 32nd part, lanes added as a tree.
// grid (1, 1, models).
extern "C" __global__ void __launch_bounds__(32)
    add_errors(const double* parts, double* errors, int64 count) {
  double sum = 0;
#pragma unroll 4
  for (int64 p = threadIdx.x; p < count; p += 32) sum += parts[p * gridDim.z + blockIdx.z];
  sum = sum_of_warp(sum);
  if (threadIdx.x == 0) errors[blockIdx.z] += sum;
}
