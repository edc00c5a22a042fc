// Twice each number; the fault is in the launch: 8 bytes for an int.
extern "C" __global__ void wrong_width(const float* x, float* y, unsigned* counter, int n) {
  int i = blockIdx.x * 64 + threadIdx.x;
  if (i < n) y[i] = 2.0f * x[i];
}
