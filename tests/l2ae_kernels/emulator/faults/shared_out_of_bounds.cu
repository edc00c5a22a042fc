// Each block shifts 64 numbers by one and drops the last.
extern "C" __global__ void shared_out_of_bounds(
    const float* x, float* y, unsigned* counter, int n) {
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
#ifdef FAULT
  __shared__ float kept[64];  // 65 are written
#else
  __shared__ float kept[65];
#endif
  if (t == 0) kept[0] = 0.0f;
  kept[t + 1] = x[i];
  __syncthreads();
  y[i] = kept[t];
}
