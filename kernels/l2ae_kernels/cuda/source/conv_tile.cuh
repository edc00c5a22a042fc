// A tile of an implicit matrix product on tensor cores: 64 rows of A by 64 columns of B, or 128 by 32.
//
// Four warps share a block, each with 32 rows and 32 columns. The block goes through the
// depth in steps of 32, of which three are in shared memory: one is multiplied while the next two
// are on their way (cp.async), and there is one barrier a step.
//
// A tile of an operand lies in shared memory as the operand does in global memory, so that 16 bytes
// are copied as they are. What a lane multiplies comes from there 16 bytes at a time, whichever way
// the operand lies, without two numbers in one bank:
//
//   by depth    (lines × 32 depths, 36 apart): ldmatrix, as mma.cuh has it
//   by line     (32 depths × lines, lines + 4 apart): a float4 has a number of four fragments, if
//               line g of fragment f is the warp's line 4 fours(g) + f. Rows or columns of the sums
//               are permuted in the same way, and four that a lane has of a row lie side by side.
//
// TERMS 3: each number is split into two of TF32, three products, the accuracy of float32; TERMS 1:
// one product, each number off by up to 1.25 · 2^-11 of itself (see mma.cuh).

#pragma once

#include "async_copy.cuh"
#include "mma.cuh"
#include "network.cuh"

constexpr int DEPTH = 32;  // of a step
constexpr int THREADS = 128;
constexpr int STAGES = 3;  // steps in shared memory

// The tile of an operand: `lines` rows of A or columns of B by DEPTH, copied VECTOR numbers at a time.
template <int lines, bool by_depth, int vector>
struct Tile {
  static constexpr int LINES = lines;
  static constexpr bool BY_DEPTH = by_depth;
  static constexpr int VECTOR = vector;
  static constexpr int PITCH = (by_depth ? DEPTH : lines) + 4;
  static constexpr int SIZE = PITCH * (by_depth ? lines : DEPTH);
  static constexpr int SIDE = (by_depth ? DEPTH : lines) / vector;  // threads that share a line
  static constexpr int EACH = lines * DEPTH / vector / THREADS;     // copies of a thread
  static constexpr int APART = THREADS / SIDE;
  static_assert(THREADS % SIDE == 0, "all copies of a thread have one place along the lines");

  // Where the thread's copies lie: all at one depth (by depth) or line, from a line or depth on,
  // APART of them apart.
  static __device__ __forceinline__ int along() { return threadIdx.x % SIDE * vector; }
  static __device__ __forceinline__ int across() { return threadIdx.x / SIDE; }
  static __device__ __forceinline__ int place() { return across() * PITCH + along(); }

  // Call copy(to, i) for each copy of the thread; `to` is its place in the tile.
  template <class Copy>
  static __device__ __forceinline__ void fill(float* to, Copy copy) {
#pragma unroll
    for (int i = 0; i < EACH; ++i) copy(to + i * APART * PITCH, i);
  }
};

// Of the eight fours of a warp's 32 lines, the one of lanes 4 g to 4 g + 3. In this order the eight
// lanes that are served at once meet all banks, and four lanes write 64 bytes that lie side by side.
__device__ __forceinline__ int fours(int g) { return g / 2 + g % 2 * 4; }

// The sums of a warp, 32 × 32: 2 × 4 fragments of 16 × 8.
template <class TileA, class TileB>
struct Product {
  static constexpr int STAGE = TileA::SIZE + TileB::SIZE;
  static constexpr int ACROSS = TileB::LINES / 32;  // warps
  static_assert(TileA::LINES / 32 * ACROSS == THREADS / 32, "a warp has 32 rows and 32 columns");
  float sums[2][4][4] = {};
  const int lane = threadIdx.x % 32;
  const int row = threadIdx.x / 32 / ACROSS * 32;     // the first one of the warp
  const int column = threadIdx.x / 32 % ACROSS * 32;  // the first one of the warp

  // Add the products of `steps` steps. copy(to_A, to_B) copies the tiles of the next step; see(B) is
  // given each tile of B.
  template <class Copy, class See>
  __device__ __forceinline__ void add(float* tiles, int steps, Copy copy, See see) {
    const float *A = tiles + place_a(), *B = tiles + TileA::SIZE + place_b();
    const float* B_tile = tiles + TileA::SIZE;
    float *to_A = tiles + TileA::place(), *to_B = tiles + TileA::SIZE + TileB::place();
#pragma unroll
    for (int s = 0; s < STAGES - 1; ++s, to_A += STAGE, to_B += STAGE) {
      if (s < steps) copy(to_A, to_B);
      async_commit();
    }
    int from = 0, to = STAGES - 1;  // stages
    for (int step = 0; step < steps; ++step) {
      async_wait<STAGES - 2>();
      __syncthreads();  // this step is there, and nobody reads the one before it any more
      if (step + STAGES - 1 < steps) copy(to_A, to_B);
      async_commit();
      add_step(A, B);
      see(B_tile);
      const int next_from = next(from), next_to = next(to);
      A += next_from, B += next_from, B_tile += next_from;
      to_A += next_to, to_B += next_to;
    }
    async_wait<0>();
  }

  // How far it is to the stage behind `stage`, which becomes that one.
  static __device__ __forceinline__ int next(int& stage) {
    stage = stage == STAGES - 1 ? 0 : stage + 1;
    return stage ? STAGE : (1 - STAGES) * STAGE;
  }

  // Where the first number of a lane lies in a tile.
  __device__ __forceinline__ int place_a() const {
    const mma::Cell at = mma::address_a(lane);
    return TileA::BY_DEPTH ? (row + at.row) * TileA::PITCH + at.column
                           : lane % 4 * TileA::PITCH + row + 4 * fours(lane / 4);
  }
  __device__ __forceinline__ int place_b() const {
    const mma::Cell at = mma::address_b(lane);
    return TileB::BY_DEPTH ? (column + at.column) * TileB::PITCH + at.row
                           : lane % 4 * TileB::PITCH + column + 4 * fours(lane / 4);
  }

  __device__ __forceinline__ void add_step(const float* A, const float* B) {
#pragma unroll
    for (int d = 0; d < DEPTH; d += 8) {
      unsigned a[2][4], b[4][2], a_small[2][4], b_small[4][2];
      load_a(a, A, d);
      load_b(b, B, d);
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int e = 0; e < 4; ++e) split(a[r][e], a_small[r][e]);
#pragma unroll
      for (int f = 0; f < 4; ++f)
#pragma unroll
        for (int e = 0; e < 2; ++e) split(b[f][e], b_small[f][e]);
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int f = 0; f < 4; ++f) {
          if (TERMS == 3) {  // the small ones first
            mma::tf32(sums[r][f], a_small[r], b[f]);
            mma::tf32(sums[r][f], a[r], b_small[f]);
          }
          mma::tf32(sums[r][f], a[r], b[f]);
        }
    }
  }

  // x as the tensor core takes it, and what is left of it.
  static __device__ __forceinline__ void split(unsigned& x, unsigned& small) {
    if (TERMS == 3) {
      const mma::Parts parts = mma::split(__uint_as_float(x));
      x = parts.big;
      small = parts.small;
    } else {
      x = mma::near_tf32(__uint_as_float(x));
    }
  }

  // The fragments at depth d; A and B are the lane's places in the tiles.
  static __device__ __forceinline__ void load_a(unsigned (&a)[2][4], const float* A, int d) {
    if constexpr (TileA::BY_DEPTH) {
#pragma unroll
      for (int r = 0; r < 2; ++r) mma::load_a(a[r], A + 16 * r * TileA::PITCH + d);
    } else {
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        const float4 four = reinterpret_cast<const float4&>(A[(d + 2 * e) * TileA::PITCH]);
        a[0][e] = __float_as_uint(four.x), a[0][e + 1] = __float_as_uint(four.y);
        a[1][e] = __float_as_uint(four.z), a[1][e + 1] = __float_as_uint(four.w);
      }
    }
  }
  static __device__ __forceinline__ void load_b(unsigned (&b)[4][2], const float* B, int d) {
    if constexpr (TileB::BY_DEPTH) {
#pragma unroll
      for (int f = 0; f < 4; f += 2) mma::load_b(b[f], b[f + 1], B + 8 * f * TileB::PITCH + d);
    } else {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float4 four = reinterpret_cast<const float4&>(B[(d + 4 * e) * TileB::PITCH]);
        b[0][e] = __float_as_uint(four.x), b[1][e] = __float_as_uint(four.y);
        b[2][e] = __float_as_uint(four.z), b[3][e] = __float_as_uint(four.w);
      }
    }
  }

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
      for (int f = 0; f < 4; ++f)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[r][f][e] = 0;
  }

  // Call visit(row, column, numbers) for all sums of the lane, those that lie side by side at once;
  // it may change them.
  template <class Visit>
  __device__ __forceinline__ void for_each(Visit visit) {
    constexpr int SIDE = TileB::BY_DEPTH ? 2 : 4;  // sums that lie side by side
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int of_row =
            TileA::BY_DEPTH ? 16 * r + lane / 4 + 8 * half : 4 * fours(lane / 4) + 2 * r + half;
#pragma unroll
        for (int run = 0; run < 8 / SIDE; ++run) {
          float numbers[SIDE];
#pragma unroll
          for (int i = 0; i < SIDE; ++i)
            numbers[i] = TileB::BY_DEPTH ? sums[r][run][2 * half + i] : sums[r][i][2 * half + run];
          visit(row + of_row, column + 4 * SIDE * run + lane % 4 * SIDE, numbers);
#pragma unroll
          for (int i = 0; i < SIDE; ++i)
            (TileB::BY_DEPTH ? sums[r][run][2 * half + i] : sums[r][i][2 * half + run]) =
                numbers[i];
        }
      }
  }
};
