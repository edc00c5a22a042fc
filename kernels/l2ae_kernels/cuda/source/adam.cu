// Adam over all parameters at once, and the count of its steps.

#include "network.cuh"

// Step t begins: state = {t, β₁ᵗ, β₂ᵗ} goes on by one step, and numbers = {rate, root} become those
// of adam_step.
//
//   "keras": rate = η √(1 − β₂ᵗ) / (1 − β₁ᵗ), root = 1
//   "torch": rate = η / (1 − β₁ᵗ), root = √(1 − β₂ᵗ)
//
// The powers are running products: no pow, and a launch that was captured in a graph counts with
// every replay. One thread reads three numbers and writes five.
extern "C" __global__ void begin_step(
    double* state, real* numbers, double learning_rate, double beta1, double beta2, int keras) {
  const double power1 = state[1] * beta1, power2 = state[2] * beta2;
  state[0] += 1;
  state[1] = power1;
  state[2] = power2;
  const double rate = learning_rate / (1 - power1), root = sqrt(1 - power2);
  numbers[0] = (real)(keras ? rate * root : rate);
  numbers[1] = (real)(keras ? 1 : root);
}

// One step of Adam on p and its moments m, v in place, for the gradient g.
//
//   m ← β₁ m + (1 − β₁) g      v ← β₂ v + (1 − β₂) g²      p ← p − rate · m / (√v / root + ε)
//
// numbers = {rate, root} change with the step, so they come from device memory, and are the same
// for all models.
//
// The parameters of all layers, and of all models, lie in one array: one launch a step instead of
// one for each of 16 arrays, most of which are too small to fill the machine. Segments are its named
// arrays, each (models, elements): {where it begins, elements}; null is one that is all of it.
// grid (blocks, segments, models). A model whose loss is not finite is left as it is, since so are
// its gradients. Null losses skip none.
// Each thread reads four numbers and writes three, threads side by side; nothing is read twice.
extern "C" __global__ void adam_step(
    real* p, real* m, real* v, const real* g, const int64* segments, int64 elements,
    const real* numbers, real beta1, real rest1, real beta2, real rest2, real eps,
    const double* losses) {
  if (losses && !isfinite(losses[blockIdx.z])) return;
  const real rate = numbers[0], root = numbers[1];
  const int64 begin = segments ? segments[2 * blockIdx.y] : 0;
  const int64 count = segments ? segments[2 * blockIdx.y + 1] : elements;
  const int64 first = begin + (int64)blockIdx.z * count, end = first + count;
  const int64 threads = (int64)gridDim.x * blockDim.x;
  for (int64 i = first + (int64)blockIdx.x * blockDim.x + threadIdx.x; i < end; i += threads) {
    const real gradient = g[i];
    const real mean = beta1 * m[i] + rest1 * gradient;
    const real square = beta2 * v[i] + rest2 * (gradient * gradient);
    m[i] = mean;
    v[i] = square;
    p[i] -= rate * (mean / (sqrt(square) / root + eps));
  }
}
