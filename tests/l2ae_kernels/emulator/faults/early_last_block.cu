// The sum of all numbers by the last block to come; with the fault every block takes itself for it.
#include "last_block.cuh"
extern "C" __global__ void early_last_block(const float* x, float* y, unsigned* counter, int n) {
  if (threadIdx.x == 0) {
    float sum = 0.0f;
    for (int i = 0; i < 64; ++i) sum += x[blockIdx.x * 64 + i];
    y[1 + blockIdx.x] = sum;
  }
#ifdef FAULT
  arrives_last(counter, gridDim.x);
#else
  if (!arrives_last(counter, gridDim.x)) return;
#endif
  if (threadIdx.x != 0) return;
  float sum = 0.0f;
  for (int block = 0; block < int(gridDim.x); ++block) sum += y[1 + block];
  y[0] = sum;
}
