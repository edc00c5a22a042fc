// Barriers of the block, and shared memory as translate.py declares it.
#pragma once
#include "engine.hpp"

inline void __syncthreads(EMULATOR_HERE) { emulator::block_barrier("__syncthreads", 0, place); }
inline int __syncthreads_count(int predicate, EMULATOR_HERE) {
  return emulator::block_barrier("__syncthreads_count", predicate, place).holds;
}
inline int __syncthreads_and(int predicate, EMULATOR_HERE) {
  emulator::Votes votes = emulator::block_barrier("__syncthreads_and", predicate, place);
  return votes.holds == votes.threads;
}
inline int __syncthreads_or(int predicate, EMULATOR_HERE) {
  return emulator::block_barrier("__syncthreads_or", predicate, place).holds != 0;
}

namespace emulator {

// One slot a declaration, and one an instance of a template that holds it: a local class is a type
// of its own in each, and says in which kernel it is. The slots are numbered, and their bytes added
// up for each kernel, when the library is loaded.
template <class T, class Declaration>
inline const int slot_of = new_slot(Declaration::kernel(), sizeof(T));

template <class T, class Declaration> T& shared(const char* name, EMULATOR_HERE) {
  static_assert(alignof(T) <= 128, "shared memory: the alignment is more than 128");
  return *static_cast<T*>(
      shared_variable(slot_of<T, Declaration>, sizeof(T), name, place));
}

}  // namespace emulator
