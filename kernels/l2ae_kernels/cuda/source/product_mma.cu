// Rung 3 of the dense products: tensor cores, TF32.
//
// What changed: a warp multiplies 16 × 8 of A by 8 × 8 of B in one instruction (mma.sync), whose
// numbers have 8 bits of exponent and 10 of mantissa; sums are float32. Each warp of the block's
// four keeps 32 × 32 sums. While one step of 16 is multiplied, the next one is on its way from
// global memory to registers, and goes to the other half of shared memory: one barrier a step.
// Why faster: the tensor cores of an H100 do 7 times as many multiply-adds a second as its float32
// units, and no thread waits for global memory.
// Reads and writes: a thread fetches 8 numbers of A and 8 of B a step, zeros past the edges, and
// writes its 32 sums, in pairs that lie side by side.
//
// TERMS 1 rounds both operands to TF32: a product is off by up to 2^-10 of itself.
// TERMS 3 splits each number x into big = TF32(x) and small = TF32(x − big), which together have 22
// bits, and adds big·small + small·big + big·big: the accuracy of float32 for three times the work.
// What is not finite stays so, but infinity − infinity makes it NaN.
//
// Tiles lie in shared memory as the operand lies in global memory, so that copying needs no
// transposition. Lines of 16 + 4 or 64 + 8 numbers: the 32 numbers of a fragment (lines 0 to 7 by
// depths 0 to 3) fall into 32 different banks either way.

#include "mma.cuh"
#include "network.cuh"

constexpr int TILE = 64;
constexpr int DEPTH = 16;
constexpr int THREADS = 128;
constexpr int FETCHED = TILE * DEPTH / THREADS;  // numbers of an operand, of a thread, in a step

// One operand's tile of TILE lines (rows of A, columns of B) by DEPTH.
template <bool by_depth>
struct Tile {
  static constexpr int SIZE = by_depth ? TILE * (DEPTH + 4) : DEPTH * (TILE + 8);

  static __device__ __forceinline__ int place(int line, int d) {
    return by_depth ? line * (DEPTH + 4) + d : d * (TILE + 8) + line;
  }

  // Read the thread's part of a tile from global memory: numbers `row` apart, every STEP-th.
  static __device__ __forceinline__ void fetch(
      float (&part)[FETCHED], const float* from, int64 first, int64 lines, int64 d0, int64 end,
      int64 depth) {
    constexpr int STEP = by_depth ? THREADS / DEPTH : THREADS / TILE;
    const int64 along = by_depth ? d0 + threadIdx.x % DEPTH : first + threadIdx.x % TILE;
    const int64 across = by_depth ? first + threadIdx.x / DEPTH : d0 + threadIdx.x / TILE;
    const int64 row = by_depth ? depth : lines;
    const bool inside = along < (by_depth ? end : lines);
    const int left = inside ? (int)min((by_depth ? lines : end) - across, (int64)TILE) : 0;
    const float* at = from + across * row + along;
#pragma unroll
    for (int j = 0; j < FETCHED; ++j, at += STEP * row) part[j] = j * STEP < left ? *at : 0;
  }

  // Write the thread's part to shared memory.
  static __device__ __forceinline__ void store(float* tile, const float (&part)[FETCHED]) {
#pragma unroll
    for (int j = 0; j < FETCHED; ++j) {
      const int i = threadIdx.x + j * THREADS;
      tile[by_depth ? place(i / DEPTH, i % DEPTH) : place(i % TILE, i / TILE)] = part[j];
    }
  }
};

typedef Tile<A_BY_DEPTH> TileA;
typedef Tile<B_BY_DEPTH> TileB;

// x as the tensor core takes it, and what is left of it.
__device__ __forceinline__ void split_tf32(float x, unsigned& big, unsigned& small) {
  big = mma::to_tf32(x);
  small = TERMS == 3 ? mma::to_tf32(x - __uint_as_float(big)) : 0;
}

// Add the products of one step to the warp's 32 × 32 sums, as 2 × 4 fragments of 16 × 8, of which
// each lane has a few cells.
__device__ __forceinline__ void multiply(
    float (&sums)[2][4][4], const float* A_tile, const float* B_tile, int row, int column) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 0; step < DEPTH; step += 8) {
    unsigned a[2][4], a_small[2][4], b[4][2], b_small[4][2];
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const mma::Cell cell = mma::tf32_a(lane, e);
        const int place = TileA::place(row + 16 * r + cell.row, step + cell.column);
        split_tf32(A_tile[place], a[r][e], a_small[r][e]);
      }
#pragma unroll
    for (int c = 0; c < 4; ++c)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const mma::Cell cell = mma::tf32_b(lane, e);
        const int place = TileB::place(column + 8 * c + cell.column, step + cell.row);
        split_tf32(B_tile[place], b[c][e], b_small[c][e]);
      }
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (TERMS == 3) {  // the small ones first
          mma::tf32(sums[r][c], a_small[r], b[c]);
          mma::tf32(sums[r][c], a[r], b_small[c]);
        }
        mma::tf32(sums[r][c], a[r], b[c]);
      }
  }
}

// Arguments and grid as in rung 2.
extern "C" __global__ void __launch_bounds__(THREADS) product_mma(
    const float* A, const float* B, float* C, int64 rows, int64 columns, int64 depth,
    int64 A_models, int64 B_models, int64 C_models, const float* bias, int64 bias_models,
    const float* y, float slope, int models, int64 depth_of_split) {
  __shared__ float A_tiles[2][TileA::SIZE];
  __shared__ float B_tiles[2][TileB::SIZE];
  const int64 first_row = (int64)blockIdx.x * TILE, first_column = (int64)blockIdx.y * TILE;
  const int model = blockIdx.z % models, split = blockIdx.z / models;
  const int64 begin = split * depth_of_split, end = min(depth, begin + depth_of_split);
  const int warp = threadIdx.x / 32, row = warp / 2 * 32, column = warp % 2 * 32;
  A += model * A_models;
  B += model * B_models;

  float sums[2][4][4] = {};
  float A_part[FETCHED], B_part[FETCHED];
  TileA::fetch(A_part, A, first_row, rows, begin, end, depth);
  TileB::fetch(B_part, B, first_column, columns, begin, end, depth);
  TileA::store(A_tiles[0], A_part);
  TileB::store(B_tiles[0], B_part);
  __syncthreads();
  int half = 0;
  for (int64 d0 = begin; d0 < end; d0 += DEPTH) {
    const bool more = d0 + DEPTH < end;
    if (more) {
      TileA::fetch(A_part, A, first_row, rows, d0 + DEPTH, end, depth);
      TileB::fetch(B_part, B, first_column, columns, d0 + DEPTH, end, depth);
    }
    multiply(sums, A_tiles[half], B_tiles[half], row, column);
    half ^= 1;
    if (more) {  // no thread reads this half any more: all have passed the last barrier
      TileA::store(A_tiles[half], A_part);
      TileB::store(B_tiles[half], B_part);
    }
    __syncthreads();
  }

  const float* model_bias = bias ? bias + model * bias_models : nullptr;
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int c = 0; c < 4; ++c)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const mma::Cell cell = mma::d(threadIdx.x % 32, e);
        const int64 i = first_row + row + 16 * r + cell.row;
        const int64 j = first_column + column + 8 * c + cell.column;
        if (i >= rows || j >= columns) continue;
        const int64 index = blockIdx.z * C_models + i * columns + j;
        C[index] = finish(sums[r][c][e], model_bias, j, y, index, slope);
      }
}
