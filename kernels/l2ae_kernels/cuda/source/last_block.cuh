// The last of some blocks that work on one result: it adds what all of them wrote.
#pragma once

// Whether this block is the last one of `blocks` to call it. That block sees what all threads of the
// others wrote before. arrived: in global memory, 0 before the first and after the last one. All
// threads of a block call.
//
// The barrier and the fence before the count order what the block's threads wrote; those behind it
// what the last one reads.
__device__ __forceinline__ bool arrives_last(unsigned* arrived, unsigned blocks) {
  __shared__ bool is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    is_last = atomicAdd(arrived, 1u) == blocks - 1;
    __threadfence();
    if (is_last) *arrived = 0;
  }
  __syncthreads();
  return is_last;
}
