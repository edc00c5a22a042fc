// Rung 3 for any samples: the nearest center of each, with everything that is read twice in
// registers.
//
//     label = argmin_cluster Σ_feature (x[sample][feature] − c[cluster][feature])²
//
// x (n, d), centers (k, d), labels (n), nearest (n): squared distances. Short samples have a kernel
// of their own, assign_short.cu.
#include "tile.cuh"

// Any d and k, chosen at run time: register tiles, see tile.cuh.
//
// A block reads 512 samples once for every 8 clusters (from the second-level cache but for the
// first time), and all centers; a thread writes 4 labels and 4 distances. rows lists the samples to
// look at, `count` of them: what rung 7 could not decide. Without a list it is all n.
extern "C" __global__ void __launch_bounds__(THREADS) assign_tiled(
    const real* __restrict__ x, const real* __restrict__ centers, int64 n, int d, int k,
    const int64* __restrict__ rows, const uint64* __restrict__ count, int* __restrict__ labels,
    real* __restrict__ nearest) {
  __shared__ Tile tile;
  int64 samples = rows == nullptr ? n : (int64)*count;
  for (int64 first = (int64)blockIdx.x * TILE; first < samples; first += (int64)gridDim.x * TILE) {
    auto row = [&](int64 s) { return rows == nullptr ? first + s : rows[first + s]; };
    auto sample = [&](int s) { return first + s < samples ? x + row(s) * d : nullptr; };
    int label[SAMPLES];
    real lowest[SAMPLES];
    tile_nearest(tile, sample, centers, k, d, label, lowest);
#pragma unroll
    for (int i = 0; i < SAMPLES; ++i) {
      int s = threadIdx.x + i * THREADS;
      if (first + s < samples) {
        labels[row(s)] = label[i];
        nearest[row(s)] = lowest[i];
      }
    }
  }
}
