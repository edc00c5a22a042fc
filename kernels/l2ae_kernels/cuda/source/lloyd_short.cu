// Rung 4 for short samples: a whole pass of Lloyd's iteration in one kernel, for several runs.
//
//     labels  l_i = argmin_j |x_i − c_j|²          sums  s_j = Σ_{l_i = j} x_i      n_j likewise
//     inertia Σ_i |x_i − c_{l_i}|²                 changed: how many labels are new
//
// What changed against rung 3 and an update that follows: labels and distances do not go to memory
// and back, and only samples whose label changed are added up. Why faster: a pass reads x and the
// old labels once. All sums are of whole numbers (fixed_point.cuh), so two runs of the program have
// equal bits, whatever order the blocks come in; counts are integers.
//
// Samples have D features each; -DK=… where the number of clusters is known as well, -DONE_RUN where
// there is one run: then what each thread counts lies in registers, and all addresses are known
// before the loop. A sample in registers is compared with the centers of every run, so x is read
// once for all runs. A thread reads D numbers of x and a label a run, and writes the labels that
// changed.
//
// Shapes: x (n, D), runs (grid.y …) which run each block works for, centers (R, k, D),
// labels (R, n), pitch numbers from one run to the next, so that x may be a part of all samples;
// totals (R, k·D + k + 2): sums, counts, changed, inertia.
#include "rows.cuh"
#include "short.cuh"

// What a block keeps of a run. In words of 4 bytes, each part of whole 16 bytes; the host asks for
// the sum of them (shapes.py).
struct RunState {
  real* centers;   // (k, ROW)
  Private to;      // sums (k, SUM_ROW) in two halves, counts (k)
  int64* inertia;  // (BLOCK): each thread's own
  int* changed;    // (BLOCK)
};

__device__ inline RunState state_of_run(unsigned* memory, int place, int k) {
  const int centers = k * ROW * (int)(sizeof(real) / 4), sums = (2 * k * SUM_ROW + 3) / 4 * 4;
  const int counts = (k + 3) / 4 * 4;
  memory += place * (centers + sums + counts + 3 * BLOCK);
  unsigned* halves = memory + centers;
  unsigned* own = halves + sums + counts;
  return {
      (real*)memory,
      {halves, halves + k * SUM_ROW, (int*)(halves + sums), SUM_ROW, 2},
      (int64*)own,
      (int*)(own + 2 * BLOCK)};
}

extern "C" __global__ void __launch_bounds__(BLOCK, sizeof(real) * D < 64 ? 8 : 6) lloyd_short(
    const real* __restrict__ x, int64 n, int k, const int* __restrict__ runs, int run_count,
    int runs_a_block, const real* __restrict__ centers, int* __restrict__ labels, int64 pitch,
    int64* totals, double inverse_scale, double inverse_inertia_scale) {
  extern __shared__ __align__(16) unsigned memory[];  // slots (SLOTS, BLOCK, D), then the runs
#ifdef K
  constexpr int clusters = K;
#else
  const int clusters = k;
#endif
#ifdef ONE_RUN
  constexpr int first_run = 0, mine = 1;
#else
  const int first_run = blockIdx.y * runs_a_block;
  const int mine = min(runs_a_block, run_count - first_run);
#endif
  unsigned* states = memory + SLOTS * SLOT_WORDS;
  for (int r = 0; r < mine; ++r) {
    const RunState state = state_of_run(states, r, clusters);
    pad_centers(state.centers, centers + (int64)runs[first_run + r] * clusters * D, clusters);
    clear(state.to, clusters);
    state.inertia[threadIdx.x] = 0;
    state.changed[threadIdx.x] = 0;
  }
  int64 inertia_of_one = 0;
  int changed_of_one = 0;
  for_each_row(x, n, (real*)memory, [&](int64 sample, const real* row, unsigned turned) {
    real value[D];
    load_row(row, turned, value);
    for (int r = 0; r < mine; ++r) {
      const RunState state = state_of_run(states, r, clusters);
      int* place = labels + runs[first_run + r] * pitch + sample;
      const int before = *place;
      real lowest;
      const int label = nearest_short(value, state.centers, clusters, lowest);
      const int64 fixed = to_fixed((double)lowest, inverse_inertia_scale);
#ifdef ONE_RUN
      inertia_of_one += fixed;
      changed_of_one += before != label;
#else
      state.inertia[threadIdx.x] += fixed;
      if (before != label) ++state.changed[threadIdx.x];
#endif
      if (before != label) {
        *place = label;
        auto feature = [&](int f) { return row[place_in_row(f, turned)]; };
        move_short(feature, before, label, state.to, inverse_scale);
      }
    }
  });
  __syncthreads();
  for (int r = 0; r < mine; ++r) {
    const RunState state = state_of_run(states, r, clusters);
    int64* row = totals + runs[first_run + r] * row_width(clusters, D);
    const Totals to = totals_of(row, clusters, D, inverse_scale, inverse_inertia_scale);
    add_up(
        changed_of_one + state.changed[threadIdx.x], inertia_of_one + state.inertia[threadIdx.x],
        to);
    flush(state.to, to, clusters, D);
  }
}
