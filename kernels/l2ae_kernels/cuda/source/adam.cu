// Adam over all parameters at once.

#include "network.cuh"

// One step of Adam on p and its moments m, v in place, for the gradient g.
//
//   m ← β₁ m + (1 − β₁) g      v ← β₂ v + (1 − β₂) g²      p ← p − rate · m / (√v / root + ε)
//
// "keras": rate = η √(1 − β₂ᵗ) / (1 − β₁ᵗ), root = 1
// "torch": rate = η / (1 − β₁ᵗ), root = √(1 − β₂ᵗ)
//
// numbers = {rate, root} change with the step, so they come from device memory: a launch that was
// captured in a graph finds the new ones there.
//
// The parameters of all layers, and of all models, lie in one array: one launch a step instead of
// one for each of 16 arrays, most of which are too small to fill the machine. Each thread reads
// four numbers and writes three, threads side by side; nothing is read twice.
extern "C" __global__ void adam_step(
    real* p, real* m, real* v, const real* g, int64 elements, const real* numbers, real beta1,
    real rest1, real beta2, real rest2, real eps) {
  const real rate = numbers[0], root = numbers[1];
  const int64 threads = (int64)gridDim.x * blockDim.x;
  for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x; i < elements; i += threads) {
    const real gradient = g[i];
    const real mean = beta1 * m[i] + rest1 * gradient;
    const real square = beta2 * v[i] + rest2 * (gradient * gradient);
    m[i] = mean;
    v[i] = square;
    p[i] -= rate * (mean / (sqrt(square) / root + eps));
  }
}
