// The sum of all numbers: the last block to come adds the sums of the blocks.
extern "C" __global__ void missing_fence(const float* x, float* y, unsigned* counter, int n) {
  if (threadIdx.x != 0) return;
  float sum = 0.0f;
  for (int i = 0; i < 64; ++i) sum += x[blockIdx.x * 64 + i];
  y[1 + blockIdx.x] = sum;
#ifndef FAULT
  __threadfence();  // the sum is there before the ticket is drawn
#endif
  unsigned ticket = atomicAdd(counter, 1u);
#ifndef FAULT
  __threadfence();
#endif
  if (ticket + 1 != gridDim.x) return;
  y[0] = 0.0f;
  for (int block = 0; block < int(gridDim.x); ++block) y[0] += y[1 + block];
}
