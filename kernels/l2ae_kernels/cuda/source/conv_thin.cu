// Correlations of images with one channel and their adjoints, in float32: C = 1.
//
//   correlate            y[i,j,k] = Σ_{p,q} x[i·SH+p−TOP, j·SW+q−LEFT] W[p,q,k]
//   correlate_adjoint_x  x[h,w] = Σ_{p,q} t[(h+TOP−p)/SH, (w+LEFT−q)/SW][p,q]
//                        where t[i,j][p,q] = Σ_k y[i,j,k] W[p,q,k]
//   correlate_adjoint_W  W[p,q,k] = Σ_{n,i,j} x[n, i·SH+p−TOP, j·SW+q−LEFT] y[n,i,j,k]
//
// What changed: nothing is left of a tile of a matrix product if a pixel has one channel, so the
// threads of a block share rows of an image instead, in shared memory, with zeros around them.
// Why faster: y is read or written once, 16 bytes at a time, x and W come from shared memory, and
// each number from there is used for 4 multiply-adds or more. A multiply-add of 40 million takes an
// H100 as long as the 6 MB of y.
//
// The geometry is compiled in as in conv_mma.cu, without C. ROWS: rows of y of a block (of x for
// adjoint_x), as many as fit. ALIGNED: all arrays begin at multiples of 16 bytes.

#include "network.cuh"
#include "warp.cuh"

constexpr int THREADS = 256;
constexpr int GROUPS = (K + 3) / 4;  // of four channels
constexpr int TAPS = KH * KW;
constexpr bool WHOLE = ALIGNED && K % 4 == 0;

// Four channels of a pixel, from k on; zeros behind the last one.
__device__ __forceinline__ float4 load_four(const float* pixel, int k) {
  if (WHOLE) return reinterpret_cast<const float4&>(pixel[k]);
  return make_float4(
      pixel[k], k + 1 < K ? pixel[k + 1] : 0, k + 2 < K ? pixel[k + 2] : 0,
      k + 3 < K ? pixel[k + 3] : 0);
}

// Copy W (TAPS, K) to shared memory, the channels of a tap in whole groups.
__device__ __forceinline__ void load_weights(float4 (&shared)[TAPS][GROUPS], const float* weights) {
  for (int i = threadIdx.x; i < TAPS * GROUPS; i += THREADS) {
    const int tap = i / GROUPS, group = i % GROUPS;
    shared[tap][group] = load_four(weights + tap * K, 4 * group);
  }
}

// Copy the part of an image (H, W) that begins at a row and column, zeros outside.
template <int DOWN, int ACROSS>
__device__ __forceinline__ void load_image(
    float (&shared)[DOWN][ACROSS], const float* image, int row, int column) {
  for (int i = threadIdx.x; i < DOWN * ACROSS; i += THREADS) {
    const int h = row + i / ACROSS, w = column + i % ACROSS;
    shared[i / ACROSS][i % ACROSS] = h >= 0 && h < H && w >= 0 && w < W ? image[h * W + w] : 0;
  }
}

// A thread makes 4 channels of 4 pixels that lie side by side, from 4 numbers of W for each tap and
// the piece of x that the pixels see together. Threads side by side have channels side by side.
// out (models, N, OH, OW, K). grid (N, ⌈OH/ROWS⌉, models).
extern "C" __global__ void __launch_bounds__(THREADS, 2) correlate_thin(
    const float* x, const float* weights, float* out, int64 x_models, int64 W_models,
    const float* bias, int64 bias_models, const float* y_below, float slope) {
  constexpr int PIXELS = 4, RUNS = (OW + PIXELS - 1) / PIXELS;
  __shared__ float image[(ROWS - 1) * SH + KH][(RUNS * PIXELS - 1) * SW + KW];
  __shared__ float4 taps[TAPS][GROUPS];
  const int first_row = blockIdx.y * ROWS;
  const int64 n = blockIdx.z * (int64)gridDim.x + blockIdx.x;  // among all models' outputs
  load_image(
      image, x + blockIdx.z * x_models + blockIdx.x * (int64)(H * W), first_row * SH - TOP, -LEFT);
  load_weights(taps, weights + blockIdx.z * W_models);
  __syncthreads();
  const float* model_bias = bias ? bias + blockIdx.z * bias_models : nullptr;
  for (int item = threadIdx.x; item < ROWS * RUNS * GROUPS; item += THREADS) {
    const int group = item % GROUPS, j = item / GROUPS % RUNS * PIXELS, i = item / GROUPS / RUNS;
    float sums[PIXELS][4] = {};
#pragma unroll 1
    for (int p = 0; p < KH; ++p) {
      float seen[(PIXELS - 1) * SW + KW];
#pragma unroll
      for (int s = 0; s < (PIXELS - 1) * SW + KW; ++s) seen[s] = image[i * SH + p][j * SW + s];
#pragma unroll
      for (int q = 0; q < KW; ++q) {
        const float4 w = taps[p * KW + q][group];
#pragma unroll
        for (int s = 0; s < PIXELS; ++s) {
          sums[s][0] = multiply_add(seen[s * SW + q], w.x, sums[s][0]);
          sums[s][1] = multiply_add(seen[s * SW + q], w.y, sums[s][1]);
          sums[s][2] = multiply_add(seen[s * SW + q], w.z, sums[s][2]);
          sums[s][3] = multiply_add(seen[s * SW + q], w.w, sums[s][3]);
        }
      }
    }
#pragma unroll
    for (int s = 0; s < PIXELS; ++s) {
      if (first_row + i >= OH || j + s >= OW) continue;
      const int64 index = ((n * OH + first_row + i) * OW + j + s) * K + 4 * group;
#pragma unroll
      for (int v = 0; v < 4; ++v)
        if (WHOLE || 4 * group + v < K)
          sums[s][v] = finish(sums[s][v], model_bias, 4 * group + v, y_below, index + v, slope);
      if (WHOLE) {
        store(out + index, sums[s][0], sums[s][1], sums[s][2], sums[s][3]);
      } else {
#pragma unroll
        for (int v = 0; v < 4; ++v)
          if (4 * group + v < K) out[index + v] = sums[s][v];
      }
    }
  }
}

// A thread makes all taps of a pixel of y, which it reads once; then, from those, pixels of x.
// out (models, N, H, W). grid (N, ⌈H/ROWS⌉, models).
//
// With images, x is their reconstruction x̂, and what is written is the gradient that begins the way
// back, 2 (x̂ − image) factor through the activation's adjoint, and Σ (x̂ − image)² of each block, to
// errors (grid.y · N, models), float64: see loss.cu. x̂ itself is never written. Of an image that is
// absent both are 0.
extern "C" __global__ void __launch_bounds__(THREADS, 2) correlate_adjoint_x_thin(
    const float* y, const float* weights, float* out, int64 y_models, int64 W_models,
    const float* bias, int64 bias_models, const float* y_below, float slope, const float* images,
    int64 images_models, double* errors, float twice_factor, const int* counts,
    const float* twice_factors) {
  constexpr int WIDEST = (ROWS + KH - 2) / SH + 1;  // rows of y that ROWS rows of x meet
  constexpr int Y_ROWS = WIDEST < OH ? WIDEST : OH;
  __shared__ float products[Y_ROWS * OW][TAPS | 1];  // an odd pitch: threads meet all banks
  __shared__ float4 taps[TAPS][GROUPS];
  const int first_h = blockIdx.y * ROWS, rows = min(ROWS, H - first_h);
  const int first_i = max(first_h + TOP - KH + SH, 0) / SH;  // ⌈(first_h + TOP − (KH − 1)) / SH⌉
  const int end_i = min((first_h + rows - 1 + TOP) / SH + 1, OH);
  const int64 n = blockIdx.z * (int64)gridDim.x + blockIdx.x;
  const int64 block = (blockIdx.y * (int64)gridDim.x + blockIdx.x) * gridDim.z + blockIdx.z;
  if (counts && blockIdx.x >= counts[blockIdx.z]) {
    for (int pixel = threadIdx.x; pixel < rows * W; pixel += THREADS)
      out[(n * H + first_h) * W + pixel] = 0;
    if (threadIdx.x == 0) errors[block] = 0;
    return;
  }
  if (twice_factors) twice_factor = twice_factors[blockIdx.z];
  load_weights(taps, weights + blockIdx.z * W_models);
  __syncthreads();
  const float* first = y + blockIdx.z * y_models + (blockIdx.x * OH + first_i) * (int64)(OW * K);
  for (int pixel = threadIdx.x; pixel < (end_i - first_i) * OW; pixel += THREADS) {
    float sums[TAPS] = {};
#pragma unroll 1
    for (int group = 0; group < GROUPS; ++group) {
      const float4 four = load_four(first + (int64)pixel * K, 4 * group);
#pragma unroll
      for (int tap = 0; tap < TAPS; ++tap) {
        const float4 w = taps[tap][group];
        sums[tap] = multiply_add(four.x, w.x, sums[tap]);
        sums[tap] = multiply_add(four.y, w.y, sums[tap]);
        sums[tap] = multiply_add(four.z, w.z, sums[tap]);
        sums[tap] = multiply_add(four.w, w.w, sums[tap]);
      }
    }
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) products[pixel][tap] = sums[tap];
  }
  __syncthreads();
  const float* model_bias = bias ? bias + blockIdx.z * bias_models : nullptr;
  const float* image = images + blockIdx.z * images_models + blockIdx.x * (int64)(H * W);
  double error = 0;
  for (int pixel = threadIdx.x; pixel < rows * W; pixel += THREADS) {
    const int h = first_h + pixel / W, w = pixel % W;
    float sum = 0;
    for (int p = (h + TOP) % SH; p < KH; p += SH) {
      const int i = (h + TOP - p) / SH;
      if (h + TOP < p || i >= OH) continue;
      for (int q = (w + LEFT) % SW; q < KW; q += SW) {
        const int j = (w + LEFT - q) / SW;
        if (w + LEFT < q || j >= OW) continue;
        sum += products[(i - first_i) * OW + j][p * KW + q];
      }
    }
    const int64 index = (n * H + h) * W + w;
    float value = finish(sum, model_bias, 0, y_below, index, slope);
    if (images) {
      const float away = value - image[h * W + w], gradient = away * twice_factor;
      error += (double)away * away;
      value = value > 0 ? gradient : slope * gradient;
    }
    out[index] = value;
  }
  if (!images) return;
  error = sum_of_block<THREADS / 32>(error);
  if (threadIdx.x == 0) errors[block] = error;
}

// A thread has one row of taps, 4 channels, and every LANES-th pixel of its block's images; at the
// end, lanes are added in order. Each pixel takes one read of 16 bytes of y and KW numbers of x.
// out (parts, models, KH, KW, K), db (parts, models, K) or null. grid (parts, ⌈K/32⌉, models).
extern "C" __global__ void __launch_bounds__(THREADS, 2) correlate_adjoint_W_thin(
    const float* x, const float* y, float* out, float* db, int N, int images_of_part,
    int64 x_models, int64 y_models) {
  constexpr int OF_BLOCK = GROUPS < 8 ? GROUPS : 8;  // groups
  constexpr int LANES = THREADS / (KH * OF_BLOCK);
  __shared__ float image[(ROWS - 1) * SH + KH][(OW - 1) * SW + KW];
  __shared__ float totals[TAPS + 1][4 * OF_BLOCK];  // the last row is db
  const int group = threadIdx.x % OF_BLOCK, lane = threadIdx.x / OF_BLOCK % LANES;
  const int p = threadIdx.x / OF_BLOCK / LANES, k = 4 * (blockIdx.y * OF_BLOCK + group);
  const bool works = p < KH && k < K;
  const int begin = blockIdx.x * images_of_part, end = min(N, begin + images_of_part);
  x += blockIdx.z * x_models;
  y += blockIdx.z * y_models;
  float sums[KW][4] = {}, column[4] = {};
  for (int n = begin; n < end; ++n) {
    for (int row = 0; row < OH; row += ROWS) {
      __syncthreads();
      load_image(image, x + n * (int64)(H * W), row * SH - TOP, -LEFT);
      __syncthreads();
      const int pixels = works ? min(ROWS, OH - row) * OW : 0;
      const float* first = y + (n * OH + row) * (int64)(OW * K);
      for (int pixel = lane; pixel < pixels; pixel += LANES) {
        const float4 four = load_four(first + (int64)pixel * K, k);
        const float* seen = &image[pixel / OW * SH + p][pixel % OW * SW];
#pragma unroll
        for (int q = 0; q < KW; ++q) {
          sums[q][0] = multiply_add(seen[q], four.x, sums[q][0]);
          sums[q][1] = multiply_add(seen[q], four.y, sums[q][1]);
          sums[q][2] = multiply_add(seen[q], four.z, sums[q][2]);
          sums[q][3] = multiply_add(seen[q], four.w, sums[q][3]);
        }
        if (p == 0)
          column[0] += four.x, column[1] += four.y, column[2] += four.z, column[3] += four.w;
      }
    }
  }
  for (int l = 0; l < LANES; ++l) {
    if (works && lane == l) {
#pragma unroll
      for (int v = 0; v < 4; ++v) {
        for (int q = 0; q < KW; ++q) {
          float& total = totals[p * KW + q][4 * group + v];
          total = l ? total + sums[q][v] : sums[q][v];
        }
        float& total = totals[TAPS][4 * group + v];
        if (p == 0) total = l ? total + column[v] : column[v];
      }
    }
    __syncthreads();
  }
  const int64 part = blockIdx.x * (int64)gridDim.z + blockIdx.z;
  for (int i = threadIdx.x; i < (TAPS + 1) * 4 * OF_BLOCK; i += THREADS) {
    const int tap = i / (4 * OF_BLOCK), of_block = i % (4 * OF_BLOCK);
    const int channel = 4 * blockIdx.y * OF_BLOCK + of_block;
    if (channel >= K) continue;
    if (tap < TAPS) out[(part * TAPS + tap) * K + channel] = totals[tap][of_block];
    if (tap == TAPS && db) db[part * K + channel] = totals[tap][of_block];
  }
}
