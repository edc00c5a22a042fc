// Rung 4: a whole pass of Lloyd's iteration in one kernel, for several runs over the same samples.
//
//     labels  l_i = argmin_j |x_i − c_j|²          sums  s_j = Σ_{l_i = j} x_i      n_j likewise
//     inertia Σ_i |x_i − c_{l_i}|²                 changed: how many labels are new
//
// What changed against rung 3 and an update that follows: labels and distances do not go to memory
// and back, and only samples whose label changed are added up. Why faster: a pass reads x and the
// old labels once. All sums are of whole numbers (fixed_point.cuh), so two runs of the program have
// equal bits, whatever order the blocks come in; counts are integers.
//
// Shapes: x (n, d), runs (grid.y …) which run each block works for, centers (R, k, d),
// labels (R, n), pitch numbers from one run to the next, so that x may be a part of all samples;
// sums (R, k, d), counts (R, k), changed (R), inertia (R).
#include "async_copy.cuh"
#include "apply_assignment.cuh"
#include "short.cuh"
#include "tile.cuh"

__device__ inline Totals totals_of(
    int run, int k, int d, int64* sums, int64* counts, int64* changed, int64* inertia,
    double inverse_scale, double inverse_inertia_scale) {
  return {sums + (int64)run * k * d,
          counts + (int64)run * k,
          changed + run,
          inertia + run,
          inverse_scale,
          inverse_inertia_scale};
}

#ifdef D
// Short samples: D features each, and -DK=… where the number of clusters is known as well.
//
// A block copies 128 rows of x to shared memory as they lie, and each thread takes one from there
// to its registers: memory is read side by side, which threads that read a row each would not do
// (their addresses are D numbers apart). The next rows are on their way while these are worked on.
// A sample in registers is compared with the centers of every run, so x is read once for all runs.
// A thread reads D numbers of x and a label a run, and writes the labels that changed.
constexpr int BLOCK = 128;

// What a block keeps of a run. In words of 4 bytes, each part of whole 16 bytes; the host asks for
// the sum of them (restarts.py).
struct RunState {
  real* centers;   // (k, ROW)
  Private to;      // sums (k, D) in two halves, counts (k)
  int64* inertia;  // (BLOCK): each thread's own
  int* changed;    // (BLOCK)
};

__device__ inline RunState state_of_run(unsigned* memory, int place, int k) {
  const int centers = k * ROW * (int)(sizeof(real) / 4), sums = (2 * k * D + 3) / 4 * 4;
  const int counts = (k + 3) / 4 * 4;
  memory += place * (centers + sums + counts + 3 * BLOCK);
  unsigned* halves = memory + centers;
  unsigned* own = halves + sums + counts;
  return {
      (real*)memory,
      {halves, halves + k * D, (int*)(halves + sums)},
      (int64*)own,
      (int*)(own + 2 * BLOCK)};
}

// Fetch up to 128 rows, `numbers` in all, 16 bytes at a time where they lie on such a border.
__device__ inline void fetch_rows(real* to, const real* from, int numbers) {
  constexpr int AT_ONCE = 16 / (int)sizeof(real);
  int whole = (size_t)from % 16 == 0 ? numbers / AT_ONCE * AT_ONCE : 0;
  for (int e = threadIdx.x * AT_ONCE; e < whole; e += BLOCK * AT_ONCE) {
    async_copy<16>(to + e, from + e);
  }
  for (int e = whole + threadIdx.x; e < numbers; e += BLOCK) {
    async_copy<(int)sizeof(real)>(to + e, from + e);
  }
  async_commit();
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) lloyd_short(
    const real* __restrict__ x, int64 n, int k, const int* __restrict__ runs, int run_count,
    int runs_a_block, const real* __restrict__ centers, int* __restrict__ labels, int64 pitch,
    int64* sums, int64* counts, int64* changed, int64* inertia, double inverse_scale,
    double inverse_inertia_scale) {
  extern __shared__ __align__(16) unsigned memory[];
  __shared__ __align__(16) real both[2][BLOCK * D];  // rows, and those that come next
#ifdef K
  constexpr int clusters = K;
#else
  const int clusters = k;
#endif
  const int first_run = blockIdx.y * runs_a_block;
  const int mine = min(runs_a_block, run_count - first_run);
  for (int r = 0; r < mine; ++r) {
    const RunState part = state_of_run(memory, r, clusters);
    const real* of_run = centers + (int64)runs[first_run + r] * clusters * D;
    for (int e = threadIdx.x; e < clusters * ROW; e += BLOCK) {
      int cluster = e / ROW, feature = e % ROW;
      part.centers[e] = feature < D ? of_run[cluster * D + feature] : (real)0;
    }
    clear(part.to, clusters, D);
    part.inertia[threadIdx.x] = 0;
    part.changed[threadIdx.x] = 0;
  }
  const int64 step = (int64)gridDim.x * BLOCK;
  auto fetch = [&](int64 first, int slot) {
    if (first < n) fetch_rows(both[slot], x + first * D, (int)min((int64)BLOCK, n - first) * D);
  };
  int slot = 0;
  fetch((int64)blockIdx.x * BLOCK, slot);
  for (int64 first = (int64)blockIdx.x * BLOCK; first < n; first += step, slot ^= 1) {
    async_wait<0>();
    __syncthreads();  // centers and rows are there for all, and the rows before have been read
    fetch(first + step, slot ^ 1);
    const real* rows = both[slot];
    int64 sample = first + threadIdx.x;
    if (sample >= n) continue;
    real value[D];
#pragma unroll
    for (int feature = 0; feature < D; ++feature) value[feature] = rows[threadIdx.x * D + feature];
    for (int r = 0; r < mine; ++r) {
      const RunState part = state_of_run(memory, r, clusters);
      real lowest;
      int label = nearest_short(value, part.centers, clusters, lowest);
      part.inertia[threadIdx.x] += to_fixed((double)lowest, inverse_inertia_scale);
      int* place = labels + runs[first_run + r] * pitch + sample;
      int before = *place;
      if (before != label) {
        *place = label;
        ++part.changed[threadIdx.x];
        move_short(rows + threadIdx.x * D, 1, before, label, part.to, inverse_scale);
      }
    }
  }
  __syncthreads();
  for (int r = 0; r < mine; ++r) {
    const RunState part = state_of_run(memory, r, clusters);
    const Totals totals = totals_of(
        runs[first_run + r], clusters, D, sums, counts, changed, inertia, inverse_scale,
        inverse_inertia_scale);
    add_up(part.changed[threadIdx.x], part.inertia[threadIdx.x], totals);
    flush(part.to, totals, clusters, D);
  }
}
#endif

// Any d and k, chosen at run time: register tiles (tile.cuh); a run is a row of the grid.
//
// A block reads 512 samples once for every 8 clusters, from the second-level cache but for the
// first time. Samples that change are read once more, a row by the lanes of a warp. is_private:
// whether the block has shared memory for the differences of its sums, else they are added where
// the totals are.
extern "C" __global__ void __launch_bounds__(THREADS, 3) lloyd_tiled(
    const real* __restrict__ x, int64 n, int d, int k, const int* __restrict__ runs,
    const real* __restrict__ centers, int* __restrict__ labels, int64 pitch, int64* sums,
    int64* counts, int64* changed, int64* inertia, double inverse_scale,
    double inverse_inertia_scale, int is_private) {
  extern __shared__ __align__(16) unsigned memory[];
  __shared__ Tile tile;
  const int run = runs[blockIdx.y];
  const Totals totals =
      totals_of(run, k, d, sums, counts, changed, inertia, inverse_scale, inverse_inertia_scale);
  const Private to = carve(memory, k, d, is_private);
  clear(to, k, d);
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
      move_samples(x, row, before, label[i], d, to, totals);
    }
  }
  add_up(changes, total, totals);
  __syncthreads();
  flush(to, totals, k, d);
}

// Take labels (n) and squared distances (n) that were found elsewhere, for one run: an assignment
// that another kernel made, or one that was mended by hand. distances may be null.
//
// A thread reads two labels and a distance; samples that change are read by the lanes of a warp.
extern "C" __global__ void __launch_bounds__(THREADS, 8) lloyd_apply_assignment(
    const real* __restrict__ x, int64 n, int d, int k, int run, const int* __restrict__ found,
    const real* __restrict__ distances, int* __restrict__ labels, int64 pitch, int64* sums,
    int64* counts, int64* changed, int64* inertia, double inverse_scale,
    double inverse_inertia_scale, int is_private) {
  extern __shared__ __align__(16) unsigned memory[];
  const Totals totals =
      totals_of(run, k, d, sums, counts, changed, inertia, inverse_scale, inverse_inertia_scale);
  const Private to = carve(memory, k, d, is_private);
  clear(to, k, d);
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
    move_samples(x, row, before, after, d, to, totals);
  }
  add_up(changes, total, totals);
  __syncthreads();
  flush(to, totals, k, d);
}
