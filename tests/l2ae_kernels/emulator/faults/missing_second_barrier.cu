// Each thread adds what its neighbour read, tile by tile; y[t] is the sum over tiles.
extern "C" __global__ void missing_second_barrier(
    const float* x, float* y, unsigned* counter, int n) {
  __shared__ float tile[64];
  int t = threadIdx.x;
  float sum = 0.0f;
  for (int first = 0; first < n; first += 64) {
    tile[t] = x[first + t];
    __syncthreads();
    sum += tile[(t + 1) % 64];
#ifndef FAULT
    __syncthreads();  // all are read before the next tile comes
#endif
  }
  y[t] = sum;
}
