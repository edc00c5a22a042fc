// float4 and its family, with the alignment that vector loads want.
#pragma once
#include <stddef.h>

#define EMULATOR_VECTORS(T, N)                                                              \
  struct alignas(sizeof(T)) N##1 { T x; };                                                  \
  struct alignas(2 * sizeof(T)) N##2 { T x, y; };                                           \
  EMULATOR_VECTOR_3(T, N)                                                                   \
  struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) N##4 { T x, y, z, w; };                \
  inline N##1 make_##N##1(T x) { return {x}; }                                              \
  inline N##2 make_##N##2(T x, T y) { return {x, y}; }                                      \
  inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                              \
  inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }                      \
  template <> struct emulator::scalar<N##1> { using type = T; };                            \
  template <> struct emulator::scalar<N##2> { using type = T; };                            \
  template <> struct emulator::scalar<N##3> { using type = T; };                            \
  template <> struct emulator::scalar<N##4> { using type = T; };
#define EMULATOR_VECTOR_3(T, N) struct N##3 { T x, y, z; };

namespace emulator {
template <class T> struct scalar { using type = T; };  // what a vector is made of
}  // namespace emulator

EMULATOR_VECTORS(signed char, char)
EMULATOR_VECTORS(unsigned char, uchar)
EMULATOR_VECTORS(short, short)
EMULATOR_VECTORS(unsigned short, ushort)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(long long, longlong)
EMULATOR_VECTORS(unsigned long long, ulonglong)
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(double, double)
#undef EMULATOR_VECTOR_3
#define EMULATOR_VECTOR_3(T, N)  // uint3 stands in engine.hpp already
EMULATOR_VECTORS(unsigned, uint)
