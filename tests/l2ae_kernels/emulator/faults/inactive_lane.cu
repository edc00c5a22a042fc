// The sums of the first 16 numbers of each block, by shuffles.
extern "C" __global__ void inactive_lane(const float* x, float* y, unsigned* counter, int n) {
  int t = threadIdx.x;
  if (t >= 16) return;
  float sum = x[blockIdx.x * 64 + t];
#ifdef FAULT
  constexpr int width = 32;  // lane 8 reads lane 16, which is not in the mask
#else
  constexpr int width = 16;
#endif
  for (int offset = 8; offset > 0; offset /= 2)
    sum += __shfl_down_sync(0x0000ffffu, sum, offset, width);
  if (t == 0) y[blockIdx.x] = sum;
}
