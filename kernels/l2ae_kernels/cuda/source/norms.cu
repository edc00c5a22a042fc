// Normalizations of (rows, channels) and their adjoints: Eq. 4 and layer norm row by row, batch norm
// channel by channel.
//
//   Eq. 4    n = √(|z|² + ε²)    u = z / n    dz = (du − u⟨u, du⟩) / n
//   layer    x̂ = (x − μ)/σ, μ and σ = √(v + ε) of a row        y = leaky(γ x̂ + β)
//            dx = (dx̂ − mean(dx̂) − x̂ mean(x̂ dx̂))/σ,  dx̂ = γ dy
//   batch    x̂ = (x − μ)/σ, μ and σ of a channel                y = leaky(γ x̂ + β)
//            dx = γ (dy − (dβ + x̂ dγ)/rows)/σ
//   both     dγ = Σ x̂ dy, dβ = Σ dy, sums over rows
//
// A sum along a row is a warp's, its lanes added as a tree. A sum over rows is made in parts of
// whole rows, cut by the shape alone and added in order: equal bits in every run. Where an
// activation stands below, x is its output, and dx passes its adjoint (slope_below ≠ 1).

#include "network.cuh"
#include "warp.cuh"

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
constexpr int ROWS = 64;  // of a tile of layer_norm_adjoint

// How the threads of a block lie over up to 256 channels: side by side as the array in memory,
// several rows at once where rows are short, so that reads are side by side even for one channel.
struct Columns {
  int64 first;  // channel of the block
  int width, lanes, lane, column;
  int64 channel;
  bool mine;  // whether the thread has a row at all

  __device__ explicit Columns(int64 channels) {
    first = (int64)blockIdx.y * THREADS;
    width = (int)min((int64)THREADS, channels - first);
    lanes = THREADS / width;
    lane = threadIdx.x / width;
    column = threadIdx.x % width;
    channel = first + column;
    mine = lane < lanes;
  }

  // Σ over the lanes of a channel, in order; every thread of the block comes here.
  __device__ real sum(real value, real* lane_sums) const {
    lane_sums[threadIdx.x] = value;
    __syncthreads();
    real total = lane_sums[column];
    for (int l = 1; l < lanes; ++l) total += lane_sums[l * width + column];
    __syncthreads();
    return total;
  }
};

// Where the sums of a part begin: (2 kinds, parts, models, channels).
__device__ __forceinline__ int64 part_index(int kind, int64 part, int64 parts, int64 channels) {
  return ((kind * parts + part) * gridDim.z + blockIdx.z) * channels;
}

// z → u, n. A warp a row, which it reads twice (from the first-level cache the second time), and
// writes once: lanes side by side. grid (⌈rows/8⌉, 1, models), as of all kernels a warp a row.
extern "C" __global__ void __launch_bounds__(THREADS) l2_normalize(
    const real* z, real* u, real* lengths, int64 rows, int64 channels, int64 z_models, real eps) {
  const int lane = threadIdx.x % 32;
  const int64 row = (int64)blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= rows) return;
  z += blockIdx.z * z_models + row * channels;
  real square = 0;
  for (int64 c = lane; c < channels; c += 32) square += z[c] * z[c];
  const real n = sqrt(sum_of_warp(square) + eps * eps);
  const int64 at = blockIdx.z * rows + row;
  const real inverse = 1 / n;
  for (int64 c = lane; c < channels; c += 32) u[at * channels + c] = z[c] * inverse;
  if (lane == 0) lengths[at] = n;
}

// du → dz. u has the signs of z: where an activation stands below, u says which numbers pass.
extern "C" __global__ void __launch_bounds__(THREADS) l2_normalize_adjoint(
    const real* du, const real* u, const real* lengths, real* dz, int64 rows, int64 channels,
    real slope_below) {
  const int lane = threadIdx.x % 32;
  const int64 row = (int64)blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= rows) return;
  const int64 at = blockIdx.z * rows + row, from = at * channels;
  real along = 0;
  for (int64 c = lane; c < channels; c += 32) along += u[from + c] * du[from + c];
  along = sum_of_warp(along);
  const real inverse = 1 / lengths[at];
  for (int64 c = lane; c < channels; c += 32) {
    const real value = (du[from + c] - u[from + c] * along) * inverse;
    dz[from + c] = gated(value, u, from + c, slope_below);
  }
}

// x → y, with μ and σ of each row: three reads of a row, two of them from the first-level cache.
// gamma and beta are null where there is no affine map.
extern "C" __global__ void __launch_bounds__(THREADS) layer_norm(
    const real* x, const real* gamma, const real* beta, real* y, int64 rows, int64 channels,
    int64 x_models, int64 affine_models, real eps, real slope) {
  const int lane = threadIdx.x % 32;
  const int64 model = blockIdx.z, row = (int64)blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= rows) return;
  x += model * x_models + row * channels;
  real sum = 0, square = 0;
  for (int64 c = lane; c < channels; c += 32) sum += x[c];
  const real mean = sum_of_warp(sum) / channels;
  for (int64 c = lane; c < channels; c += 32) square += (x[c] - mean) * (x[c] - mean);
  const real inverse = 1 / sqrt(sum_of_warp(square) / channels + eps);
  const int64 to = (model * rows + row) * channels;
  for (int64 c = lane; c < channels; c += 32) {
    const real x_hat = (x[c] - mean) * inverse;
    const real scaled = gamma ? gamma[model * affine_models + c] * x_hat : x_hat;
    y[to + c] = finish(scaled, beta, model * affine_models + c, nullptr, 0, slope);
  }
}

// dy → dx, and dγ, dβ in parts (null parts: not asked for).
//
// A block has rows_of_part rows of up to 256 channels, tile by tile of ROWS rows. First its warps
// make, a row each, what dx needs of a whole row: μ, σ, mean(dx̂) and mean(x̂ dx̂). Then the threads
// lie over the channels, write dx and add up dγ and dβ in registers. Reads x and dy three times
// where there are up to 256 channels, all but the first from a cache.
// grid (parts, ⌈channels/256⌉, models).
extern "C" __global__ void __launch_bounds__(THREADS) layer_norm_adjoint(
    const real* dy, const real* x, const real* gamma, real* dx, real* parts, int64 rows,
    int64 channels, int64 rows_of_part, int64 x_models, int64 gamma_models, real eps,
    real slope_below) {
  __shared__ real means[ROWS];
  __shared__ real inverses[ROWS];  // 1/σ
  __shared__ real along_ones[ROWS];
  __shared__ real along_x[ROWS];
  __shared__ real lane_sums[THREADS];
  const Columns own(channels);
  const int64 model = blockIdx.z;
  const int64 begin = blockIdx.x * rows_of_part, end = min(rows, begin + rows_of_part);
  const real* scale = gamma ? gamma + model * gamma_models : nullptr;
  x += model * x_models;
  dy += model * rows * channels;
  dx += model * rows * channels;

  real dgamma = 0, dbeta = 0;
  for (int64 top = begin; top < end; top += ROWS) {
    const int count = (int)min((int64)ROWS, end - top);
    for (int r = threadIdx.x / 32; r < count; r += WARPS) {
      const int64 from = (top + r) * channels;
      real sum = 0, square = 0, ones = 0, along = 0;
      for (int64 c = threadIdx.x % 32; c < channels; c += 32) sum += x[from + c];
      const real mean = sum_of_warp(sum) / channels;
      for (int64 c = threadIdx.x % 32; c < channels; c += 32) {
        const real centred = x[from + c] - mean;
        const real dx_hat = scale ? scale[c] * dy[from + c] : dy[from + c];
        square += centred * centred;
        ones += dx_hat;
        along += centred * dx_hat;
      }
      const real inverse = 1 / sqrt(sum_of_warp(square) / channels + eps);
      ones = sum_of_warp(ones) / channels;
      along = sum_of_warp(along) / channels * inverse;
      if (threadIdx.x % 32 == 0) {
        means[r] = mean;
        inverses[r] = inverse;
        along_ones[r] = ones;
        along_x[r] = along;
      }
    }
    __syncthreads();
    if (own.mine)
      for (int r = own.lane; r < count; r += own.lanes) {
        const int64 at = (top + r) * channels + own.channel;
        const real x_hat = (x[at] - means[r]) * inverses[r];
        const real dx_hat = scale ? scale[own.channel] * dy[at] : dy[at];
        dgamma += x_hat * dy[at];
        dbeta += dy[at];
        const real value = (dx_hat - along_ones[r] - x_hat * along_x[r]) * inverses[r];
        dx[at] = gated(value, x, at, slope_below);
      }
    __syncthreads();
  }
  if (!parts) return;
  dgamma = own.sum(dgamma, lane_sums);
  dbeta = own.sum(dbeta, lane_sums);
  if (own.lane > 0) return;
  parts[part_index(0, blockIdx.x, gridDim.x, channels) + own.channel] = dgamma;
  parts[part_index(1, blockIdx.x, gridDim.x, channels) + own.channel] = dbeta;
}

// The rows that are there of a model, each sample `of_sample` of them.
__device__ __forceinline__ int64 rows_there(int64 rows, const int* counts, int64 of_sample) {
  return counts ? counts[blockIdx.z] * of_sample : rows;
}

// The mean of x and the sum of (x − mean)² of each channel over the rows of a part, in two passes:
// the second finds the part in a cache. The first value of a part is taken off before it is added
// up, so that numbers far from zero keep their digits. A part without rows has the mean of its first
// number, and no squares. grid (parts, ⌈channels/256⌉, models).
extern "C" __global__ void __launch_bounds__(THREADS) moments_parts(
    const real* x, real* parts, int64 rows, int64 channels, int64 rows_of_part, int64 x_models,
    const int* counts, int64 of_sample) {
  __shared__ real lane_sums[THREADS];
  const Columns own(channels);
  const int64 there = rows_there(rows, counts, of_sample);
  const int64 begin = blockIdx.x * rows_of_part, end = min(there, begin + rows_of_part);
  x += blockIdx.z * x_models + own.channel;
  const real origin = x[begin * channels];
  real sum = 0, square = 0;
  if (own.mine)
    for (int64 row = begin + own.lane; row < end; row += own.lanes)
      sum += x[row * channels] - origin;
  const real mean = origin + own.sum(sum, lane_sums) / max(end - begin, (int64)1);
  if (own.mine)
    for (int64 row = begin + own.lane; row < end; row += own.lanes)
      square += (x[row * channels] - mean) * (x[row * channels] - mean);
  square = own.sum(square, lane_sums);
  if (own.lane > 0) return;
  parts[part_index(0, blockIdx.x, gridDim.x, channels) + own.channel] = mean;
  parts[part_index(1, blockIdx.x, gridDim.x, channels) + own.channel] = square;
}

// Σ over the warps of a block of one number a channel, lane by lane, added in order.
__device__ __forceinline__ real sum_of_warps(real value, real (*warp_sums)[32]) {
  warp_sums[threadIdx.x / 32][threadIdx.x % 32] = value;
  __syncthreads();
  real total = warp_sums[0][threadIdx.x % 32];
  for (int w = 1; w < WARPS; ++w) total += warp_sums[w][threadIdx.x % 32];
  __syncthreads();
  return total;
}

// Mean and variance of each channel from those of the parts, which may differ in their last rows:
//
//   μ = m₀ + Σ nₚ (mₚ − m₀) / rows      v = Σ (sₚ + nₚ (mₚ − μ)²) / rows      σ = √(v + ε)
//   running ← running + rest (batch − running)
//
// rows are those that are there; without any, μ is some number and v = 0, and nothing runs.
// sigma and the running statistics may be null. A block has 32 channels, its warps every eighth
// part each. grid (⌈channels/32⌉, 1, models).
extern "C" __global__ void __launch_bounds__(THREADS) moments_finish(
    const real* parts, real* mean, real* variance, real* sigma, real* running_mean,
    real* running_variance, int64 rows, int64 channels, int64 rows_of_part, int64 count, real eps,
    real rest, const int* counts, int64 of_sample) {
  __shared__ real warp_sums[WARPS][32];
  const int64 channel = (int64)blockIdx.x * 32 + threadIdx.x % 32;
  const int64 inside = min(channel, channels - 1), warp = threadIdx.x / 32;
  const int64 there = rows_there(rows, counts, of_sample), divisor = max(there, (int64)1);
  const real origin = parts[part_index(0, 0, count, channels) + inside];
  real sum = 0, square = 0;
  for (int64 p = warp; p < count; p += WARPS) {
    const int64 n = max((int64)0, min(rows_of_part, there - p * rows_of_part));
    sum += n * (parts[part_index(0, p, count, channels) + inside] - origin);
  }
  const real mu = origin + sum_of_warps(sum, warp_sums) / divisor;
  for (int64 p = warp; p < count; p += WARPS) {
    const int64 n = max((int64)0, min(rows_of_part, there - p * rows_of_part));
    const real away = parts[part_index(0, p, count, channels) + inside] - mu;
    square += parts[part_index(1, p, count, channels) + inside] + n * (away * away);
  }
  const real v = sum_of_warps(square, warp_sums) / divisor;
  if (warp > 0 || channel >= channels) return;
  const int64 at = blockIdx.z * channels + channel;
  mean[at] = mu;
  variance[at] = v;
  if (sigma) sigma[at] = sqrt(v + eps);
  if (there == 0) return;
  if (running_mean) running_mean[at] += rest * (mu - running_mean[at]);
  if (running_variance) running_variance[at] += rest * (v - running_variance[at]);
}

// x → y with μ and σ of each channel. A thread keeps those of its channel in registers, and reads
// and writes every number once. grid (parts, ⌈channels/256⌉, models).
extern "C" __global__ void __launch_bounds__(THREADS) batch_norm(
    const real* x, const real* mean, const real* sigma, const real* gamma, const real* beta,
    real* y, int64 rows, int64 channels, int64 rows_of_part, int64 x_models, int64 moment_models,
    int64 affine_models, real slope) {
  const Columns own(channels);
  if (!own.mine) return;
  const int64 model = blockIdx.z;
  const int64 begin = blockIdx.x * rows_of_part, end = min(rows, begin + rows_of_part);
  const real mu = mean[model * moment_models + own.channel];
  const real inverse = 1 / sigma[model * moment_models + own.channel];
  const real scale = gamma ? gamma[model * affine_models + own.channel] : 1;
  const int64 shift = model * affine_models + own.channel;
  for (int64 row = begin + own.lane; row < end; row += own.lanes) {
    const int64 at = row * channels + own.channel;
    const real x_hat = (x[model * x_models + at] - mu) * inverse;
    y[model * rows * channels + at] = finish(scale * x_hat, beta, shift, nullptr, 0, slope);
  }
}

// dγ and dβ of batch norm in parts, laid out and added up as in layer_norm_adjoint.
extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_sums(
    const real* dy, const real* x, const real* mean, const real* sigma, real* parts, int64 rows,
    int64 channels, int64 rows_of_part, int64 x_models, int64 moment_models) {
  __shared__ real lane_sums[THREADS];
  const Columns own(channels);
  const int64 model = blockIdx.z;
  const int64 begin = blockIdx.x * rows_of_part, end = min(rows, begin + rows_of_part);
  const real mu = mean[model * moment_models + own.channel];
  const real inverse = 1 / sigma[model * moment_models + own.channel];
  real dgamma = 0, dbeta = 0;
  if (own.mine)
    for (int64 row = begin + own.lane; row < end; row += own.lanes) {
      const int64 at = row * channels + own.channel;
      const real gradient = dy[model * rows * channels + at];
      dgamma += (x[model * x_models + at] - mu) * inverse * gradient;
      dbeta += gradient;
    }
  dgamma = own.sum(dgamma, lane_sums);
  dbeta = own.sum(dbeta, lane_sums);
  if (own.lane > 0) return;
  parts[part_index(0, blockIdx.x, gridDim.x, channels) + own.channel] = dgamma;
  parts[part_index(1, blockIdx.x, gridDim.x, channels) + own.channel] = dbeta;
}

// dγ or dβ from its parts: a block has 32 channels of one, its warps every eighth part each.
// grid (⌈channels/32⌉, 2, models).
extern "C" __global__ void __launch_bounds__(THREADS)
    add_gradients(const real* parts, real* dgamma, real* dbeta, int64 channels, int64 count) {
  __shared__ real warp_sums[WARPS][32];
  const int64 channel = (int64)blockIdx.x * 32 + threadIdx.x % 32;
  const int64 inside = min(channel, channels - 1), warp = threadIdx.x / 32;
  real sum = 0;
  for (int64 p = warp; p < count; p += WARPS)
    sum += parts[part_index(blockIdx.y, p, count, channels) + inside];
  sum = sum_of_warps(sum, warp_sums);
  if (warp > 0 || channel >= channels) return;
  (blockIdx.y == 0 ? dgamma : dbeta)[blockIdx.z * channels + channel] = sum;
}

// dy → dx of batch norm, from dγ and dβ where μ and σ are those of x (null: they are constants). What
// is absent has dx = 0: it is not among the rows that μ and σ are of.
// Threads and grid as in batch_norm.
extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_adjoint(
    const real* dy, const real* x, const real* mean, const real* sigma, const real* gamma,
    const real* dgamma, const real* dbeta, real* dx, int64 rows, int64 channels, int64 rows_of_part,
    int64 x_models, int64 moment_models, int64 gamma_models, real slope_below, const int* counts,
    int64 of_sample) {
  const Columns own(channels);
  if (!own.mine) return;
  const int64 model = blockIdx.z;
  const int64 begin = blockIdx.x * rows_of_part, end = min(rows, begin + rows_of_part);
  const real mu = mean[model * moment_models + own.channel];
  const real inverse = 1 / sigma[model * moment_models + own.channel];
  const real scale = gamma ? gamma[model * gamma_models + own.channel] : 1;
  const int64 there = rows_there(rows, counts, of_sample);
  const real along_x = dgamma ? dgamma[model * channels + own.channel] / there : 0;
  const real along_ones = dbeta ? dbeta[model * channels + own.channel] / there : 0;
  x += model * x_models;
  for (int64 row = begin + own.lane; row < end; row += own.lanes) {
    const int64 at = row * channels + own.channel, to = model * rows * channels + at;
    const real x_hat = (x[at] - mu) * inverse;
    const real value = scale * (dy[to] - along_ones - x_hat * along_x) * inverse;
    dx[to] = row < there ? gated(value, x, at, slope_below) : 0;
  }
}
