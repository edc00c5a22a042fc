// Copies from global to shared memory that go on while the thread computes (cp.async).
//
//   async_copy<16>(&tile[i], &x[j]);   // 4, 8 or 16 bytes, both addresses multiples of it
//   async_copy_or_zero<16>(&tile[i], &x[j], j < n);   // zeros, and x[j] is not read, past the end
//   async_commit();                    // what was issued since the last commit is one group
//   async_wait<1>();                   // all groups but the latest 1 have arrived
//   __syncthreads();                   // … and other threads may read them too
//
// From sm_80 on. In the emulator the target is unset (0xFF) from the copy to the wait, so that a
// missing or early wait shows as NaN.
#pragma once

#if defined(L2AE_EMULATOR)
#include "emulated_copy.hpp"
#else

template <int BYTES>
__device__ __forceinline__ void async_copy(void* shared, const void* global) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const size_t from = __cvta_generic_to_global(global);
  if constexpr (BYTES == 16) {  // past the first-level cache: it goes to shared memory anyway
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(to), "l"(from) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;"
                 :
                 : "r"(to), "l"(from), "n"(BYTES)
                 : "memory");
  }
}

template <int BYTES>
__device__ __forceinline__ void async_copy_or_zero(void* shared, const void* global, bool inside) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const size_t from = __cvta_generic_to_global(global);
  const int read = inside ? BYTES : 0;  // the rest of the target becomes 0
  if constexpr (BYTES == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(to), "l"(from), "r"(read)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 :
                 : "r"(to), "l"(from), "n"(BYTES), "r"(read)
                 : "memory");
  }
}

__device__ __forceinline__ void async_commit() {
  asm volatile("cp.async.commit_group;" : : : "memory");
}

template <int GROUPS_LEFT>
__device__ __forceinline__ void async_wait() {
  asm volatile("cp.async.wait_group %0;" : : "n"(GROUPS_LEFT) : "memory");
}

#endif
