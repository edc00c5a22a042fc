// Each block turns its first 40 numbers around.
extern "C" __global__ void divergent_barrier(const float* x, float* y, unsigned* counter, int n) {
  __shared__ float kept[40];
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
#ifdef FAULT
  if (t < 40) {
    kept[t] = x[i];
    __syncthreads();  // 24 threads never come
    y[i] = kept[39 - t];
  }
#else
  if (t < 40) kept[t] = x[i];
  __syncthreads();
  if (t < 40) y[i] = kept[39 - t];
#endif
}
