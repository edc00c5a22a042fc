// The middle of the network in one kernel: dense, unit norm (Eq. 4), dense; and its gradients.
//
//   z = x W1 + b1      n = √(|z|² + ε²)      u = z / n      y = leaky(u W2 + b2)
//
//   dỹ = dy where y > 0, else slope · dy      du = dỹ W2ᵀ      dz = (du − u⟨u, du⟩) / n
//   dx = dz W1ᵀ       dW1 = xᵀ dz     db1 = Σ dz      dW2 = uᵀ dỹ     db2 = Σ dỹ
//
// x (samples, inputs), W1 (inputs, LATENT), W2 (LATENT, outputs), y (samples, outputs). The code is
// short (LATENT ≤ 32, a constant), so that all of it stays in registers and no product is worth a
// tile: what counts is the number of launches, one forward and two backward in place of 3 and 8.

#include "network.cuh"
#include "warp.cuh"

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
constexpr int SAMPLES = LATENT <= 16 ? 4 : 2;  // of a block: their sums fill the registers
constexpr int CODES = SAMPLES * LATENT;

// codes[s][l] = Σ over the block's threads of sums[s][l], added in a fixed order: lanes as a tree,
// then warps one after the other. Ends with a barrier.
__device__ __forceinline__ void add_over_block(
    real (&sums)[SAMPLES][LATENT], real (*parts)[CODES], real* codes) {
#pragma unroll
  for (int s = 0; s < SAMPLES; ++s)
#pragma unroll
    for (int l = 0; l < LATENT; ++l) {
      sums[s][l] = sum_of_warp(sums[s][l]);
      if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32][s * LATENT + l] = sums[s][l];
    }
  __syncthreads();
  if (threadIdx.x < CODES) {
    real sum = 0;
    for (int w = 0; w < WARPS; ++w) sum += parts[w][threadIdx.x];
    codes[threadIdx.x] = sum;
  }
  __syncthreads();
}

// x → u, n, y.
//
// A block takes SAMPLES samples. First each thread goes through every 256th input feature, with a
// row of W1 in registers for all samples; the sums of the block are z. Then each thread makes every
// 256th output feature from the codes in shared memory.
// Reads x once, W1 and W2 once a block (they stay in the second-level cache); writes u, n and y.
// z is never written. grid (⌈samples/SAMPLES⌉, 1, models).
extern "C" __global__ void __launch_bounds__(THREADS) bottleneck(
    const real* x, const real* W1, const real* b1, const real* W2, const real* b2, real* u,
    real* lengths, real* y, int64 samples, int64 inputs, int64 outputs, int64 x_models, real eps,
    real slope) {
  __shared__ real parts[WARPS][CODES];
  __shared__ real codes[CODES];
  __shared__ real sample_lengths[SAMPLES];
  const int64 model = blockIdx.z, first = (int64)blockIdx.x * SAMPLES;
  x += model * x_models;
  W1 += model * inputs * LATENT;
  W2 += model * LATENT * outputs;

  real sums[SAMPLES][LATENT] = {};
  for (int64 input = threadIdx.x; input < inputs; input += THREADS) {
    real weights[LATENT];
#pragma unroll
    for (int l = 0; l < LATENT; ++l) weights[l] = W1[input * LATENT + l];
#pragma unroll
    for (int s = 0; s < SAMPLES; ++s) {
      const real value = first + s < samples ? x[(first + s) * inputs + input] : 0;
#pragma unroll
      for (int l = 0; l < LATENT; ++l) sums[s][l] += value * weights[l];
    }
  }
  add_over_block(sums, parts, codes);

  const int sample = threadIdx.x / LATENT, latent = threadIdx.x % LATENT;
  const int64 row = model * samples + first + sample;  // where the thread has a code
  if (threadIdx.x < CODES) codes[threadIdx.x] += b1[model * LATENT + latent];
  __syncthreads();
  if (threadIdx.x < SAMPLES) {
    real square = eps * eps;
    for (int l = 0; l < LATENT; ++l) {
      const real z = codes[threadIdx.x * LATENT + l];
      square += z * z;
    }
    sample_lengths[threadIdx.x] = sqrt(square);
  }
  __syncthreads();
  if (threadIdx.x < CODES) {
    const real n = sample_lengths[sample];
    codes[threadIdx.x] /= n;
    if (first + sample < samples) {
      u[row * LATENT + latent] = codes[threadIdx.x];
      if (latent == 0) lengths[row] = n;
    }
  }
  __syncthreads();

  const real* model_b2 = b2 + model * outputs;
  for (int64 output = threadIdx.x; output < outputs; output += THREADS) {
    real weights[LATENT];
#pragma unroll
    for (int l = 0; l < LATENT; ++l) weights[l] = W2[l * outputs + output];
#pragma unroll
    for (int s = 0; s < SAMPLES; ++s) {
      if (first + s >= samples) continue;
      real sum = 0;
#pragma unroll
      for (int l = 0; l < LATENT; ++l) sum += codes[s * LATENT + l] * weights[l];
      const int64 index = (model * samples + first + s) * outputs + output;
      y[index] = finish(sum, model_b2, output, nullptr, 0, slope);
    }
  }
}

// dy → dz, dx. The forward pass backwards, with the same threads: a block makes du of SAMPLES
// samples from every output feature, dz from du, and dx for every input feature.
//
// y decides what of dy counts, and x, the output of the activation below, about dx; each is null
// where there is no activation.
// Reads dy, y, x once, W1 and W2 once a block; writes dz and dx. grid as in the forward pass.
extern "C" __global__ void __launch_bounds__(THREADS) bottleneck_adjoint(
    const real* dy, const real* y, const real* W1, const real* W2, const real* u,
    const real* lengths, const real* x, real* dz, real* dx, int64 samples, int64 inputs,
    int64 outputs, int64 x_models, real slope, real x_slope) {
  __shared__ real parts[WARPS][CODES];
  __shared__ real codes[CODES];
  __shared__ real alongs[SAMPLES];
  const int64 model = blockIdx.z, first = (int64)blockIdx.x * SAMPLES;
  W1 += model * inputs * LATENT;
  W2 += model * LATENT * outputs;

  real sums[SAMPLES][LATENT] = {};
  for (int64 output = threadIdx.x; output < outputs; output += THREADS) {
    real weights[LATENT];
#pragma unroll
    for (int l = 0; l < LATENT; ++l) weights[l] = W2[l * outputs + output];
#pragma unroll
    for (int s = 0; s < SAMPLES; ++s) {
      if (first + s >= samples) continue;
      const int64 index = (model * samples + first + s) * outputs + output;
      const real gradient = gated(dy[index], y, index, slope);
#pragma unroll
      for (int l = 0; l < LATENT; ++l) sums[s][l] += gradient * weights[l];
    }
  }
  add_over_block(sums, parts, codes);  // du

  const int sample = threadIdx.x / LATENT, latent = threadIdx.x % LATENT;
  const bool mine = threadIdx.x < CODES && first + sample < samples;
  const int64 row = model * samples + first + sample;
  if (threadIdx.x < SAMPLES && first + threadIdx.x < samples) {
    const real* unit = u + (model * samples + first + threadIdx.x) * LATENT;
    real along = 0;
    for (int l = 0; l < LATENT; ++l) along += unit[l] * codes[threadIdx.x * LATENT + l];
    alongs[threadIdx.x] = along;
  }
  __syncthreads();
  if (mine) {
    const real tangent = codes[threadIdx.x] - u[row * LATENT + latent] * alongs[sample];
    codes[threadIdx.x] = tangent / lengths[row];
    dz[row * LATENT + latent] = codes[threadIdx.x];
  }
  __syncthreads();

  for (int64 input = threadIdx.x; input < inputs; input += THREADS) {
    real weights[LATENT];
#pragma unroll
    for (int l = 0; l < LATENT; ++l) weights[l] = W1[input * LATENT + l];
#pragma unroll
    for (int s = 0; s < SAMPLES; ++s) {
      if (first + s >= samples) continue;
      real sum = 0;
#pragma unroll
      for (int l = 0; l < LATENT; ++l) sum += codes[s * LATENT + l] * weights[l];
      const int64 index = (first + s) * inputs + input;
      const real* gate = x ? x + model * x_models : nullptr;
      dx[model * samples * inputs + index] = gated(sum, gate, index, x_slope);
    }
  }
}

// dW1, db1, dW2, db2: sums over the samples.
//
// Both gradients have one form, Σ over samples of a long row times a short one: y side, dỹ times
// (u, 1); x side, (x, 1) times dz. The ones make db2 and db1. A block takes 32 features, its eight
// warps every eighth sample each; a thread keeps the sums of one feature in registers, and warp 0
// adds those of the eight warps in order. Reads dy, y and x once, u and dz once a block; writes
// the gradients. grid (⌈(max(inputs, outputs) + 1)/32⌉, 2 sides, models).
extern "C" __global__ void __launch_bounds__(THREADS) bottleneck_gradients(
    const real* x, const real* dy, const real* y, const real* u, const real* dz, real* dW1,
    real* db1, real* dW2, real* db2, int64 samples, int64 inputs, int64 outputs, int64 x_models,
    real slope) {
  __shared__ real parts[WARPS][LATENT + 1][32];
  const bool y_side = blockIdx.y == 0;
  const int64 model = blockIdx.z, features = y_side ? outputs : inputs;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64 feature = (int64)blockIdx.x * 32 + lane;
  const real* codes = (y_side ? u : dz) + model * samples * LATENT;

  real sums[LATENT + 1] = {};
  for (int64 sample = warp; sample < samples; sample += WARPS) {
    const int64 index = sample * features + feature;
    real value = !y_side && feature == features ? 1 : 0;
    if (feature < features && y_side) {
      const int64 at = model * samples * outputs + index;
      value = gated(dy[at], y, at, slope);
    } else if (feature < features)
      value = x[model * x_models + index];
#pragma unroll
    for (int l = 0; l < LATENT; ++l) sums[l] += value * codes[sample * LATENT + l];
    sums[LATENT] += value;
  }
#pragma unroll
  for (int l = 0; l <= LATENT; ++l) parts[warp][l][lane] = sums[l];
  __syncthreads();
  if (warp > 0 || feature > features || (y_side && feature == features)) return;
#pragma unroll
  for (int l = 0; l <= LATENT; ++l) {
    real sum = parts[0][l][lane];
    for (int w = 1; w < WARPS; ++w) sum += parts[w][l][lane];
    if (y_side && l < LATENT)
      dW2[(model * LATENT + l) * outputs + feature] = sum;
    else if (y_side)
      db2[model * outputs + feature] = sum;
    else if (l < LATENT && feature < features)
      dW1[(model * inputs + feature) * LATENT + l] = sum;
    else if (l < LATENT)
      db1[model * LATENT + l] = sum;
  }
}
