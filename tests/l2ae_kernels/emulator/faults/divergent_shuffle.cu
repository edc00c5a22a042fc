// The first 16 lanes swap neighbours, the other 16 keep their numbers.
extern "C" __global__ void divergent_shuffle(const float* x, float* y, unsigned* counter, int n) {
  int t = threadIdx.x, lane = t % 32, i = blockIdx.x * 64 + t;
  float value = x[i];
#ifdef FAULT
  unsigned mask = 0xffffffffu;  // but 16 lanes are at the barrier below
#else
  unsigned mask = 0x0000ffffu;
#endif
  if (lane < 16) value = __shfl_xor_sync(mask, value, 1);
  __syncthreads();
  y[i] = value;
}
