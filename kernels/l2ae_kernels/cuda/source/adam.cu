// Adam over all parameters at once.

#include "gradients.cuh"

// One step of Adam on p and its moments m, v in place, for the gradient g.
//
//   m ← β₁ m + (1 − β₁) g      v ← β₂ v + (1 − β₂) g²      p ← p − rate · m / (√v / root + ε)
//
// numbers = {rate, root} change with the step, so they come from device memory.
//
// The parameters of all layers, and of all models, lie in one array: one launch a step instead of
// one for each of 16 arrays, most of which are too small to fill the machine. The same launch adds
// the parts of their gradients, which are then never written. Segments are the named arrays; `tiles`
// says what of them each block has. Null is one array (models, elements), its gradient in one part.
// grid (tiles, 1, models). A model whose loss is not finite is left as it is, since so are
// its gradients. Null losses skip none.
// Each thread reads three numbers and the parts of one, and writes three, threads side by side;
// nothing is read twice.
extern "C" __global__ void __launch_bounds__(PART_THREADS) adam_step(
    real* p, real* m, real* v, const real* parts, const int64* segments, const int* tiles,
    int64 elements, const real* numbers, int64 numbers_models, real beta1, real rest1, real beta2,
    real rest2, real eps, const double* losses) {
  const int64 model = blockIdx.z;
  if (losses && !isfinite(losses[model])) return;
  numbers += model * numbers_models;
  const real rate = numbers[0], root = numbers[1];
  Segment segment = {0, 0, elements, 1};
  int64 first = (int64)blockIdx.x * PART_THREADS;
  if (segments) {
    const SegmentTile tile = reinterpret_cast<const SegmentTile*>(tiles)[blockIdx.x];
    segment = reinterpret_cast<const Segment*>(segments)[tile.segment];
    first = tile.first;
  }
  const PartSum gradient = sum_of_parts(parts, segment, first, gridDim.z, model);
  if (gradient.index < 0) return;
  const int64 i = segment.begin + model * segment.elements + gradient.index;
  const real g = gradient.sum;
  const real mean = beta1 * m[i] + rest1 * g;
  const real square = beta2 * v[i] + rest2 * (g * g);
  m[i] = mean;
  v[i] = square;
  p[i] -= rate * (mean / (sqrt(square) / root + eps));
}
