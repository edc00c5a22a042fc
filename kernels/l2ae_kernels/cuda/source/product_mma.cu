// Rung 3 of the dense products: tensor cores, TF32.
//
// What changed: a warp multiplies 16 × 8 of A by 8 × 8 of B in one instruction (mma.sync), whose
// numbers have 8 bits of exponent and 10 of mantissa; sums are float32. Each warp of the block's
// four keeps 32 × 32 sums. Steps of 32 deep are copied to shared memory by cp.async, two steps
// ahead of the one that is multiplied: one barrier a step, and no register holds what is on its way.
// Why faster: the tensor cores of an H100 do 7 times as many multiply-adds a second as its float32
// units, no thread waits for global memory, and every access to shared memory is of 16 bytes.
// Reads and writes: a thread copies 16 numbers of A and 16 of B a step, four at a time if VECTOR,
// zeros past the edges; it reads 8 + 8 numbers in four instructions for 8 products (24 of TERMS 3),
// and writes its 32 sums in runs that lie side by side.
//
// TERMS 1 rounds both operands to TF32: a product is off by up to 2.5 · 2^-11 of itself.
// TERMS 3 splits each number x into big + small, and adds big·small + small·big + big·big: a product
// is off by up to 7 · 2^-22 of itself, for three times the work (mma.cuh has the parts).
// What is not finite stays so, but infinity − infinity makes it NaN.
//
// Tiles lie in shared memory as the operand lies in global memory, so that copying needs no
// transposition. A warp's 32 lines of an operand (rows of A, columns of B) are four parts of 8, and
// a lane holds depths lane % 4 and lane % 4 + 4 of one line of each part:
//
//   by depth    part p has lines 8 p …; ldmatrix, of rows of 32 + 4 numbers
//   by lines    part p has lines p, 16 + p, 4 + p, 20 + p …: the lane's four lie side by side, 16
//               bytes; rows of 64 + 4 numbers
//
// Either way the eight 16-byte words that are read together fall into 32 different banks, and the
// four lanes that share a row of C write 32 bytes or 64 of it together.

#include "async_copy.cuh"
#include "mma.cuh"
#include "network.cuh"

constexpr int TILE = 64;
constexpr int DEPTH = 32;
constexpr int STAGES = 3;
constexpr int THREADS = 128;
constexpr int BLOCKS = 4;              // on a multiprocessor: 128 registers a thread, 54 KB a block
constexpr int WIDTH = VECTOR ? 4 : 1;  // numbers of a copy: 4 if all rows start at 16 bytes

// One operand's tile of TILE lines by DEPTH, and the thread's part in copying it.
template <bool by_depth>
struct Operand {
  static constexpr int ROW = by_depth ? DEPTH : TILE;
  static constexpr int ROWS = by_depth ? TILE : DEPTH;
  static constexpr int PITCH = ROW + 4;
  static constexpr int SIZE = ROWS * PITCH;
  static constexpr int STEP = THREADS * WIDTH / ROW;  // rows that the block copies at a time

  const float* from;  // what the thread copies next: numbers `row` apart, every STEP-th
  int64 row;
  int lines_left;  // from the thread's first line on
  int depth_at;    // of the thread's first number, in a step

  __device__ __forceinline__
  Operand(const float* operand, int64 first, int64 lines, int64 begin, int64 depth)
      : row(by_depth ? depth : lines) {
    const int across = threadIdx.x / (ROW / WIDTH), along = threadIdx.x % (ROW / WIDTH) * WIDTH;
    const int line = by_depth ? across : along;
    depth_at = by_depth ? along : across;
    lines_left = (int)min(lines - first - line, (int64)TILE);
    const int64 l = first + line, d = begin + depth_at;
    from = operand + (by_depth ? l * depth + d : d * lines + l);
  }

  // Copy the next step to a tile; depth_left: how much of the sum is left, at least.
  __device__ __forceinline__ void copy(float* tile, int depth_left) {
    depth_left -= depth_at;
    const int rows_left = by_depth         ? depth_left > 0 ? lines_left : 0
                          : lines_left > 0 ? depth_left
                                           : 0;
    float* to = tile + threadIdx.x / (ROW / WIDTH) * PITCH + threadIdx.x % (ROW / WIDTH) * WIDTH;
    const float* at = from;
#pragma unroll
    for (int r = 0; r < ROWS; r += STEP, at += STEP * row) {
      async_copy_or_zero<4 * WIDTH>(to + r * PITCH, at, r < rows_left);
    }
    from += by_depth ? DEPTH : DEPTH * row;
  }

  // Which of a warp's 32 lines a part has at `place`.
  static __device__ __forceinline__ int line(int part, int place) {
    return by_depth ? 8 * part + place : 16 * (place % 2) + 4 * (place / 2) + part;
  }

  // Where the lane reads in a tile, for the 32 lines of its warp from `first` on.
  static __device__ __forceinline__ int start(int first) {
    const int lane = threadIdx.x % 32;
    if (!by_depth) return lane % 4 * PITCH + first + line(0, lane / 4);
    const mma::Cell at = mma::address_b(lane);
    return (first + at.column) * PITCH + at.row;
  }

  // The lane's number of each part, for 8 depths: lane % 4, and that + 4.
  static __device__ __forceinline__ void load(unsigned (&part)[4][2], const float* start) {
    if constexpr (by_depth) {
      mma::load_b(part[0], part[1], start);
      mma::load_b(part[2], part[3], start + 16 * PITCH);
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint4 four = mma::load_four(start + 4 * half * PITCH);
        part[0][half] = four.x;
        part[1][half] = four.y;
        part[2][half] = four.z;
        part[3][half] = four.w;
      }
    }
  }
  static constexpr int NEXT = by_depth ? 8 : 8 * PITCH;  // 8 depths on
};

typedef Operand<A_BY_DEPTH> OperandA;
typedef Operand<B_BY_DEPTH> OperandB;

// To what the tensor core takes: TF32, and of three terms what is left.
__device__ __forceinline__ void split(unsigned (&part)[4][2], unsigned (&small)[4][2]) {
#pragma unroll
  for (int p = 0; p < 4; ++p)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float x = __uint_as_float(part[p][half]);
      const mma::Parts parts = mma::split(x);
      part[p][half] = TERMS == 3 ? parts.big : mma::near_tf32(x);
      small[p][half] = parts.small;
    }
}

// Add the products of one step to the warp's 32 × 32 sums, as 2 × 4 fragments of 16 × 8, of which
// each lane has a few cells. A fragment of A has two parts of 8 rows.
__device__ __forceinline__ void multiply(
    float (&sums)[2][4][4], const float* A_start, const float* B_start) {
#pragma unroll
  for (int step = 0; step < DEPTH / 8; ++step) {
    unsigned a[4][2], a_small[4][2], b[4][2], b_small[4][2];
    OperandA::load(a, A_start + step * OperandA::NEXT);
    OperandB::load(b, B_start + step * OperandB::NEXT);
    split(a, a_small);
    split(b, b_small);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const unsigned (&upper)[2] = a[2 * r], (&lower)[2] = a[2 * r + 1];
      const unsigned fragment[4] = {upper[0], lower[0], upper[1], lower[1]};
      const unsigned small[4] = {
          a_small[2 * r][0], a_small[2 * r + 1][0], a_small[2 * r][1], a_small[2 * r + 1][1]};
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (TERMS == 3) {  // the small ones first
          mma::tf32(sums[r][c], small, b[c]);
          mma::tf32(sums[r][c], fragment, b_small[c]);
        }
        mma::tf32(sums[r][c], fragment, b[c]);
      }
    }
  }
}

// Of a row of the warp's 32 columns a lane has 8, in runs that lie side by side.
constexpr int RUN = B_BY_DEPTH ? 2 : 4;
__device__ __forceinline__ int run_start(int run, int member) {
  return B_BY_DEPTH ? 8 * run + 2 * member : 16 * run + 4 * member;
}

// Write a run, in one access if VECTOR (__stcg: of a plain one the compiler may make several).
__device__ __forceinline__ void write_run(float* to, const float (&values)[RUN], int64 left) {
  if constexpr (!VECTOR) {
#pragma unroll
    for (int e = 0; e < RUN; ++e) {
      if (e < left) to[e] = values[e];
    }
  } else if constexpr (RUN == 2) {
    __stcg(reinterpret_cast<float2*>(to), make_float2(values[0], values[1]));
  } else {
    const float4 four = make_float4(values[0], values[1], values[2], values[3]);
    __stcg(reinterpret_cast<float4*>(to), four);
  }
}

// Arguments and grid as in rung 2; shared memory for STAGES tiles of each operand.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) product_mma(
    const float* A, const float* B, float* C, int64 rows, int64 columns, int64 depth,
    int64 A_models, int64 B_models, int64 C_models, const float* bias, int64 bias_models,
    const float* y, float slope, int models, int64 depth_of_split) {
  constexpr int STAGE = OperandA::SIZE + OperandB::SIZE;
  extern __shared__ __align__(16) float tiles[];  // (STAGES, STAGE)
  const int64 first_row = (int64)blockIdx.x * TILE, first_column = (int64)blockIdx.y * TILE;
  const int model = blockIdx.z % models, split = blockIdx.z / models;
  const int64 begin = split * depth_of_split, end = min(depth, begin + depth_of_split);
  const int warp = threadIdx.x / 32, row = warp / 2 * 32, column = warp % 2 * 32;
  OperandA next_A(A + model * A_models, first_row, rows, begin, depth);
  OperandB next_B(B + model * B_models, first_column, columns, begin, depth);
  const int A_start = OperandA::start(row), B_start = OperandA::SIZE + OperandB::start(column);

  float sums[2][4][4] = {};
  int left = (int)(end - begin);  // of the depth, not yet copied
  auto copy = [&](int stage) {
    if (left > 0) {
      next_A.copy(tiles + stage * STAGE, left);
      next_B.copy(tiles + stage * STAGE + OperandA::SIZE, left);
      left -= DEPTH;
    }
    async_commit();
  };
  for (int stage = 0; stage < STAGES - 1; ++stage) copy(stage);
  int stage = 0, free = STAGES - 1;
  for (int steps = (int)((end - begin + DEPTH - 1) / DEPTH); steps > 0; --steps) {
    async_wait<STAGES - 2>();
    __syncthreads();  // the stage has arrived, and the free one has been read
    copy(free);
    multiply(sums, tiles + stage * STAGE + A_start, tiles + stage * STAGE + B_start);
    free = stage;
    stage = stage == STAGES - 1 ? 0 : stage + 1;
  }

  const float* model_bias = bias ? bias + model * bias_models : nullptr;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int part = 0; part < 4; ++part) {
    const int64 i = first_row + row + OperandA::line(part, lane / 4);
    if (i >= rows) continue;
#pragma unroll
    for (int run = 0; run < 8 / RUN; ++run) {
      const int64 j = first_column + column + run_start(run, lane % 4);
      const int64 index = blockIdx.z * C_models + i * columns + j;
      if (j >= columns) continue;
      float values[RUN];
#pragma unroll
      for (int e = 0; e < RUN; ++e) {
        const int c = B_BY_DEPTH ? run : e, side = B_BY_DEPTH ? e : run;
        const float sum = sums[part / 2][c][part % 2 * 2 + side];
        if (VECTOR || j + e < columns)
          values[e] = finish(sum, model_bias, j + e, y, index + e, slope);
      }
      write_run(C + index, values, columns - j);
    }
  }
}
