// Twice each number.
extern "C" __global__ void global_out_of_bounds(
    const float* x, float* y, unsigned* counter, int n) {
  int i = blockIdx.x * 64 + threadIdx.x;
#ifdef FAULT
  bool mine = i <= n;  // one too many
#else
  bool mine = i < n;
#endif
  if (mine) y[i] = 2.0f * (i < n ? x[i] : 0.0f);
}
