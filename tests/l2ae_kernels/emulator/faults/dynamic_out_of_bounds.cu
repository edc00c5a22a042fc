// The larger of each number and its right neighbour in the block.
extern "C" __global__ void dynamic_out_of_bounds(
    const float* x, float* y, unsigned* counter, int n) {
  extern __shared__ float rows[];  // 64 numbers
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
  rows[t] = x[i];
  __syncthreads();
#ifdef FAULT
  int right = t + 1;  // 64 for the last one; fmaxf drops the NaN that it finds there
#else
  int right = t < 63 ? t + 1 : t;
#endif
  y[i] = fmaxf(rows[t], rows[right]);
}
