// Each block turns 64 numbers around, which are copied asynchronously.
#include "async_copy.cuh"
extern "C" __global__ void missing_wait(const float* x, float* y, unsigned* counter, int n) {
  __shared__ float kept[64];
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
  async_copy<4>(&kept[t], &x[i]);
  async_commit();
#ifndef FAULT
  async_wait<0>();
#endif
  __syncthreads();
  y[i] = kept[63 - t];
}
