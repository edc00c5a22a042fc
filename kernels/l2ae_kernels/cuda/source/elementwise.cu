// Activations, and sums that come in parts.

#include "network.cuh"

// y = finish(Σ_s parts[s]), the parts added in order: the same bits in every run.
//
// One kernel for all that is done number by number: the end of a product whose depth was split; with
// one part, bias and activation alone, or the adjoint of the activation whose output is `below`.
// Why one: it moves the bytes that it must and computes next to nothing, so it is as fast as memory.
// Each thread reads one number of each part, of `below` and of the bias, and writes one; threads
// side by side have numbers side by side. grid (blocks, 1, models).
extern "C" __global__ void finish_sums(
    const real* parts, real* y, int64 elements, int64 features, int count, int64 part_stride,
    int64 parts_models, const real* bias, int64 bias_models, const real* below, real slope) {
  const int64 model = blockIdx.z;
  parts += model * parts_models;
  const real* model_bias = bias ? bias + model * bias_models : nullptr;
  const int64 threads = (int64)gridDim.x * blockDim.x;
  for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x; i < elements; i += threads) {
    real sum = parts[i];
    for (int s = 1; s < count; ++s) sum += parts[s * part_stride + i];
    const int64 feature = bias ? i % features : 0;
    const int64 index = model * elements + i;
    y[index] = finish(sum, model_bias, feature, below, index, slope);
  }
}

constexpr int THREADS = 256;

// sums[feature] = Σ over rows of dy (rows, features): the gradient of a bias, in parts.
//
// A block has rows_of_part rows of up to 256 features. Threads lie over the array as it lies in
// memory, several rows at once where rows are short, so that reads are side by side even for one
// feature. Each thread adds up every n-th row of its feature; then one thread for each feature adds
// the n sums from shared memory in order. Reads one number a row, writes one number a block and
// feature; finish_sums adds the parts. grid (parts, ⌈features/256⌉, models).
extern "C" __global__ void __launch_bounds__(THREADS) column_sums(
    const real* dy, real* sums, int64 rows, int64 features, int64 rows_of_part, int64 dy_models) {
  __shared__ real lane_sums[THREADS];
  const int64 first = (int64)blockIdx.y * THREADS;
  const int width = (int)min((int64)THREADS, features - first);
  const int lanes = THREADS / width;
  const int lane = threadIdx.x / width, feature = threadIdx.x % width;
  const int64 begin = blockIdx.x * rows_of_part, end = min(rows, begin + rows_of_part);
  const real* from = dy + blockIdx.z * dy_models + first + feature;
  real sum = 0;
  if (lane < lanes)
    for (int64 row = begin + lane; row < end; row += lanes) sum += from[row * features];
  lane_sums[threadIdx.x] = sum;
  __syncthreads();
  if (lane > 0) return;
  for (int l = 1; l < lanes; ++l) sum += lane_sums[l * width + feature];
  const int64 part_and_model = (int64)blockIdx.x * gridDim.z + blockIdx.z;
  sums[part_and_model * features + first + feature] = sum;
}
