// Rung 5: Lloyd's iteration to its end in one kernel, with the samples in shared memory.
//
// What changed against rung 4: a block keeps its slice of the samples on the chip, and so do all
// others, at the same time. An iteration reads no sample from memory, nothing returns to the host
// in between, and one barrier of the grid is all that an iteration waits for. Why faster: at
// 70,000 × 10 a pass over the samples takes less time than a launch.
//
//     repeat  centers = sums / counts            each block for itself, all alike
//             labels and differences of the sums of the block's own samples
//             add the differences to a table that all blocks share
//             barrier
//             sums += table                      each block for itself, all alike
//
// One barrier is enough because there are three tables: while one is filled, the one before may
// still be read, and the one after is cleared. Sums are whole numbers (fixed_point.cuh), so all
// blocks hold the same bits and come to the same decision without any further exchange.
//
// Runs are rows of the grid: block (slice, group) works for the runs group, group + gridDim.y, …
// and holds the state of all of them. A run ends when no label changed, when its centers moved by
// at most `shift` in all, after at_most iterations, or when a cluster is empty, which the host
// moves. The kernel ends when all runs did.
//
// Shapes: R' = run_count runs of R. x (n, D), runs (R'), at_most (R'), centers (R, k, D),
// labels (R, n), sums (R, k, D), counts (R, k), changed (R), inertia (R), moved (R): all are read
// and written. table (3, R', k·D + k + 2) and active_runs (3) are zero, history (R', most), done (R').
//
// A thread reads D numbers of shared memory a sample, k·D a run, and a label a run.
#ifdef D
#include "grid.cuh"
#include "apply_assignment.cuh"
#include "short.cuh"

// What a block keeps of a run; the host asks for this many bytes (resident.py).
struct State {
  double* size;   // (k) what the sums are divided by
  double* step;   // (k, D) by how much a center moved
  int64* sums;    // (k, D) of all samples
  int64* counts;  // (k)
  real* centers;  // (k, ROW)
  Private to;     // differences of this block
  int* active;    // whether it goes on
  int* done;      // iterations
  double* moved;  // Σ |c' − c|² of the last one
};

__device__ inline State state_of(unsigned* memory, int place, int k) {
  const int centers = k * ROW * (int)(sizeof(real) / 4), halves = (2 * k * D + 3) / 4 * 4;
  const int counts = (k + 3) / 4 * 4;
  const int words = 2 * (2 * k + 2 * k * D) + centers + halves + counts + 4;
  double* numbers = (double*)(memory + place * words);
  int64* whole = (int64*)(numbers + k + k * D);
  real* center = (real*)(whole + k * D + k);
  unsigned* low = (unsigned*)center + centers;
  unsigned* rest = low + halves + counts;
  const Private to = {low, low + k * D, (int*)(low + halves)};
  int* flags = (int*)rest;
  double* moved = (double*)(rest + 2);
  return {numbers, numbers + k, whole, whole + k * D, center, to, flags, flags + 1, moved};
}

__device__ inline int64 fresh(const int64* place) {  // not from the first-level cache
  return *(const volatile int64*)place;
}

// Move the centers of every active run to the means of their sums.
//
// A cluster without samples keeps its center. Spherical: means are brought to unit length.
__device__ inline void move_centers(
    unsigned* memory, int mine, int k, double scale, int spherical) {
  for (int e = threadIdx.x; e < mine * k; e += blockDim.x) {
    const State state = state_of(memory, e / k, k);
    int cluster = e % k;
    double size = (double)state.counts[cluster];
    if (spherical) {
      double squares = 0;
      for (int feature = 0; feature < D; ++feature) {
        double sum = (double)state.sums[cluster * D + feature] * scale;
        squares += sum * sum;
      }
      size = sqrt(squares);
    }
    state.size[cluster] = size;
  }
  __syncthreads();
  for (int e = threadIdx.x; e < mine * k * D; e += blockDim.x) {
    const State state = state_of(memory, e / (k * D), k);
    if (!*state.active) continue;
    int place = e % (k * D), cluster = place / D;
    real& center = state.centers[cluster * ROW + place % D];
    real before = center;
    double size = state.size[cluster];
    if (size > 0) center = (real)((double)state.sums[place] * scale / size);
    state.step[place] = (double)(center - before);
  }
  __syncthreads();
  // A warp a run, in fixed order.
  for (int r = threadIdx.x / 32; r < mine; r += blockDim.x / 32) {
    const State state = state_of(memory, r, k);
    if (!*state.active) continue;
    double moved = 0;
    for (int e = threadIdx.x % 32; e < k * D; e += 32) moved += state.step[e] * state.step[e];
    for (int reach = 16; reach > 0; reach /= 2) {
      moved += __shfl_down_sync(0xffffffffu, moved, reach);
    }
    if (threadIdx.x % 32 == 0) *state.moved = moved;
  }
}

extern "C" __global__ void __launch_bounds__(512, 1) lloyd_resident(
    const real* __restrict__ x, int64 n, int k, int slice, const int* __restrict__ runs,
    int run_count, const int* __restrict__ at_most, int most, real* centers, int* labels,
    int64* sums, int64* counts, int64* changed, int64* inertia, double* moved, int64* table,
    unsigned* active_runs, int64* history, int* done, unsigned* barrier, double shift,
    int spherical, double scale, double inverse_scale, double inverse_inertia_scale) {
  extern __shared__ __align__(16) unsigned memory[];
#ifdef K
  constexpr int clusters = K;
#else
  const int clusters = k;
#endif
  real* samples = (real*)memory;  // (D, slice)
  unsigned* states = memory + (D * slice * (int)(sizeof(real) / 4) + 3) / 4 * 4;
  const int group = blockIdx.y, groups = gridDim.y;
  const int mine = (run_count - group + groups - 1) / groups;
  const int64 first = (int64)blockIdx.x * slice;
  const int own = (int)min((int64)slice, n - first);  // the last slices may have none
  const int cells = clusters * D, width = cells + clusters + 2;
  auto row_of = [&](int slot, int r) {
    return table + ((int64)slot * run_count + group + (int64)r * groups) * width;
  };

  for (int e = threadIdx.x; e < own * D; e += blockDim.x) {
    samples[e % D * slice + e / D] = x[first * D + e];
  }
  for (int r = 0; r < mine; ++r) {
    const State state = state_of(states, r, clusters);
    const int64 run = runs[group + r * groups];
    for (int e = threadIdx.x; e < clusters * ROW; e += blockDim.x) {
      int feature = e % ROW;
      const real* center = centers + (run * clusters + e / ROW) * D;
      state.centers[e] = feature < D ? center[feature] : (real)0;
    }
    for (int e = threadIdx.x; e < cells; e += blockDim.x) state.sums[e] = sums[run * cells + e];
    for (int e = threadIdx.x; e < clusters; e += blockDim.x) {
      state.counts[e] = counts[run * clusters + e];
    }
    if (threadIdx.x == 0) {
      *state.active = at_most[group + r * groups] > 0;
      *state.done = 0;
    }
  }
  __syncthreads();

  for (int slot = 0;; slot = (slot + 1) % 3) {
    move_centers(states, mine, clusters, scale, spherical);
    int active = 0;
    for (int r = 0; r < mine; ++r) {
      const State state = state_of(states, r, clusters);
      if (!*state.active) continue;
      ++active;
      clear(state.to, clusters, D);
    }
    if (threadIdx.x == 0 && blockIdx.x == 0) atomicAdd(&active_runs[slot], (unsigned)active);
    __syncthreads();
    for (int r = 0; r < mine; ++r) {
      const State state = state_of(states, r, clusters);
      if (!*state.active) continue;
      const int64 run = runs[group + r * groups];
      int changes = 0;
      int64 total = 0;
      for (int s = threadIdx.x; s < own; s += blockDim.x) {
        int* place = labels + run * n + first + s;
        int before = *place;
        real value[D];
#pragma unroll
        for (int feature = 0; feature < D; ++feature) value[feature] = samples[feature * slice + s];
        real lowest;
        int label = nearest_short(value, state.centers, clusters, lowest);
        total += to_fixed((double)lowest, inverse_inertia_scale);
        if (before != label) {
          *place = label;
          ++changes;
          move_short(samples + s, slice, before, label, state.to, inverse_scale);
        }
      }
      int64* row = row_of(slot, r);
      changes = (int)warp_sum((int64)changes);
      total = warp_sum(total);
      if (threadIdx.x % 32 == 0) {
        add_global(row + cells + clusters, (int64)changes);
        add_global(row + cells + clusters + 1, total);
      }
    }
    __syncthreads();
    for (int r = 0; r < mine; ++r) {
      const State state = state_of(states, r, clusters);
      if (!*state.active) continue;
      int64* row = row_of(slot, r);
      flush(state.to, {row, row + cells, nullptr, nullptr, 0, 0}, clusters, D);
    }
    if (blockIdx.x == 0) {  // the next table is not read or filled before the barrier
      for (int r = 0; r < mine; ++r) {
        int64* next = row_of((slot + 1) % 3, r);
        for (int e = threadIdx.x; e < width; e += blockDim.x) next[e] = 0;
      }
      if (threadIdx.x == 0 && group == 0) active_runs[(slot + 1) % 3] = 0;
    }
    grid_barrier(barrier);
    if (*(volatile unsigned*)&active_runs[slot] == 0) break;
    for (int r = threadIdx.x / 32; r < mine; r += blockDim.x / 32) {  // a warp a run
      const State state = state_of(states, r, clusters);
      if (!*state.active) continue;
      const int64* row = row_of(slot, r);
      const int place = group + r * groups, lane = threadIdx.x % 32;
      for (int e = lane; e < cells; e += 32) state.sums[e] += fresh(row + e);
      int empty = 0;
      for (int e = lane; e < clusters; e += 32) {
        state.counts[e] += fresh(row + cells + e);
        empty |= state.counts[e] == 0;
      }
      empty = __any_sync(0xffffffffu, empty);
      const int64 changes = fresh(row + cells + clusters);
      if (lane == 0) {
        if (blockIdx.x == 0) {
          history[(int64)place * most + *state.done] = fresh(row + cells + clusters + 1);
          changed[runs[place]] = changes;
          inertia[runs[place]] = fresh(row + cells + clusters + 1);
          moved[runs[place]] = *state.moved;
        }
        ++*state.done;
        *state.active =
            changes != 0 && *state.moved > shift && !empty && *state.done < at_most[place];
      }
    }
    __syncthreads();
  }
  if (blockIdx.x != 0) return;
  for (int r = 0; r < mine; ++r) {
    const State state = state_of(states, r, clusters);
    const int place = group + r * groups;
    const int64 run = runs[place];
    for (int e = threadIdx.x; e < cells; e += blockDim.x) {
      sums[run * cells + e] = state.sums[e];
      centers[run * cells + e] = state.centers[e / D * ROW + e % D];
    }
    for (int e = threadIdx.x; e < clusters; e += blockDim.x) {
      counts[run * clusters + e] = state.counts[e];
    }
    if (threadIdx.x == 0) done[place] = *state.done;
  }
}
#endif
