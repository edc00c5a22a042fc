// Rung 2 of the strided correlation and its two adjoints: tensor cores, as one matrix product with
// three ways to find the numbers of its operands.
//
//                         rows of A          columns of B   depth          A        B
//   correlate             pixels of y        K              taps · C       x        W, by column
//   correlate_adjoint_x   pixels of x        C              taps · K       y        W, by depth
//   correlate_adjoint_W   taps · C           K              pixels of y    x        y, by column
//
// What changed: the matrix of all windows of x (pixels × taps · C) is never made. A thread that
// copies a part of it to shared memory computes where that lies: 4 channels of a pixel, 16 bytes at
// a time, zeros for what lies in the padding. conv_tile.cuh multiplies.
// Why faster: 64 × 64 sums of a block read each number of an operand once for 64 multiply-adds, and
// the tensor cores of an H100 do 7 times as many of them a second as its float32 units.
// Reads and writes: a thread copies 16 numbers of A and 16 of B a step of 32, and writes its 32 sums
// once.
//
// adjoint_x: a pixel of x meets every sh-th row and every sw-th column of taps alone, those with
// p ≡ h + top and q ≡ w + left. The pixels of one residue are an image of their own, each with the
// same taps, and y is correlated with these, in reverse order, at stride 1: sh · sw products, the
// last axis of the grid, none of which multiplies a zero that the stride put in.
//
// adjoint_W: the pixels of a large batch are a deep sum for few tiles, so it is cut into parts, which
// adam.cu adds in order. The first row of tiles also adds up the columns of B, which is the gradient
// of a bias.
//
// correlate: its depth is cut where its tiles would leave multiprocessors idle. The last block of a
// tile to arrive adds the parts in order and finishes them.
//
// The geometry is compiled in: H, W, C, OH, OW, K, KH, KW, SH, SW, TOP, LEFT as in geometry.py.
// ALIGNED: all arrays begin at multiples of 16 bytes.

#include "conv_tile.cuh"
#include "last_block.cuh"

// Numbers that are copied at once, of arrays whose channels lie side by side.
__host__ __device__ constexpr int vector_of(int channels) {
  return ALIGNED && channels % 4 == 0 ? 4 : 1;
}

// Columns of a tile, and its rows.
__host__ __device__ constexpr int columns_of(int channels) { return channels <= 32 ? 32 : 64; }
__host__ __device__ constexpr int rows_of(int channels) { return channels <= 32 ? 128 : 64; }

// A tap of a window, and a channel.
struct Tap {
  int p, q, channel;
};

// The taps of a window in the order of memory: rows, columns, channels.
template <int CHANNELS>
struct Taps {
  int down, across;

  __device__ __forceinline__ Tap at(int index) const {
    const int tap = index / CHANNELS, safe = max(across, 1);  // a residue may have no taps
    return {tap / safe, tap % safe, index % CHANNELS};
  }

  // The tap one step of the depth on.
  __device__ __forceinline__ void next(Tap& tap) const {
    tap.q += DEPTH / CHANNELS;
    if (DEPTH % CHANNELS) {
      tap.channel += DEPTH % CHANNELS;
      if (tap.channel >= CHANNELS) tap.channel -= CHANNELS, ++tap.q;
    }
    if (DEPTH <= CHANNELS) {
      if (tap.q == across) tap.q = 0, ++tap.p;
    } else {
      while (tap.q >= across) tap.q -= across, ++tap.p;
    }
  }
};

// A window of images (HEIGHT, WIDTH, CHANNELS): where it begins, which may lie in the padding. The
// matrix windows × taps is an operand.
template <int HEIGHT, int WIDTH, int CHANNELS>
struct Window {
  const float* first;
  int row, column;

  // The window at a pixel of image n; none at all for n < 0, with zeros for every tap.
  static __device__ __forceinline__ Window at(const float* x, int n, int row, int column) {
    if (n < 0) return {x, -(1 << 30), 0};
    const int pixel = row * WIDTH + column;
    return {x + n * (int64)(HEIGHT * WIDTH * CHANNELS) + pixel * CHANNELS, row, column};
  }

  // Copy a tap, zeros where it lies in the padding or is none; `offset` is that of the tap.
  template <int VECTOR>
  __device__ __forceinline__ void copy(float* to, Tap tap, int offset, bool is) const {
    const bool inside = is && (unsigned)(row + tap.p) < (unsigned)HEIGHT &&
                        (unsigned)(column + tap.q) < (unsigned)WIDTH;
    async_copy_or_zero<4 * VECTOR>(to, first + offset, inside);
  }

  // Where a tap lies in memory, from the first one.
  static __device__ __forceinline__ int offset(Tap tap) {
    return (tap.p * WIDTH + tap.q) * CHANNELS + tap.channel;
  }
};
typedef Window<H, W, C> WindowOfX;
typedef Window<OH, OW, K> WindowOfY;

// The windows of a thread's copies, which are kept in registers unless they are too many.
template <class Of, class TileA>
struct OwnWindows {
  const Of* table;
  Of own[TileA::VECTOR == 4 ? TileA::EACH : 1];

  __device__ __forceinline__ explicit OwnWindows(const Of* of_tile) : table(of_tile) {
    if constexpr (TileA::VECTOR == 4) {
#pragma unroll
      for (int i = 0; i < TileA::EACH; ++i) own[i] = table[TileA::across() + i * TileA::APART];
    }
  }
  __device__ __forceinline__ Of operator[](int i) const {
    return TileA::VECTOR == 4 ? own[i] : table[TileA::across() + i * TileA::APART];
  }
};

// The window of x that makes a pixel of y (N, OH, OW).
__device__ __forceinline__ WindowOfX window_of(const float* x, unsigned pixel, unsigned pixels) {
  const int n = pixel < pixels ? (int)(pixel / (OH * OW)) : -1;
  const int of_image = pixel % (OH * OW);
  return WindowOfX::at(x, n, of_image / OW * SH - TOP, of_image % OW * SW - LEFT);
}

// Write numbers that lie side by side, of a row of `width`, finished.
template <int width, int SIDE>
__device__ __forceinline__ void write(
    float* out, int64 row, int column, const float (&numbers)[SIDE], const float* bias,
    const float* y_below, float slope) {
  constexpr int VECTOR = vector_of(width) < SIDE ? vector_of(width) : SIDE;
#pragma unroll
  for (int i = 0; i < SIDE; i += VECTOR) {
    if (column + i >= width) break;
    const int64 index = row * width + column + i;
    float done[VECTOR];
#pragma unroll
    for (int v = 0; v < VECTOR; ++v)
      done[v] = finish(numbers[i + v], bias, column + i + v, y_below, index + v, slope);
    if constexpr (VECTOR == 4) {
      store(out + index, done[0], done[1], done[2], done[3]);
    } else if constexpr (VECTOR == 2) {
      reinterpret_cast<float2&>(out[index]) = make_float2(done[0], done[1]);
    } else {
      out[index] = done[0];
    }
  }
}

// Add what lies side by side in a row of `width` to numbers.
template <int width, int SIDE>
__device__ __forceinline__ void add(
    float (&numbers)[SIDE], const float* part, int64 row, int column) {
  constexpr int VECTOR = vector_of(width) < SIDE ? vector_of(width) : SIDE;
#pragma unroll
  for (int i = 0; i < SIDE; i += VECTOR) {
    if (column + i >= width) break;
    const float* from = part + row * width + column + i;
    if constexpr (VECTOR == 4) {
      const float4 four = reinterpret_cast<const float4&>(*from);
      numbers[i] += four.x, numbers[i + 1] += four.y;
      numbers[i + 2] += four.z, numbers[i + 3] += four.w;
    } else {
#pragma unroll
      for (int v = 0; v < VECTOR; ++v) numbers[i + v] += from[v];
    }
  }
}

// out (models, N, OH, OW, K). grid (⌈pixels/64⌉, ⌈K/columns⌉, splits · models); depth_of_split is a
// multiple of DEPTH. With several splits: parts (splits, models, N, OH, OW, K), and `arrived`, a 0
// for each tile of each model.
extern "C" __global__ void __launch_bounds__(THREADS, 4) correlate_mma(
    const float* x, const float* weights, float* out, int N, int64 x_models, int64 W_models,
    const float* bias, int64 bias_models, const float* y_below, float slope, float* parts,
    unsigned* arrived, int models, int depth_of_split) {
  typedef Tile<rows_of(K), true, vector_of(C)> TileA;
  typedef Tile<columns_of(K), false, vector_of(K)> TileB;
  extern __shared__ __align__(16) float tiles[];
  __shared__ WindowOfX windows[TileA::LINES];
  const int pixels = N * OH * OW, first_pixel = blockIdx.x * TileA::LINES;
  const int first_column = blockIdx.y * TileB::LINES, column = first_column + TileB::along();
  const int model = blockIdx.z % models, split = blockIdx.z / models;
  const int begin = split * depth_of_split, end = min(KH * KW * C, begin + depth_of_split);
  x += model * x_models;
  if (threadIdx.x < TileA::LINES)
    windows[threadIdx.x] = window_of(x, first_pixel + threadIdx.x, pixels);
  __syncthreads();

  const OwnWindows<WindowOfX, TileA> A(windows);
  const Taps<C> taps = {KH, KW};
  Tap tap = taps.at(begin + TileA::along());
  int depth = begin + TileB::across();
  const float* B = weights + model * W_models + (int64)depth * K + column;
  Product<TileA, TileB> product;
  product.add(
      tiles, (end - begin + DEPTH - 1) / DEPTH,
      [&](float* to_A, float* to_B) {
        const int offset = WindowOfX::offset(tap);
        const bool is = tap.p < KH;
        TileA::fill(to_A, [&](float* to, int i) {
          A[i].template copy<TileA::VECTOR>(to, tap, offset, is);
        });
        TileB::fill(to_B, [&](float* to, int i) {
          const bool inside = depth + i * TileB::APART < end && column < K;
          async_copy_or_zero<4 * TileB::VECTOR>(to, B + i * TileB::APART * K, inside);
        });
        taps.next(tap);
        depth += DEPTH, B += DEPTH * K;
      },
      [](const float*) {});

  const int64 first_row = model * (int64)pixels + first_pixel;  // of the tile in a part
  const auto write_to = [&](float* to, const float* bias_of, const float* below, float times) {
    product.for_each([&](int row, int of_tile, auto& numbers) {
      if (first_pixel + row >= pixels) return;
      write<K>(to, first_row + row, first_column + of_tile, numbers, bias_of, below, times);
    });
  };
  if (parts) {
    const int splits = gridDim.z / models;
    const int64 part = (int64)models * pixels * K;
    write_to(parts + split * part, nullptr, nullptr, 1.0f);
    const int tile = (model * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    if (!arrives_last(arrived + tile, splits)) return;
    product.clear();
#pragma unroll 1
    for (int s = 0; s < splits; ++s, parts += part)
      product.for_each([&](int row, int of_tile, auto& numbers) {
        if (first_pixel + row < pixels)
          add<K>(numbers, parts, first_row + row, first_column + of_tile);
      });
  }
  write_to(out, bias ? bias + model * bias_models : nullptr, y_below, slope);
}

// grid (⌈pixels of the largest residue/64⌉, ⌈C/columns⌉, SH · SW · models).
extern "C" __global__ void __launch_bounds__(THREADS, 4) correlate_adjoint_x_mma(
    const float* y, const float* weights, float* out, int N, int64 y_models, int64 W_models,
    const float* bias, int64 bias_models, const float* y_below, float slope, int models) {
  typedef Tile<rows_of(C), true, vector_of(K)> TileA;
  typedef Tile<columns_of(C), true, vector_of(K)> TileB;
  extern __shared__ __align__(16) float tiles[];
  __shared__ WindowOfY windows[TileA::LINES];
  __shared__ int64 out_rows[TileA::LINES];
  // The residue has pixels (h + SH u, w + SW v), taps (p + SH t, q + SW s), and i = i_first + u − t.
  const int model = blockIdx.z % models, residue = blockIdx.z / models;
  const int h = residue / SW, w = residue % SW, p = (h + TOP) % SH, q = (w + LEFT) % SW;
  const int height = (H - h + SH - 1) / SH, width = (W - w + SW - 1) / SW;
  const int pixels = h < H && w < W ? N * height * width : 0,
            first_pixel = blockIdx.x * TileA::LINES;
  const int first_column = blockIdx.y * TileB::LINES;
  if (first_pixel >= pixels) return;
  const Taps<K> taps = {(KH - p + SH - 1) / SH, (KW - q + SW - 1) / SW};
  const int last_p = p + SH * (taps.down - 1), last_q = q + SW * (taps.across - 1);
  if (threadIdx.x < TileA::LINES) {
    const int pixel = first_pixel + threadIdx.x, n = pixel / (height * width);
    const int u = pixel / width % height, v = pixel % width;
    const int row = (h + TOP - last_p) / SH + u, column = (w + LEFT - last_q) / SW + v;
    const bool is = pixel < pixels;
    windows[threadIdx.x] = WindowOfY::at(y + model * y_models, is ? n : -1, row, column);
    out_rows[threadIdx.x] = is ? (((int64)model * N + n) * H + h + SH * u) * W + w + SW * v : -1;
  }
  __syncthreads();

  const OwnWindows<WindowOfY, TileA> A(windows);
  const int first_of_thread = first_column + TileB::across();
  const float* B = weights + model * W_models + (int64)first_of_thread * K;
  Tap tap = taps.at(TileA::along());
  const int depth = taps.down * taps.across * K;
  Product<TileA, TileB> product;
  product.add(
      tiles, (depth + DEPTH - 1) / DEPTH,
      [&](float* to_A, float* to_B) {
        const int offset = WindowOfY::offset(tap);
        const bool is = tap.p < taps.down;
        TileA::fill(to_A, [&](float* to, int i) {
          A[i].template copy<TileA::VECTOR>(to, tap, offset, is);
        });
        const int of_W = (last_p - SH * tap.p) * KW + last_q - SW * tap.q;
        const float* from = B + (of_W * C * K + tap.channel);
        TileB::fill(to_B, [&](float* to, int i) {
          const bool inside = is && first_of_thread + i * TileB::APART < C;
          async_copy_or_zero<4 * TileB::VECTOR>(to, from + i * TileB::APART * K, inside);
        });
        taps.next(tap);
      },
      [](const float*) {});

  const float* model_bias = bias ? bias + model * bias_models : nullptr;
  product.for_each([&](int row, int of_tile, const auto& numbers) {
    if (out_rows[row] < 0) return;
    write<C>(out, out_rows[row], first_column + of_tile, numbers, model_bias, y_below, slope);
  });
}

// out (splits, models, KH, KW, C, K), and db (splits, models, K), or null.
// grid (⌈KH · KW · C/64⌉, ⌈K/columns⌉, splits · models); depth_of_split is a multiple of DEPTH.
extern "C" __global__ void __launch_bounds__(THREADS, 4) correlate_adjoint_W_mma(
    const float* x, const float* y, float* out, float* db, int N, int64 x_models, int64 y_models,
    int models, int depth_of_split) {
  typedef Tile<rows_of(K), false, vector_of(C)> TileA;
  typedef Tile<columns_of(K), false, vector_of(K)> TileB;
  constexpr int TAPS = KH * KW * C;
  extern __shared__ __align__(16) float tiles[];
  __shared__ WindowOfX windows[4][DEPTH];  // of the steps to come
  const int first_row = blockIdx.x * TileA::LINES;
  const int first_column = blockIdx.y * TileB::LINES, column = first_column + TileB::along();
  const int model = blockIdx.z % models, split = blockIdx.z / models;
  const int pixels = N * OH * OW, begin = split * depth_of_split;
  const int end = min(pixels, begin + depth_of_split);
  x += model * x_models;
  if (threadIdx.x < 2 * DEPTH) {
    windows[threadIdx.x / DEPTH][threadIdx.x % DEPTH] = window_of(x, begin + threadIdx.x, pixels);
  }
  __syncthreads();

  const Tap tap = Taps<C>{KH, KW}.at(first_row + TileA::along());
  const int offset = WindowOfX::offset(tap), steps = (end - begin + DEPTH - 1) / DEPTH;
  const float* B = y + model * y_models + (int64)(begin + TileB::across()) * K + column;
  const bool is = tap.p < KH;
  unsigned step = 0;
  int left = end - begin - TileB::across();
  float column_sum = 0;
  const bool add_columns = db && blockIdx.x == 0;
  Product<TileA, TileB> product;
  product.add(
      tiles, steps,
      [&](float* to_A, float* to_B) {
        const OwnWindows<WindowOfX, TileA> A(windows[step % 4]);
        TileA::fill(to_A, [&](float* to, int i) {
          A[i].template copy<TileA::VECTOR>(to, tap, offset, is);
        });
        TileB::fill(to_B, [&](float* to, int i) {
          const bool inside = i * TileB::APART < left && column < K;
          async_copy_or_zero<4 * TileB::VECTOR>(to, B + i * TileB::APART * K, inside);
        });
        left -= DEPTH, B += DEPTH * K;
        // Two steps on there is a barrier between, and the last reads of that slot are behind one.
        if (threadIdx.x < DEPTH) {
          const int pixel = begin + (step + 2) * DEPTH + threadIdx.x;
          windows[(step + 2) % 4][threadIdx.x] = window_of(x, pixel, pixels);
        }
        ++step;
      },
      [&](const float* B_tile) {
        if (!add_columns) return;
        constexpr int APART = THREADS / TileB::LINES;
        const int line = threadIdx.x % TileB::LINES, first = threadIdx.x / TileB::LINES;
#pragma unroll 4
        for (int d = 0; d < DEPTH; d += APART) {
          column_sum += B_tile[(d + first) * TileB::PITCH + line];
        }
      });

  product.for_each([&](int row, int of_tile, const auto& numbers) {
    if (first_row + row >= TAPS) return;
    const int64 out_row = (int64)blockIdx.z * TAPS + first_row + row;
    write<K>(out, out_row, first_column + of_tile, numbers, nullptr, nullptr, 1.0f);
  });
  if (!add_columns) return;
  __syncthreads();
  tiles[threadIdx.x] = column_sum;
  __syncthreads();
  const int k = first_column + threadIdx.x;
  if (threadIdx.x >= TileB::LINES || k >= K) return;
  for (int i = TileB::LINES; i < THREADS; i += TileB::LINES) column_sum += tiles[threadIdx.x + i];
  db[(int64)blockIdx.z * K + k] = column_sum;
}
