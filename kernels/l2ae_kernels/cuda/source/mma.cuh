// Products of small matrices by a whole warp on tensor cores: D (16×8) += A (16×K) B (K×8).
//
//   mma::tf32(d, a, b)   K = 8:   A and B are float with 10 bits of mantissa
//
// D is float32 and so are the sums. The 32 lanes hold the matrices together, each lane 4 registers
// of A, 2 of B and 4 of D; tf32_a, tf32_b and d say which cells these are (PTX ISA, "Matrix
// Fragments for mma.m16n8k8"). All lanes have to call, at the same line.
//
// Fragments of an operand whose depths lie side by side in shared memory come by ldmatrix, four
// registers an instruction. It moves four matrices of 8 rows × 16 bytes, here 8 × 4 floats: lane l
// has the address of row l % 8 of matrix l / 8, and register i of lane l is number l % 4 of row
// l / 4 of matrix i. That is tf32_a and tf32_b, if the matrices are the quarters of A (16 × 8), and
// the halves of two B (8 × 8) whose columns lie as rows:
//
//   mma::Cell at = mma::address_a(lane);
//   mma::load_a(a, &A[at.row][at.column]);
//   at = mma::address_b(lane);                      // of B's columns 0 to 15
//   mma::load_b(b[0], b[1], &B[at.column][at.row]);
//
// Rows lie at multiples of 16 bytes; if their distance is 16 · odd, no two of the eight rows of a
// matrix share a bank. All lanes have to call here as well.
//
// Where the depths lie a row apart, load_four reads four columns of one depth, by one instruction.
// (Of a plain uint4, NVRTC at times loads two numbers again to save registers: it decides anew in
// each compilation, and two banks collide.)
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

// The cell of A, or of two B side by side (8 × 16), whose address a lane gives to load_a, load_b.
__device__ constexpr Cell address_a(int lane) { return {lane % 16, lane / 16 * 4}; }
__device__ constexpr Cell address_b(int lane) {
  return {lane / 8 % 2 * 4, lane % 8 + lane / 16 * 8};
}

}  // namespace mma

#if defined(L2AE_EMULATOR)
#include "emulated_mma.hpp"
#else

namespace mma {

// To TF32: to the nearest, ties away from zero. Four instructions on sm_90.
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

__device__ __forceinline__ void load_b(unsigned (&b0)[2], unsigned (&b1)[2], const float* row) {
  const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(b0[0]), "=r"(b0[1]), "=r"(b1[0]), "=r"(b1[1])
               : "r"(from)
               : "memory");
}

__device__ __forceinline__ void load_a(unsigned (&a)[4], const float* row) {
  const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(from)
               : "memory");
}

__device__ __forceinline__ uint4 load_four(const float* columns) {
  const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(columns));
  uint4 four;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(four.x), "=r"(four.y), "=r"(four.z), "=r"(four.w)
               : "r"(from)
               : "memory");
  return four;
}

}  // namespace mma

#endif

namespace mma {

// The tensor core looks at the first 19 bits of a register, so a float is a TF32 number as it is,
// rounded toward zero: off by up to 2^-10 of itself, and never too large.

// A number whose TF32 is off by up to 1.25 · 2^-11 of it, to either side: 0.75 · 2^-11 |x| is half
// of what is cut at most, 2^-10 2^e, for |x| = 4/3 · 2^e, and errors have a mean near 0. One
// instruction, where to_tf32 takes four; NaN and infinity stay what they are.
__device__ __forceinline__ unsigned near_tf32(float x) {
  return __float_as_uint(fmaf(x, 0x1.8p-12f, x));
}

// A number as two of TF32. x − big is exact, and of that the tensor core leaves out less than
// 2^-10: big + small is x to 1.25 · 2^-21 of itself. Infinity and NaN stay so in big; small is NaN.
struct Parts {
  unsigned big, small;
};
__device__ __forceinline__ Parts split(float x) {
  const unsigned big = near_tf32(x) & 0xffffe000u;
  return {big, __float_as_uint(x - __uint_as_float(big))};
}

}  // namespace mma
