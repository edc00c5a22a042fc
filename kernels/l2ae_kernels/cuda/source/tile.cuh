// The squared distances of a tile of samples to a few clusters, for any number of features.
//
//     D[sample][cluster] = Σ_feature (x[sample][feature] − c[cluster][feature])²
//
// A thread owns 4 samples and 8 clusters: per feature it reads 4 + 8 numbers of shared memory and
// does 32 differences and 32 multiply-adds. Features pass by in chunks of 8, so the shared memory
// does not grow with them. A distance is summed feature after feature, with fused multiply-adds:
// the same bits in every kernel of this project, and those of the CPU's kernels for short samples.
#pragma once
#include "types.cuh"

constexpr int THREADS = 128;  // in a block
constexpr int SAMPLES = 4;    // of a thread: threadIdx.x + i · THREADS
constexpr int CLUSTERS = 8;   // at a time
constexpr int FEATURES = 8;   // in a chunk: 32 bytes of a row, the least that memory moves
constexpr int TILE = THREADS * SAMPLES;

struct Tile {
  real samples[FEATURES][TILE + 4];  // 4: a warp that writes 4 samples × 8 features hits 32 banks
  real centers[FEATURES][CLUSTERS];
};

// sample(s): address of the features of sample s of the tile, null where there is none.
// center(j): address of the features of cluster j < clusters.
template <class Sample, class Center>
__device__ void tile_distances(
    Tile& tile, Sample sample, Center center, int clusters, int d,
    real (&distance)[SAMPLES][CLUSTERS]) {
  for (int i = 0; i < SAMPLES; ++i) {
    for (int j = 0; j < CLUSTERS; ++j) distance[i][j] = 0;
  }
  for (int first = 0; first < d; first += FEATURES) {
    __syncthreads();  // the chunk before has been read
    for (int e = threadIdx.x; e < TILE * FEATURES; e += THREADS) {
      int s = e / FEATURES, feature = e % FEATURES;
      const real* features = sample(s);
      bool inside = features != nullptr && first + feature < d;
      tile.samples[feature][s] = inside ? features[first + feature] : (real)0;
    }
    for (int e = threadIdx.x; e < CLUSTERS * FEATURES; e += THREADS) {
      int j = e / FEATURES, feature = e % FEATURES;
      bool inside = j < clusters && first + feature < d;
      tile.centers[feature][j] = inside ? center(j)[first + feature] : (real)0;
    }
    __syncthreads();
#pragma unroll
    for (int feature = 0; feature < FEATURES; ++feature) {
      real value[SAMPLES];
#pragma unroll
      for (int i = 0; i < SAMPLES; ++i) {
        value[i] = tile.samples[feature][threadIdx.x + i * THREADS];
      }
#pragma unroll
      for (int j = 0; j < CLUSTERS; ++j) {
        real c = tile.centers[feature][j];
#pragma unroll
        for (int i = 0; i < SAMPLES; ++i) {
          real difference = value[i] - c;
          distance[i][j] = multiply_add(difference, difference, distance[i][j]);
        }
      }
    }
  }
}

// The nearest of k centers (k, d) for each sample of the tile; equal distances take the first.
template <class Sample>
__device__ void tile_nearest(
    Tile& tile, Sample sample, const real* centers, int k, int d, int (&label)[SAMPLES],
    real (&nearest)[SAMPLES]) {
#pragma unroll
  for (int i = 0; i < SAMPLES; ++i) {
    label[i] = 0;
    nearest[i] = infinity();
  }
  for (int first = 0; first < k; first += CLUSTERS) {
    real distance[SAMPLES][CLUSTERS];
    auto center = [&](int j) { return centers + (int64)(first + j) * d; };
    tile_distances(tile, sample, center, min(CLUSTERS, k - first), d, distance);
#pragma unroll
    for (int j = 0; j < CLUSTERS; ++j) {
      if (first + j >= k) break;
#pragma unroll
      for (int i = 0; i < SAMPLES; ++i) {
        if (distance[i][j] < nearest[i]) {
          nearest[i] = distance[i][j];
          label[i] = first + j;
        }
      }
    }
  }
}
