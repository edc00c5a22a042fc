// Rung 3 for short samples: D features each, known to the compiler: -DD=10.
//
//     label = argmin_cluster Σ_feature (x[sample][feature] − c[cluster][feature])²
//
// What changed against rung 2: a sample lies in registers, indexed by constants, so its features
// are read once for all clusters; centers are padded to whole 16 bytes, so a thread reads 4 numbers
// of one at a time. Why faster: 25 reads of shared memory for 200 arithmetic instructions at
// D = K = 10, where rung 2 has 200 for 200.
//
// A thread reads D numbers of x, through shared memory (rows.cuh), and k·D of shared memory, and
// writes a label and a distance. x (n, D), centers (k, D), labels (n), nearest (n): squared distances.
#include "rows.cuh"
#include "short.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK, sizeof(real) * D <= 48 ? 10 : 8) assign_short(
    const real* __restrict__ x, const real* __restrict__ centers, int64 n, int k,
    int* __restrict__ labels, real* __restrict__ nearest) {
  extern __shared__ __align__(16) unsigned memory[];  // slots (SLOTS, BLOCK, D), centers (k, ROW)
#ifdef K
  constexpr int clusters = K;
#else
  const int clusters = k;
#endif
  real* center_rows = (real*)(memory + SLOTS * SLOT_WORDS);
  pad_centers(center_rows, centers, clusters);
  for_each_row(x, n, (real*)memory, [&](int64 sample, const real* row, unsigned turned) {
    real value[D], lowest;
    load_row(row, turned, value);
    const int label = nearest_short(value, center_rows, clusters, lowest);
    labels[sample] = label;
    nearest[sample] = lowest;
  });
}
