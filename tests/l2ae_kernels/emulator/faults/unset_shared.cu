// Counts of the four residues of the numbers, in each block.
extern "C" __global__ void unset_shared(const float* x, float* y, unsigned* counter, int n) {
  __shared__ unsigned counts[4];
  int t = threadIdx.x, residue = int(x[blockIdx.x * 64 + t]) % 4;
#ifndef FAULT
  if (t < 4) counts[t] = 0;
#endif
  __syncthreads();
  atomicAdd(&counts[residue], 1u);
  __syncthreads();
  if (t < 4) y[blockIdx.x * 4 + t] = counts[t];
}
