// Counts of the four residues of the numbers, in each block.
extern "C" __global__ void plain_add_in_shared(const float* x, float* y, unsigned* counter, int n) {
  __shared__ unsigned counts[4];
  int t = threadIdx.x, residue = int(x[blockIdx.x * 64 + t]) % 4;
  if (t < 4) counts[t] = 0;
  __syncthreads();
#ifdef FAULT
  counts[residue] += 1;  // two threads may read the same old value
#else
  atomicAdd(&counts[residue], 1u);
#endif
  __syncthreads();
  if (t < 4) y[blockIdx.x * 4 + t] = counts[t];
}
