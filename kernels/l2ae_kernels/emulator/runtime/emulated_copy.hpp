// async_copy.cuh on a CPU: a copy is noted, its target unset; the wait brings the values.
//
// The loops are instrumented with the kernel: a sanitizer sees what is read and written, and when.
#pragma once
#include "cuda.hpp"

template <int BYTES>
void async_copy_or_zero(void* shared, const void* global, bool inside, EMULATOR_HERE) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
  // An address that is not read may lie anywhere, but is a multiple of BYTES all the same.
  const size_t address = reinterpret_cast<size_t>(global);
  const void* checked = inside ? global : reinterpret_cast<const void*>(address % BYTES);
  emulator::check_copy(shared, checked, BYTES, place);
  for (int i = 0; i < BYTES; ++i) {
    static_cast<volatile unsigned char*>(shared)[i] = 0xFF;
    if (inside) (void)static_cast<const volatile unsigned char*>(global)[i];  // what will be read
  }
  emulator::issue_copy({shared, inside ? global : nullptr, BYTES});
}

template <int BYTES> void async_copy(void* shared, const void* global, EMULATOR_HERE) {
  async_copy_or_zero<BYTES>(shared, global, true, place);
}

inline void async_commit() { emulator::commit_copies(); }

template <int GROUPS_LEFT> void async_wait() {
  emulator::Copy copy;
  while (emulator::next_copy(GROUPS_LEFT, &copy)) {
    auto* to = static_cast<unsigned char*>(copy.to);
    auto* from = static_cast<const unsigned char*>(copy.from);
    for (int i = 0; i < copy.bytes; ++i) to[i] = from ? from[i] : 0;
  }
}
