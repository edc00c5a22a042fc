// Rung 1 of the strided correlation and its two adjoints: one thread, one number of the result.
//
//   correlate            y[n,i,j,k] = Σ_{p,q,c} x[n, i·sh+p−top, j·sw+q−left, c] W[p,q,c,k]
//   correlate_adjoint_x  x[n,h,w,c] = Σ_{p,q,k} y[n, (h+top−p)/sh, (w+left−q)/sw, k] W[p,q,c,k]
//   correlate_adjoint_W  W[p,q,c,k] = Σ_{n,i,j} x[n, i·sh+p−top, j·sw+q−left, c] y[n,i,j,k]
//
// x (N, H, W, C), y (N, OH, OW, K), weights (kh, kw, C, K), channels side by side. Pixels outside of
// an image are zero, and so is y between its rows and columns, where a division has a remainder.
// Sums end in `finish` of network.cuh, those of weights as they are.
//
// The threads of a warp have neighbouring channels of one pixel, or of one tap. Each reads two
// numbers from global memory for every multiply-add and writes one: the kernel is as slow as the
// caches. The geometry is a list of arguments, so that one compiled kernel takes all of them; the
// last axis of the grid is the model.

#include "network.cuh"

// The number of the thread, among those of its model.
__device__ __forceinline__ int64 own_index() {
  return (int64)blockIdx.x * blockDim.x + threadIdx.x;
}

// Whether i is one of 0 … length − 1.
__device__ __forceinline__ bool inside(int i, int length) { return i >= 0 && i < length; }

extern "C" __global__ void correlate_naive(
    const real* x, const real* weights, real* out, int64 N, int H, int W, int C, int OH, int OW,
    int K, int kh, int kw, int sh, int sw, int top, int left, int64 x_models, int64 W_models,
    const real* bias, int64 bias_models, const real* y_below, real slope) {
  const int64 elements = N * OH * OW * K, element = own_index(), model = blockIdx.z;
  if (element >= elements) return;
  const int k = element % K, j = element / K % OW, i = element / K / OW % OH;
  const int64 n = element / K / OW / OH;
  x += model * x_models + n * H * W * C;
  weights += model * W_models + k;
  real sum = 0;
  for (int p = 0; p < kh; ++p) {
    for (int q = 0; q < kw; ++q) {
      const int h = i * sh + p - top, w = j * sw + q - left;
      if (!inside(h, H) || !inside(w, W)) continue;
      const real* pixel = x + ((int64)h * W + w) * C;
      const real* tap = weights + (int64)(p * kw + q) * C * K;
      for (int c = 0; c < C; ++c) sum += pixel[c] * tap[(int64)c * K];
    }
  }
  const int64 index = model * elements + element;
  const real* model_bias = bias ? bias + model * bias_models : nullptr;
  out[index] = finish(sum, model_bias, k, y_below, index, slope);
}

extern "C" __global__ void correlate_adjoint_x_naive(
    const real* y, const real* weights, real* out, int64 N, int H, int W, int C, int OH, int OW,
    int K, int kh, int kw, int sh, int sw, int top, int left, int64 y_models, int64 W_models,
    const real* bias, int64 bias_models, const real* y_below, real slope) {
  const int64 elements = N * H * W * C, element = own_index(), model = blockIdx.z;
  if (element >= elements) return;
  const int c = element % C, w = element / C % W, h = element / C / W % H;
  const int64 n = element / C / W / H;
  y += model * y_models + n * OH * OW * K;
  weights += model * W_models + (int64)c * K;
  real sum = 0;
  for (int p = 0; p < kh; ++p) {
    for (int q = 0; q < kw; ++q) {
      const int i = (h + top - p) / sh, j = (w + left - q) / sw;
      if (i * sh + p != h + top || j * sw + q != w + left) continue;
      if (!inside(i, OH) || !inside(j, OW)) continue;
      const real* pixel = y + ((int64)i * OW + j) * K;
      const real* tap = weights + (int64)(p * kw + q) * C * K;
      for (int k = 0; k < K; ++k) sum += pixel[k] * tap[k];
    }
  }
  const int64 index = model * elements + element;
  const real* model_bias = bias ? bias + model * bias_models : nullptr;
  out[index] = finish(sum, model_bias, c, y_below, index, slope);
}

extern "C" __global__ void correlate_adjoint_W_naive(
    const real* x, const real* y, real* out, int64 N, int H, int W, int C, int OH, int OW, int K,
    int kh, int kw, int sh, int sw, int top, int left, int64 x_models, int64 y_models) {
  const int64 elements = (int64)kh * kw * C * K, element = own_index(), model = blockIdx.z;
  if (element >= elements) return;
  const int k = element % K, c = element / K % C, q = element / K / C % kw;
  const int p = element / K / C / kw;
  x += model * x_models + c;
  y += model * y_models + k;
  real sum = 0;
  for (int64 n = 0; n < N; ++n) {
    for (int i = 0; i < OH; ++i) {
      const int h = i * sh + p - top;
      if (!inside(h, H)) continue;
      for (int j = 0; j < OW; ++j) {
        const int w = j * sw + q - left;
        if (!inside(w, W)) continue;
        sum += x[((n * H + h) * W + w) * C] * y[((n * OH + i) * OW + j) * K];
      }
    }
  }
  out[model * elements + element] = sum;
}
