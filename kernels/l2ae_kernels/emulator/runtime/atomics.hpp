// Atomic operations on the types that CUDA has them for.
//
// They are relaxed, as on the device: two threads that agree through an atomic need a fence for
// what they wrote before. To ThreadSanitizer, a fence follows every earlier fence.
#pragma once
#include "engine.hpp"
#if defined(EMULATOR_THREAD)
#include <sanitizer/tsan_interface.h>
#endif

namespace emulator {

template <class T, class... Allowed> constexpr bool one_of = (std::is_same_v<T, Allowed> || ...);
template <class T> using same = std::enable_if_t<true, T>;  // no deduction from this argument
template <class T> constexpr bool is_integer = one_of<T, int, unsigned, unsigned long long>;

template <class T, class Change> T read_modify_write(T* address, Change change) {
  T old, changed;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  do {
    changed = change(old);
  } while (!__atomic_compare_exchange(address, &old, &changed, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED));
  return old;
}

inline char fence_event;
inline void fence() {
#if defined(EMULATOR_THREAD)
  __tsan_acquire(&fence_event);
  __tsan_release(&fence_event);
#endif
}

}  // namespace emulator

#define EMULATOR_ATOMIC(name, allowed, result)                                        \
  template <class T> T name(T* address, emulator::same<T> value) {                    \
    static_assert(allowed, #name ": CUDA has it not for this type");                  \
    return emulator::read_modify_write(address, [&](T old) { return T(result); });    \
  }
#define EMULATOR_LONG_LONG emulator::one_of<T, long long>
EMULATOR_ATOMIC(atomicAdd, (emulator::is_integer<T> || emulator::one_of<T, float, double>),
                old + value)
EMULATOR_ATOMIC(atomicSub, (emulator::one_of<T, int, unsigned>), old - value)
EMULATOR_ATOMIC(atomicMin, emulator::is_integer<T> || EMULATOR_LONG_LONG, value < old ? value : old)
EMULATOR_ATOMIC(atomicMax, emulator::is_integer<T> || EMULATOR_LONG_LONG, old < value ? value : old)
EMULATOR_ATOMIC(atomicAnd, emulator::is_integer<T>, old & value)
EMULATOR_ATOMIC(atomicOr, emulator::is_integer<T>, old | value)
EMULATOR_ATOMIC(atomicXor, emulator::is_integer<T>, old ^ value)
EMULATOR_ATOMIC(atomicExch, (emulator::is_integer<T> || emulator::one_of<T, float>), value)
EMULATOR_ATOMIC(atomicInc, (emulator::one_of<T, unsigned>), old >= value ? 0 : old + 1)
EMULATOR_ATOMIC(atomicDec, (emulator::one_of<T, unsigned>),
                old == 0 || old > value ? value : old - 1)

template <class T> T atomicCAS(T* address, emulator::same<T> expected, emulator::same<T> value) {
  static_assert(emulator::is_integer<T>, "atomicCAS: CUDA has it not for this type");
  return emulator::read_modify_write(address, [&](T old) { return old == expected ? value : old; });
}

inline void __threadfence() { emulator::fence(); }
inline void __threadfence_block() { emulator::fence(); }
inline void __threadfence_system() { emulator::fence(); }
