// The squared distance of each sample to the center of its label, with the bits of tile.cuh.
//
// A distance is a sum in the order of its features, so a thread adds up one sample; but threads
// that read the rows of 32 samples one number each would use 4 bytes of every 32. So a warp reads
// 32 features of 32 samples side by side, 16 bytes a thread if VECTOR, writes the differences to
// shared memory, and there each thread finds its row. Rows of 32 + 4 numbers: 8 of 16 bytes hit 32
// banks.
//
// x (n, d), centers (k, d), labels (n) → nearest (n).
#include "types.cuh"

constexpr int THREADS = 128;
constexpr int CHUNK = 32;  // features at a time
constexpr int PITCH = CHUNK + 4;
constexpr int WIDTH = VECTOR ? 4 : 1;  // numbers of an access: 4 if all rows start at 16 bytes
constexpr int LANES = CHUNK / WIDTH;   // that read a row

// Write x − c for WIDTH numbers, or zeros.
__device__ __forceinline__ void subtract(float* to, const float* x, const float* c, bool inside) {
  if constexpr (VECTOR) {
    float4 a = {}, b = {};
    if (inside) {
      a = *reinterpret_cast<const float4*>(x);
      b = *reinterpret_cast<const float4*>(c);
    }
    *reinterpret_cast<float4*>(to) = make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w);
  } else {
    *to = inside ? *x - *c : 0;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS) label_distances(
    const float* __restrict__ x, const float* __restrict__ centers, int64 n, int d,
    const int* __restrict__ labels, float* __restrict__ nearest) {
  __shared__ __align__(16) float differences[THREADS * PITCH];
  __shared__ int shared_labels[THREADS];
  const int lane = threadIdx.x % 32, column = lane % LANES * WIDTH;
  float* rows = differences + threadIdx.x / 32 * 32 * PITCH;  // of the warp
  const int* row_labels = shared_labels + threadIdx.x / 32 * 32;
  const int64 step = (int64)gridDim.x * THREADS;
  for (int64 first = (int64)blockIdx.x * THREADS + threadIdx.x / 32 * 32; first < n;
       first += step) {
    const int last = (int)min(n - first, (int64)32) - 1;  // past it is the last one again
    shared_labels[threadIdx.x] = labels[first + min(lane, last)];
    float distance = 0;
    for (int chunk = 0; chunk < d; chunk += CHUNK) {
      __syncwarp();  // the labels are there, and the differences before have been read
      const float* x_chunk = x + first * d + chunk + column;
      const float* centers_chunk = centers + chunk + column;
#pragma unroll
      for (int r = 0; r < 32; r += WIDTH) {
        const int row = r + lane / LANES;
        const float* from = x_chunk + (int64)min(row, last) * d;
        const float* center = centers_chunk + (int64)row_labels[row] * d;
        subtract(rows + row * PITCH + column, from, center, chunk + column < d);
      }
      __syncwarp();
#pragma unroll
      for (int f = 0; f < CHUNK; ++f) {
        const float difference = rows[lane * PITCH + f];
        distance = fmaf(difference, difference, distance);
      }
    }
    if (lane <= last) nearest[first + lane] = distance;
  }
}
