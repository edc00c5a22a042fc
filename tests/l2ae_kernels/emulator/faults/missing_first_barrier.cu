// Each block turns 64 numbers around.
extern "C" __global__ void missing_first_barrier(
    const float* x, float* y, unsigned* counter, int n) {
  __shared__ float kept[64];
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
  kept[t] = x[i];
#ifndef FAULT
  __syncthreads();  // all are there before any is read
#endif
  y[i] = kept[63 - t];
}
