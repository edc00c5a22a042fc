// The lanes of a warp turn their numbers around through shared memory.
extern "C" __global__ void missing_syncwarp(const float* x, float* y, unsigned* counter, int n) {
  __shared__ float kept[64];
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
  kept[t] = x[i];
#ifndef FAULT
  __syncwarp();  // lanes do not run in step by themselves
#endif
  y[i] = kept[t ^ 31];
}
