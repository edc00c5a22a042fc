// Rung 3: the nearest center of each sample, with everything that is read twice in registers.
//
//     label = argmin_cluster Σ_feature (x[sample][feature] − c[cluster][feature])²
//
// x (n, d), centers (k, d), labels (n), nearest (n): squared distances.
#include "short.cuh"
#include "tile.cuh"

#ifdef D
// Short samples, D features each, known to the compiler: -DD=10, and -DK=10 where k is known too.
//
// What changed against rung 2: a sample lies in registers, indexed by constants, so its features
// are read once for all clusters; centers are padded to whole 16 bytes, so a thread reads 4 numbers
// of one at a time. Why faster: 25 reads of shared memory for 200 arithmetic instructions at
// D = K = 10, where rung 2 has 200 for 200. With K the loop over clusters unrolls too.
//
// A thread reads D numbers of x and k·D of shared memory, and writes a label and a distance. A
// warp reads 32 rows of x, which lie side by side: a whole number of memory's sectors.
extern "C" __global__ void __launch_bounds__(128) assign_short(
    const real* __restrict__ x, const real* __restrict__ centers, int64 n, int k,
    int* __restrict__ labels, real* __restrict__ nearest) {
  extern __shared__ __align__(16) real center_rows[];  // (k, ROW)
#ifdef K
  constexpr int clusters = K;
#else
  const int clusters = k;
#endif
  for (int e = threadIdx.x; e < k * ROW; e += blockDim.x) {
    int cluster = e / ROW, feature = e % ROW;
    center_rows[e] = feature < D ? centers[cluster * D + feature] : (real)0;
  }
  __syncthreads();
  int64 step = (int64)gridDim.x * blockDim.x;
  for (int64 sample = (int64)blockIdx.x * blockDim.x + threadIdx.x; sample < n; sample += step) {
    real value[D];
#pragma unroll
    for (int feature = 0; feature < D; ++feature) value[feature] = x[sample * D + feature];
    real lowest;
    int label = nearest_short(value, center_rows, clusters, lowest);
    labels[sample] = label;
    nearest[sample] = lowest;
  }
}
#endif

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
