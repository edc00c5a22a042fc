// A block sums its 64 numbers in a tree.
extern "C" __global__ void missing_loop_barrier(
    const float* x, float* y, unsigned* counter, int n) {
  __shared__ float sums[64];
  int t = threadIdx.x;
  sums[t] = x[blockIdx.x * 64 + t];
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (t < half) sums[t] += sums[t + half];
#ifndef FAULT
    __syncthreads();  // this level before the next one
#endif
  }
  if (t == 0) y[blockIdx.x] = sums[0];
}
