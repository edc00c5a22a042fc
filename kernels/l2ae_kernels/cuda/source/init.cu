// Rung 6: greedy k-means++ on the device, from numbers that the host has drawn.
//
// For each further center of a run, three small kernels are queued one after the other, for all
// runs at once; the host waits for none of them:
//
//     init_min_sq_distances  Σ_i min(D²_i, |x_i − candidate|²) for each candidate, its potential
//     init_choose            the candidate that leaves the least becomes the center
//     init_min_sq_distances  D²_i is lowered to it
//     init_draw              the next candidates: sample i with probability D²_i / Σ D²
//
// What changed against the start on the host: D² never leaves the device, and a draw does not wait
// for a copy of it. Sums are float64 and added in a fixed order: threads of a block by halves,
// blocks one after the other. Rounding differs from the host's sums, so a draw differs only if it
// falls within rounding of the edge between two samples.
#include "tile.cuh"

// potentials (R, m, blocks) of m candidates, in sums over 512 samples each.
//
// candidates (R, m, d); or, with rows (R, m), they are samples of x. nearest (R, n) changes only if
// keep, and to what the first candidate leaves. A thread reads 4 samples for every 8 candidates.
extern "C" __global__ void __launch_bounds__(THREADS) init_min_sq_distances(
    const real* __restrict__ x, int64 n, int d, int m, const real* __restrict__ candidates,
    const int64* __restrict__ rows, real* __restrict__ nearest, double* __restrict__ potentials,
    int keep) {
  __shared__ Tile tile;
  __shared__ double of_warp[THREADS / 32][CLUSTERS];
  const int64 first = (int64)blockIdx.x * TILE;
  const int64 run = blockIdx.y;
  auto sample = [&](int s) { return first + s < n ? x + (first + s) * d : nullptr; };
  for (int from = 0; from < m; from += CLUSTERS) {
    int count = min(CLUSTERS, m - from);
    auto candidate = [&](int j) {
      int64 place = run * m + from + j;
      return rows == nullptr ? candidates + place * d : x + rows[place] * d;
    };
    real distance[SAMPLES][CLUSTERS];
    tile_distances(tile, sample, candidate, count, d, distance);
    double sum[CLUSTERS] = {};
#pragma unroll
    for (int i = 0; i < SAMPLES; ++i) {
      int64 row = first + threadIdx.x + i * THREADS;
      if (row >= n) continue;
      real before = nearest[run * n + row];
#pragma unroll
      for (int j = 0; j < CLUSTERS; ++j) {
        sum[j] += (double)(distance[i][j] < before ? distance[i][j] : before);
      }
      if (keep && from == 0 && distance[i][0] < before) {
        nearest[run * n + row] = distance[i][0];
      }
    }
    __syncthreads();  // the sums of the candidates before have been read
#pragma unroll
    for (int j = 0; j < CLUSTERS; ++j) {
      for (int reach = 16; reach > 0; reach /= 2) {
        sum[j] += __shfl_down_sync(0xffffffffu, sum[j], reach);
      }
      if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32][j] = sum[j];
    }
    __syncthreads();
    if ((int)threadIdx.x < count) {
      double total = 0;
      for (int warp = 0; warp < THREADS / 32; ++warp) total += of_warp[warp][threadIdx.x];
      potentials[(run * m + from + threadIdx.x) * gridDim.x + blockIdx.x] = total;
    }
  }
}

// A sum over a row by the lanes of a warp: each takes a stretch of it, then the lanes are scanned.
// Returns the sum up to and with the lane's stretch; `own` is that of the stretch.
template <class Value>
__device__ double stretch_sums(Value value, int64 count, double& own) {
  int lane = threadIdx.x % 32;
  int64 stretch = (count + 31) / 32;
  own = 0;
  for (int64 i = lane * stretch; i < min(count, (lane + 1) * stretch); ++i) own += value(i);
  double up_to = own;
  for (int reach = 1; reach < 32; reach *= 2) {
    double from_below = __shfl_up_sync(0xffffffffu, up_to, reach);
    if (lane >= reach) up_to += from_below;
  }
  return up_to;
}

// The center number j of each run: the candidate of rows (R, m) that leaves the least; equal ones
// take the first. One warp a run. potentials (R, m, blocks); chosen (R); centers (R, k, d).
extern "C" __global__ void __launch_bounds__(32) init_choose(
    const real* __restrict__ x, int d, int k, int j, int m, const double* __restrict__ potentials,
    int64 blocks, const int64* __restrict__ rows, int64* __restrict__ chosen,
    real* __restrict__ centers) {
  const int64 run = blockIdx.x;
  int best = 0;
  double least = 0;
  for (int candidate = 0; candidate < m; ++candidate) {
    const double* sums = potentials + (run * m + candidate) * blocks;
    double own;
    double total = stretch_sums([&](int64 i) { return sums[i]; }, blocks, own);
    total = __shfl_sync(0xffffffffu, total, 31);
    if (candidate == 0 || total < least) {
      least = total;
      best = candidate;
    }
  }
  int64 row = rows[run * m + best];
  if (threadIdx.x == 0) chosen[run] = row;
  for (int feature = threadIdx.x; feature < d; feature += 32) {
    centers[(run * k + j) * d + feature] = x[row * d + feature];
  }
}

// Where a target lies among values that are laid end to end; never in one that is 0, and in the
// last that is not 0 where rounding took the target past the end. All lanes get the answer, and the
// sum in front of it.
template <class Value>
__device__ int64 find_target(Value value, int64 count, double target, double& in_front) {
  int lane = threadIdx.x % 32;
  int64 stretch = (count + 31) / 32;
  double own;
  double up_to = stretch_sums(value, count, own);
  unsigned past = __ballot_sync(0xffffffffu, up_to > target && own > 0);
  unsigned filled = __ballot_sync(0xffffffffu, own > 0);
  int finder = past != 0 ? __ffs((int)past) - 1 : 31 - __clz((int)filled);
  double below = __shfl_up_sync(0xffffffffu, up_to, 1);
  double running = lane == 0 ? 0.0 : below;
  double front = running;
  int64 found = 0;
  if (lane == finder) {
    for (int64 i = lane * stretch; i < min(count, (lane + 1) * stretch); ++i) {
      double v = value(i);
      if (v > 0) {
        found = i;
        front = running;
      }
      running += v;
      if (v > 0 && running > target) break;
    }
  }
  in_front = __shfl_sync(0xffffffffu, front, finder);
  return __shfl_sync(0xffffffffu, found, finder);
}

// The next candidates of each run: rows (R, m) from draws (R, m) in [0, 1).
//
// potentials (R, blocks) are the sums of nearest (R, n) over 512 samples each. stuck (R) becomes j
// where it is −1 and no sample has a distance: then nothing can be drawn, and the host goes on. A
// warp a draw; it reads the sums of all blocks and one block of nearest.
extern "C" __global__ void __launch_bounds__(32) init_draw(
    int64 n, int j, int m, const double* __restrict__ draws, const double* __restrict__ potentials,
    int64 blocks, const real* __restrict__ nearest, int64* __restrict__ rows,
    int* __restrict__ stuck) {
  const int64 run = blockIdx.y;
  const int64 place = run * m + blockIdx.x;
  const double* sums = potentials + run * blocks;
  auto of_block = [&](int64 i) { return sums[i]; };
  double own;
  double total = __shfl_sync(0xffffffffu, stretch_sums(of_block, blocks, own), 31);
  if (total <= 0) {
    if (threadIdx.x == 0) rows[place] = 0;
    if (threadIdx.x == 0 && blockIdx.x == 0 && stuck[run] < 0) stuck[run] = j;
    return;
  }
  double target = draws[place] * total, in_front;
  int64 block = find_target(of_block, blocks, target, in_front);
  const real* weights = nearest + run * n + block * TILE;
  auto weight = [&](int64 i) { return (double)weights[i]; };
  int64 inside = min((int64)TILE, n - block * TILE);
  int64 row = block * TILE + find_target(weight, inside, target - in_front, in_front);
  if (threadIdx.x == 0) rows[place] = row;
}
