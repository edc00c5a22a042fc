// Rung 4 for any samples: a whole pass of Lloyd's iteration in one kernel, for several runs, in
// register tiles (tile.cuh). What a pass is, and why it is faster, says lloyd_short.cu. No constant
// of a shape is compiled in: one module for each type of numbers.
//
// Shapes: x (n, d), runs (grid.y) which run each block works for, centers (R, k, d), labels (R, n),
// pitch numbers from one run to the next, so that x may be a part of all samples;
// totals (R, k·d + k + 2): sums, counts, changed, inertia.
#include "apply_assignment.cuh"
#include "tile.cuh"

// A run is a row of the grid.
//
// A block reads 512 samples once for every 8 clusters, from the second-level cache but for the
// first time. Samples that change are read once more, a row by the lanes of a warp. kept: what the
// block has shared memory for (Private), else the differences are added where the totals are.
extern "C" __global__ void __launch_bounds__(THREADS, 3) lloyd_tiled(
    const real* __restrict__ x, int64 n, int d, int k, const int* __restrict__ runs,
    const real* __restrict__ centers, int* __restrict__ labels, int64 pitch, int64* totals,
    double inverse_scale, double inverse_inertia_scale, int kept) {
  extern __shared__ __align__(16) unsigned memory[];
  __shared__ Tile tile;
  const int run = runs[blockIdx.y];
  int64* row_of_run = totals + run * row_width(k, d);
  const Totals to_run = totals_of(row_of_run, k, d, inverse_scale, inverse_inertia_scale);
  const Private to = carve(memory, k, d, kept);
  clear(to, k);
  int changes = 0;
  int64 total = 0;
  for (int64 first = (int64)blockIdx.x * TILE; first < n; first += (int64)gridDim.x * TILE) {
    auto sample = [&](int s) { return first + s < n ? x + (first + s) * d : nullptr; };
    int label[SAMPLES];
    real lowest[SAMPLES];
    tile_nearest(tile, sample, centers + (int64)run * k * d, k, d, label, lowest);
#pragma unroll
    for (int i = 0; i < SAMPLES; ++i) {
      int64 row = first + threadIdx.x + i * THREADS;
      int before = label[i];  // so that a thread without a sample moves none
      if (row < n) {
        int* place = labels + run * pitch + row;
        before = *place;
        total += to_fixed((double)lowest[i], inverse_inertia_scale);
        if (before != label[i]) *place = label[i];
        changes += before != label[i];
      }
      move_samples(x, row, before, label[i], d, to, to_run);
    }
  }
  add_up(changes, total, to_run);
  __syncthreads();
  flush(to, to_run, k, d);
}

// Take labels (n) and squared distances (n) that were found elsewhere, for one run: an assignment
// that another kernel made, or one that was mended by hand. distances may be null.
//
// A thread reads two labels and a distance; samples that change are read by the lanes of a warp.
extern "C" __global__ void __launch_bounds__(THREADS, 8) lloyd_apply_assignment(
    const real* __restrict__ x, int64 n, int d, int k, int run, const int* __restrict__ found,
    const real* __restrict__ distances, int* __restrict__ labels, int64 pitch, int64* totals,
    double inverse_scale, double inverse_inertia_scale, int kept) {
  extern __shared__ __align__(16) unsigned memory[];
  int64* row_of_run = totals + run * row_width(k, d);
  const Totals to_run = totals_of(row_of_run, k, d, inverse_scale, inverse_inertia_scale);
  const Private to = carve(memory, k, d, kept);
  clear(to, k);
  __syncthreads();
  int changes = 0;
  int64 total = 0;
  for (int64 first = (int64)blockIdx.x * THREADS; first < n; first += (int64)gridDim.x * THREADS) {
    int64 row = first + threadIdx.x;
    int before = 0, after = 0;
    if (row < n) {
      int* place = labels + run * pitch + row;
      before = *place;
      after = found[row];
      if (distances != nullptr) total += to_fixed((double)distances[row], inverse_inertia_scale);
      if (before != after) *place = after;
      changes += before != after;
    }
    move_samples(x, row, before, after, d, to, to_run);
  }
  add_up(changes, total, to_run);
  __syncthreads();
  flush(to, to_run, k, d);
}
