// A barrier for all threads of all blocks: grid_barrier(&counter).
//
// The launch has to be cooperative (enable_cooperative_groups=True), so that all blocks
// are on the device at once. The counter lies in global memory and is 0 when the kernel starts; one
// counter serves any number of barriers, up to 2³² arrivals of blocks.
//
// fresh(address): a number of 32 or 64 bits that other blocks wrote before the barrier, not from this
// multiprocessor's own cache. A volatile read would do, but asks for an order with the host too.
#pragma once

#if defined(L2AE_EMULATOR)
#include "emulated_grid.hpp"

template <class Number>
inline Number fresh(const Number* address) {
  return *(const volatile Number*)address;
}
#else

__device__ __forceinline__ unsigned fresh(const unsigned* address) {
  unsigned value;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];"
               : "=r"(value)
               : "l"(__cvta_generic_to_global(address)));
  return value;
}

__device__ __forceinline__ long long fresh(const long long* address) {
  long long value;
  asm volatile("ld.relaxed.gpu.global.s64 %0, [%1];"
               : "=l"(value)
               : "l"(__cvta_generic_to_global(address)));
  return value;
}

// A block's first thread counts it in and waits until every block is counted. The block's barriers
// and the fences order what other threads of the block wrote before, and read after.
__device__ __forceinline__ void grid_barrier(unsigned* counter) {
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {
    const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
    __threadfence();
    const unsigned ticket = atomicAdd(counter, 1u);
    const unsigned complete = (ticket / blocks + 1) * blocks;
    unsigned arrived;
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                   : "=r"(arrived)
                   : "l"(__cvta_generic_to_global(counter))
                   : "memory");
    } while (arrived < complete);
    __threadfence();
  }
  __syncthreads();
}

#endif
