// Each block copies its numbers, then reads the next block's: y[n + i] = y[i + 64].
#include "grid.cuh"
extern "C" __global__ void missing_grid_barrier(
    const float* x, float* y, unsigned* counter, int n) {
  int i = blockIdx.x * 64 + threadIdx.x;
  y[i] = x[i];
#ifndef FAULT
  grid_barrier(counter);  // all blocks have written
#endif
  y[n + i] = y[(i + 64) % n];
}
