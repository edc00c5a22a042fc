// Rung 2 of the dense products: tiles in shared memory, and of those, tiles in registers.
//
// What changed: a block makes 64 × 64 numbers of C, and goes through the depth 16 at a time. It
// copies 64 × 16 of A and of B to shared memory once, and each thread keeps 8 × 4 sums in
// registers: 12 numbers from shared memory are enough for 32 multiply-adds.
// Why faster: global memory is read 64 times less often than in rung 1, shared memory 2.7 times
// less often than there are multiply-adds.
// Reads and writes: a thread copies 8 numbers of A and 8 of B a step, neighbours side by side
// whichever way the operand lies, zeros past the edges; it writes its 32 sums.
//
// Few tiles and a long depth (a code of 10 features, the sum over samples in dW) would leave most
// of the machine idle. The grid then has `splits` layers for each model, each with a part of the
// depth, which write sums of their own that elementwise.cu adds up in order: bits do not depend on
// who comes first. `splits` follows from the shape of one model, so neither do they depend on how
// many models run side by side.

#include "network.cuh"

constexpr int TILE = 64;
constexpr int DEPTH = 16;
constexpr int THREADS = 128;
constexpr int ROWS = 8;     // of a thread
constexpr int COLUMNS = 4;  // of a thread

// On a multiprocessor: at most 128 registers a thread of float, 168 of double. Without a limit
// sm_100 takes 167 for float, and has room for three blocks.
constexpr int BLOCKS = sizeof(real) == 4 ? 4 : 3;

// Copy TILE lines (rows of A, columns of B) by DEPTH of an operand to tile[d][line]. A thread has
// every STEP-th row of the operand, at a pointer that walks: one 64-bit offset in place of eight.
template <bool by_depth>
__device__ __forceinline__ void load(
    real (*tile)[TILE + 4], const real* from, int64 first, int64 lines, int64 d0, int64 end,
    int64 depth) {
  constexpr int ROW = by_depth ? DEPTH : TILE, ROWS = by_depth ? TILE : DEPTH;
  constexpr int STEP = THREADS / ROW;
  const int along = threadIdx.x % ROW, across = threadIdx.x / ROW;
  const int line = by_depth ? across : along, d = by_depth ? along : across;
  const int lines_left = (int)min(lines - first - line, (int64)TILE);
  const int depth_left = (int)min(end - d0 - d, (int64)DEPTH);
  const int rows_left = by_depth         ? depth_left > 0 ? lines_left : 0
                        : lines_left > 0 ? depth_left
                                         : 0;
  const int64 row = by_depth ? depth : lines;
  const real* at = from + (by_depth ? first + across : d0 + across) * row;
  at += by_depth ? d0 + along : first + along;
#pragma unroll
  for (int r = 0; r < ROWS; r += STEP, at += STEP * row) {
    tile[by_depth ? d : d + r][by_depth ? line + r : line] = r < rows_left ? *at : 0;
  }
}

// Arguments as in rung 1, but for the order of the operands, which is compiled in: A_BY_DEPTH and
// B_BY_DEPTH say whether the depths of an operand lie side by side in memory. C is (splits, models,
// rows, columns), depth_of_split a multiple of DEPTH.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) product_tiled(
    const real* A, const real* B, real* C, int64 rows, int64 columns, int64 depth, int64 A_models,
    int64 B_models, int64 C_models, const real* bias, int64 bias_models, const real* y, real slope,
    int models, int64 depth_of_split) {
  __shared__ __align__(16) real A_tile[DEPTH][TILE + 4];
  __shared__ __align__(16) real B_tile[DEPTH][TILE + 4];
  const int64 first_row = (int64)blockIdx.x * TILE, first_column = (int64)blockIdx.y * TILE;
  const int model = blockIdx.z % models, split = blockIdx.z / models;
  const int64 begin = split * depth_of_split, end = min(depth, begin + depth_of_split);
  const int row = threadIdx.x / (TILE / COLUMNS) * ROWS;
  const int column = threadIdx.x % (TILE / COLUMNS) * COLUMNS;
  A += model * A_models;
  B += model * B_models;

  real sums[ROWS][COLUMNS] = {};
  for (int64 d0 = begin; d0 < end; d0 += DEPTH) {
    load<A_BY_DEPTH>(A_tile, A, first_row, rows, d0, end, depth);
    load<B_BY_DEPTH>(B_tile, B, first_column, columns, d0, end, depth);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
      real a[ROWS], b[COLUMNS];
#pragma unroll
      for (int r = 0; r < ROWS; ++r) a[r] = A_tile[d][row + r];
#pragma unroll
      for (int c = 0; c < COLUMNS; ++c) b[c] = B_tile[d][column + c];
#pragma unroll
      for (int r = 0; r < ROWS; ++r)
#pragma unroll
        for (int c = 0; c < COLUMNS; ++c) sums[r][c] += a[r] * b[c];
    }
    __syncthreads();
  }

  const real* model_bias = bias ? bias + model * bias_models : nullptr;
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
#pragma unroll
    for (int c = 0; c < COLUMNS; ++c) {
      const int64 i = first_row + row + r, j = first_column + column + c;
      if (i >= rows || j >= columns) continue;
      const int64 index = blockIdx.z * C_models + i * columns + j;
      C[index] = finish(sums[r][c], model_bias, j, y, index, slope);
    }
  }
}
