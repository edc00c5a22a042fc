// mma.cuh without tensor cores: every lane gets all registers and computes its cells of D.
//
// A and B are rounded as the hardware rounds them, a product is exact, sums are float32 in the
// order of k; the hardware's order and its rounding of sums are not documented.
#pragma once
#include "cuda.hpp"

namespace mma {

inline unsigned to_tf32(float x) {
  unsigned bits = emulator::bits<unsigned>(x);
  bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return finite ? (bits + 0x1000u) & 0xffffe000u : bits & 0xffffe000u | (x != x ? 0x400000u : 0);
}

inline unsigned to_bf16(float low, float high) {
  auto half = [](float x) {
    unsigned bits = emulator::bits<unsigned>(x);
    if (x != x) return 0x7fffu;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  };
  return half(high) << 16 | half(low);
}

struct Registers { unsigned a[4], b[2]; };

// `unpack(register, half)` is a number, `halves` says how many a register holds. No name is a
// capital alone, which may be a constant of the kernel (-DK=8).
template <int depth, int halves, class CellOfA, class CellOfB, class Unpack>
void multiply(const char* what, float (&result)[4], const unsigned (&a)[4],
              const unsigned (&b)[2], CellOfA cell_a, CellOfB cell_b, Unpack unpack,
              emulator::Place place) {
  Registers mine, all[32];
  memcpy(mine.a, a, sizeof a), memcpy(mine.b, b, sizeof b);
  emulator::exchange(what, 0xffffffffu, &mine, sizeof mine, emulator::everybody, all, place);
  float left[16][depth], right[depth][8];
  for (int lane = 0; lane < 32; ++lane)
    for (int half = 0; half < halves; ++half) {
      for (int i = 0; i < 4; ++i) {
        Cell at = cell_a(lane, i);
        left[at.row][at.column + half] = unpack(all[lane].a[i], half);
      }
      for (int i = 0; i < 2; ++i) {
        Cell at = cell_b(lane, i);
        right[at.row + half][at.column] = unpack(all[lane].b[i], half);
      }
    }
  for (int i = 0; i < 4; ++i) {
    Cell at = d(emulator::lane(), i);
    for (int k = 0; k < depth; ++k) result[i] += left[at.row][k] * right[k][at.column];
  }
}

inline void tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], EMULATOR_HERE) {
  auto unpack = [](unsigned bits, int) { return emulator::bits<float>(bits & 0xffffe000u); };
  multiply<8, 1>("mma::tf32", d, a, b, tf32_a, tf32_b, unpack, place);
}

inline void bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], EMULATOR_HERE) {
  auto unpack = [](unsigned pair, int half) {
    return emulator::bits<float>(half == 0 ? pair << 16 : pair & 0xffff0000u);
  };
  multiply<16, 2>("mma::bf16", d, a, b, bf16_a, bf16_b, unpack, place);
}

}  // namespace mma
