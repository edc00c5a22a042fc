// The sum of all numbers.
extern "C" __global__ void plain_add_across_blocks(
    const float* x, float* y, unsigned* counter, int n) {
  int t = threadIdx.x;
  float sum = x[blockIdx.x * 64 + t];
  __shared__ float sums[64];
  sums[t] = sum;
  __syncthreads();
  if (t != 0) return;
  for (int other = 1; other < 64; ++other) sum += sums[other];
#ifdef FAULT
  y[0] += sum;  // two blocks may read the same old value
#else
  atomicAdd(&y[0], sum);
#endif
}
