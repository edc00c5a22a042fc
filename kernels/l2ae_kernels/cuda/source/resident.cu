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
// Shapes: R' = run_count runs of R. x (n, D), runs (R'), at_most (R'), centers (R, k, D) are read;
// labels (R, n) and totals (R, k·D + k + 2) are read and written. work is zero when the kernel
// starts: three tables (3, R', k·D + k + 2), then three counts of active runs and the barrier's, of
// 32 bits. results (R', …), a row a run, is all that the host reads: the totals, moved, done, the
// centers as float64 (k, D), the inertia after each iteration (most).
//
// A thread reads D numbers of shared memory a sample, k·D a run, and a label a run.
#ifdef D
#include "grid.cuh"
#include "apply_assignment.cuh"
#include "short.cuh"

// What a block keeps of a run; the host asks for this many bytes (resident.py).
struct State {
  double* size;       // (k) what the sums are divided by
  double* step;       // (k, D) by how much a center moved
  int64* sums;        // (k, D) of all samples
  int64* counts;      // (k)
  real* centers;      // (k, ROW)
  Private to;         // differences of this block
  int* active;        // whether it goes on
  int* done;          // iterations
  int* changed;       // labels, of this block
  unsigned* inertia;  // of this block, in two halves
  double* moved;      // Σ |c' − c|² of the last one
};

__device__ inline State state_of(unsigned* memory, int place, int k) {
  const int centers = k * ROW * (int)(sizeof(real) / 4), halves = (2 * k * SUM_ROW + 3) / 4 * 4;
  const int counts = (k + 3) / 4 * 4;
  const int words = 2 * (2 * k + 2 * k * D) + centers + halves + counts + 8;
  double* numbers = (double*)(memory + place * words);
  int64* whole = (int64*)(numbers + k + k * D);
  real* center = (real*)(whole + k * D + k);
  unsigned* low = (unsigned*)center + centers;
  unsigned* rest = low + halves + counts;
  const Private to = {low, low + k * SUM_ROW, (int*)(low + halves), SUM_ROW, 2};
  int* flags = (int*)rest;
  double* moved = (double*)(rest + 6);
  return {numbers, numbers + k, whole,     whole + k * D, center, to,
          flags,   flags + 1,   flags + 2, rest + 4,      moved};
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
    int run_count, const int* __restrict__ at_most, int most, const real* __restrict__ centers,
    int* labels, int64* totals, int64* work, int64* results, double shift, int spherical,
    double scale, double inverse_scale, double inverse_inertia_scale) {
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
  const int own =
      (int)max((int64)0, min((int64)slice, n - first));  // the last slices may have none
  const int cells = clusters * D, width = cells + clusters + 2;
  unsigned* active_runs = (unsigned*)(work + (int64)3 * run_count * width);
  unsigned* barrier = active_runs + 3;
  auto table_row = [&](int slot, int r) {
    return work + ((int64)slot * run_count + group + (int64)r * groups) * width;
  };
  auto result_row = [&](int r) {
    return results + (group + (int64)r * groups) * (width + 2 + cells + most);
  };
  if ((int64)slice * gridDim.x < n) {  // not the grid that was planned: samples would be left out
    for (int r = threadIdx.x; r < mine; r += blockDim.x) result_row(r)[width + 1] = -1;
    return;
  }

  for (int e = threadIdx.x; e < own * D; e += blockDim.x) {
    samples[e % D * slice + e / D] = x[first * D + e];
  }
  for (int r = 0; r < mine; ++r) {
    const State state = state_of(states, r, clusters);
    const int64 run = runs[group + r * groups];
    pad_centers(state.centers, centers + run * cells, clusters);
    const int64* before = totals + run * width;
    for (int e = threadIdx.x; e < cells; e += blockDim.x) state.sums[e] = before[e];
    for (int e = threadIdx.x; e < clusters; e += blockDim.x) state.counts[e] = before[cells + e];
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
      clear(state.to, clusters);
      if (threadIdx.x == 0) *state.changed = state.inertia[0] = state.inertia[1] = 0;
    }
    if (threadIdx.x == 0 && blockIdx.x == 0) atomicAdd(&active_runs[slot], (unsigned)active);
    __syncthreads();
    for (int r = 0; r < mine; ++r) {
      const State state = state_of(states, r, clusters);
      if (!*state.active) continue;
      int* of_run = labels + runs[group + r * groups] * n + first;
      int changes = 0;
      int64 total = 0;
      for (int s = threadIdx.x; s < own; s += blockDim.x) {
        const int before = of_run[s];
        real value[D];
#pragma unroll
        for (int feature = 0; feature < D; ++feature) value[feature] = samples[feature * slice + s];
        real lowest;
        const int label = nearest_short(value, state.centers, clusters, lowest);
        total += to_fixed((double)lowest, inverse_inertia_scale);
        if (before != label) {
          of_run[s] = label;
          ++changes;
          auto feature = [&](int f) { return samples[f * slice + s]; };
          move_short(feature, before, label, state.to, inverse_scale);
        }
      }
      changes = __reduce_add_sync(0xffffffffu, changes);
      total = warp_sum(total);
      if (threadIdx.x % 32 == 0) {
        atomicAdd(state.changed, changes);
        add_shared(&state.inertia[0], &state.inertia[1], total);
      }
    }
    __syncthreads();
    for (int r = 0; r < mine; ++r) {
      const State state = state_of(states, r, clusters);
      if (!*state.active) continue;
      const Totals to = totals_of(table_row(slot, r), clusters, D, 0, 0);
      flush(state.to, to, clusters, D);
      if (threadIdx.x == blockDim.x - 1) {  // its warp has the least to flush
        add_global(to.changed, *state.changed);
        add_global(to.inertia, join_halves(state.inertia[0], state.inertia[1]));
      }
    }
    if (blockIdx.x == 0) {  // the next table is not read or filled before the barrier
      for (int r = 0; r < mine; ++r) {
        int64* next = table_row((slot + 1) % 3, r);
        for (int e = threadIdx.x; e < width; e += blockDim.x) next[e] = 0;
      }
      if (threadIdx.x == 0 && group == 0) active_runs[(slot + 1) % 3] = 0;
    }
    grid_barrier(barrier);
    const unsigned going = fresh(&active_runs[slot]);
    for (int r = threadIdx.x / 32; r < mine; r += blockDim.x / 32) {  // a warp a run
      const State state = state_of(states, r, clusters);
      if (!*state.active) continue;
      const int64* row = table_row(slot, r);
      const int lane = threadIdx.x % 32;
      const int64 changes = fresh(row + cells + clusters);
      const int64 inertia = fresh(row + cells + clusters + 1);
      for (int e = lane; e < cells; e += 32) state.sums[e] += fresh(row + e);
      int empty = 0;
      for (int e = lane; e < clusters; e += 32) {
        state.counts[e] += fresh(row + cells + e);
        empty |= state.counts[e] == 0;
      }
      empty = __any_sync(0xffffffffu, empty);
      if (lane == 0) {
        if (blockIdx.x == 0) {
          int64* result = result_row(r);
          result[cells + clusters] = changes;
          result[cells + clusters + 1] = inertia;
          result[width] = __double_as_longlong(*state.moved);
          result[width + 2 + cells + *state.done] = inertia;
        }
        ++*state.done;
        *state.active = changes != 0 && *state.moved > shift && !empty &&
                        *state.done < at_most[group + r * groups];
      }
    }
    __syncthreads();
    if (going == 0) break;
  }
  if (blockIdx.x != 0) return;
  for (int r = 0; r < mine; ++r) {
    const State state = state_of(states, r, clusters);
    int64 *after = totals + runs[group + r * groups] * (int64)width, *result = result_row(r);
    for (int e = threadIdx.x; e < cells; e += blockDim.x) {
      after[e] = result[e] = state.sums[e];
      double center = (double)state.centers[e / D * ROW + e % D];
      result[width + 2 + e] = __double_as_longlong(center);
    }
    for (int e = threadIdx.x; e < clusters; e += blockDim.x) {
      after[cells + e] = result[cells + e] = state.counts[e];
    }
    if (threadIdx.x == 0) result[width + 1] = *state.done;
  }
}
#endif
