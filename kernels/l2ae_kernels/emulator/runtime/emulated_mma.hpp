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

struct Registers { unsigned a[4], b[2]; };

// No name is a capital alone, which may be a constant of the kernel (-DK=8).
inline void tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], EMULATOR_HERE) {
  Registers mine, all[32];
  memcpy(mine.a, a, sizeof a), memcpy(mine.b, b, sizeof b);
  emulator::exchange("mma::tf32", 0xffffffffu, &mine, sizeof mine, emulator::all_lanes, all, place);
  auto number = [](unsigned bits) { return emulator::bits<float>(bits & 0xffffe000u); };
  for (int i = 0; i < 4; ++i) {
    Cell at = mma::d(emulator::lane(), i);
    for (int k = 0; k < 8; ++k) {  // register and lane of a cell: tf32_a and tf32_b the other way
      const Registers& left = all[at.row % 8 * 4 + k % 4];
      const Registers& right = all[at.column * 4 + k % 4];
      d[i] += number(left.a[at.row / 8 + k / 4 * 2]) * number(right.b[k / 4]);
    }
  }
}

// A lane reads the row whose address it has; then register i of lane l is number l % 4 of the row
// of lane 8 i + l / 4.
inline void ldmatrix(unsigned (&registers)[4], const float* row, emulator::Place place) {
  emulator::check_row("mma::load", row, 16, place);
  unsigned mine[4], rows[32][4];
  for (int i = 0; i < 4; ++i) mine[i] = emulator::bits<unsigned>(row[i]);  // a sanitizer sees it
  emulator::exchange("mma::load", 0xffffffffu, mine, sizeof mine, emulator::all_lanes, rows, place);
  int lane = emulator::lane();
  for (int i = 0; i < 4; ++i) registers[i] = rows[8 * i + lane / 4][lane % 4];
}

inline void load_a(unsigned (&a)[4], const float* row, EMULATOR_HERE) { ldmatrix(a, row, place); }

inline void load_b(unsigned (&b0)[2], unsigned (&b1)[2], const float* row, EMULATOR_HERE) {
  unsigned both[4];
  ldmatrix(both, row, place);
  memcpy(b0, both, sizeof b0), memcpy(b1, both + 2, sizeof b1);
}

inline uint4 load_four(const float* columns, EMULATOR_HERE) {
  emulator::check_row("mma::load_four", columns, 16, place);
  unsigned four[4];
  for (int i = 0; i < 4; ++i) four[i] = emulator::bits<unsigned>(columns[i]);
  return {four[0], four[1], four[2], four[3]};
}

}  // namespace mma
