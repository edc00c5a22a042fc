// Each block turns 64 numbers around; the last block has fewer.
extern "C" __global__ void early_return(const float* x, float* y, unsigned* counter, int n) {
  __shared__ float kept[64];
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
#ifdef FAULT
  if (i >= n) return;  // and the others wait below
#endif
  kept[t] = i < n ? x[i] : 0.0f;
  __syncthreads();
  if (i < n) y[i] = kept[63 - t];
}
