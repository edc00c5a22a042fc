// Products of small matrices by a whole warp on tensor cores: D (16×8) += A (16×K) B (K×8).
//
//   mma::tf32(d, a, b)   K = 8:   A and B are float with 10 bits of mantissa
//
// D is float32 and so are the sums. The 32 lanes hold the matrices together, each lane 4 registers
// of A, 2 of B and 4 of D; tf32_a, tf32_b and d say which cells these are (PTX ISA, "Matrix
// Fragments for mma.m16n8k8"). All lanes have to call, at the same line.
//
// From sm_80 on; in the emulator the same text multiplies with the same rounding of A and B.
#pragma once

namespace mma {

struct Cell {
  int row, column;
};

// Where register i of a lane lies.
__device__ constexpr Cell tf32_a(int lane, int i) {
  return {lane / 4 + i % 2 * 8, lane % 4 + i / 2 * 4};
}
__device__ constexpr Cell tf32_b(int lane, int i) { return {lane % 4 + i * 4, lane / 4}; }
__device__ constexpr Cell d(int lane, int i) {
  return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2};
}

}  // namespace mma

#if defined(L2AE_EMULATOR)
#include "emulated_mma.hpp"
#else

namespace mma {

// To TF32: to the nearest, ties away from zero.
__device__ __forceinline__ unsigned to_tf32(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

__device__ __forceinline__ void tf32(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace mma

#endif
