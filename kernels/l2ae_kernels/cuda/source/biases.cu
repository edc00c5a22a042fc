// The gradients of the biases of all layers of a network: db[feature] = Σ over rows of dy.
//
// One layer alone keeps few multiprocessors busy, and its sums take as long as those of all layers
// side by side: so one launch a step, in place of one a layer. The dy of all layers lie in one
// array, and so do the parts of their db, which adam.cu adds: a layer is a row of a table,
//
//   {dy begins, parts begin, rows, features, rows of a part, parts, first block}
//
// for one model. Of M models dy is (M, rows, features) and the parts are (parts, M, features).

#include "network.cuh"

constexpr int THREADS = 256;

struct Layer {
  int64 dy, db, rows, features, rows_of_part, parts, block;
};

// The layer that a block belongs to: the last one that begins at or before it.
__device__ __forceinline__ Layer layer_of(const int64* layers, int count, int64 block) {
  const Layer* layer = reinterpret_cast<const Layer*>(layers) + count - 1;
  while (layer->block > block) --layer;
  return *layer;
}

// db[part][model][feature] = Σ over the rows of a part, for up to 256 features of a layer.
//
// Threads lie over dy as it lies in memory, several rows at once where rows are short, so that
// reads are side by side even for one feature; then one thread a feature adds the lanes' sums in
// order. Reads dy once, writes one number a part and feature. grid (blocks, 1, models).
extern "C" __global__ void __launch_bounds__(THREADS)
    bias_parts(const real* gradients, const int64* layers, int count, real* db) {
  __shared__ real lane_sums[THREADS];
  const Layer layer = layer_of(layers, count, blockIdx.x);
  const int64 block = blockIdx.x - layer.block;
  const int64 first = block / layer.parts * THREADS, part = block % layer.parts;
  const int width = (int)min((int64)THREADS, layer.features - first);
  const int lanes = THREADS / width;
  const int lane = threadIdx.x / width, feature = threadIdx.x % width;
  const int64 begin = part * layer.rows_of_part, end = min(layer.rows, begin + layer.rows_of_part);
  const real* dy =
      gradients + layer.dy + blockIdx.z * layer.rows * layer.features + first + feature;
  real sum = 0;
  if (lane < lanes)
    for (int64 row = begin + lane; row < end; row += lanes) sum += dy[row * layer.features];
  lane_sums[threadIdx.x] = sum;
  __syncthreads();
  if (lane > 0) return;
  for (int l = 1; l < lanes; ++l) sum += lane_sums[l * width + feature];
  db[layer.db + (part * gridDim.z + blockIdx.z) * layer.features + first + feature] = sum;
}
