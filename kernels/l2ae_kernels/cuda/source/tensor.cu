// Rung 7: the nearest center by tensor cores, for many features and many clusters.
//
//     |x − c|² = |x|² + 2 h,   h = |c|²/2 − ⟨x, c⟩;   the nearest center has the lowest h
//
// What changed against rung 3: the products ⟨x, c⟩ of 128 samples and 64 clusters are a matrix
// product, which tensor cores do. Why faster: 8 × 8 × 16 multiply-adds are one instruction of a
// warp, and the difference is gone. But a tensor core reads TF32, which has 11 bits of 24.
//
// So numbers are split, x = hi + lo, both in TF32, and ⟨x, c⟩ = hi·hi + hi·lo + lo·hi: three products
// that leave 2^-22 of one. (With one product a step of 8 features would wait for shared memory
// rather than for the tensor cores, so three do not cost three times as much.)
//
// The labels are those of float32 all the same. With A and B from tensor.py, and C = max |c|,
//
//     margin = A |x| C + B (|x| + C)²
//
// bounds by how much the rounding of this kernel and that of rung 3 can bring two values of h closer
// to each other. Where the second lowest h is not farther than that from the lowest, the sample goes on
// a list, and assign_tiled looks at it exactly. The order of the list depends on the run, its
// result does not. NaN is never farther, so it goes on the list as well.
//
// x (n, d), centers (k, d), half_norms (k): |c|²/2, largest (1): max |c|² as bits.
#include "mma.cuh"
#include "tile.cuh"

constexpr int WARPS = 4;
constexpr int ROWS = 32;  // samples of a warp: two products of 16
constexpr int BLOCK_ROWS = WARPS * ROWS;
constexpr int COLUMNS = 64;       // clusters at a time: eight products of 8
constexpr int CHUNK = 32;         // features at a time: four products of 8
constexpr int PITCH = CHUNK + 4;  // 8 rows × 4 columns of a product hit 32 banks

// |c|²/2 and the largest |c|². A warp takes a center, its lanes the features.
extern "C" __global__ void __launch_bounds__(128) center_norms(
    const float* __restrict__ centers, int d, int k, float* __restrict__ half_norms,
    unsigned* __restrict__ largest) {
  int cluster = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (cluster >= k) return;
  double squares = 0;
  for (int feature = threadIdx.x % 32; feature < d; feature += 32) {
    double c = (double)centers[(int64)cluster * d + feature];
    squares += c * c;
  }
  for (int reach = 16; reach > 0; reach /= 2) {
    squares += __shfl_down_sync(0xffffffffu, squares, reach);
  }
  if (threadIdx.x % 32 == 0) {
    half_norms[cluster] = (float)(squares / 2);
    atomicMax(largest, (unsigned)__float_as_int((float)squares));  // positive: ordered as bits
  }
}

// Copy rows × CHUNK numbers to shared memory; zeros where there are none.
template <class Row>
__device__ inline void copy_chunk(float* to, int rows, int first, int d, Row row) {
  for (int e = threadIdx.x; e < rows * CHUNK; e += WARPS * 32) {
    int r = e / CHUNK, feature = e % CHUNK;
    const float* from = row(r);
    bool inside = from != nullptr && first + feature < d;
    to[r * PITCH + feature] = inside ? from[first + feature] : 0.0f;
  }
}

// The two TF32 parts of a number.
struct Parts {
  unsigned high;
  unsigned low;
};

__device__ inline Parts split(float value) {
  unsigned high = mma::to_tf32(value);
  return {high, mma::to_tf32(value - __int_as_float((int)high))};
}

// Add the products of a chunk: 32 samples of a warp, 64 clusters, 32 features.
__device__ inline void multiply_chunk(
    const float* samples, const float* centers, float (&sum)[2][8][4]) {
  const int lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
#pragma unroll
  for (int step = 0; step < CHUNK; step += 8) {
    unsigned a[2][4], a_low[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int row = half * 16 + group + i % 2 * 8, feature = step + member + i / 2 * 4;
        Parts parts = split(samples[row * PITCH + feature]);
        a[half][i] = parts.high;
        a_low[half][i] = parts.low;
      }
    }
#pragma unroll
    for (int column = 0; column < 8; ++column) {
      unsigned b[2], b_low[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        Parts parts = split(centers[(column * 8 + group) * PITCH + step + member + i * 4]);
        b[i] = parts.high;
        b_low[i] = parts.low;
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        mma::tf32(sum[half][column], a_low[half], b);  // the small ones first
        mma::tf32(sum[half][column], a[half], b_low);
        mma::tf32(sum[half][column], a[half], b);
      }
    }
  }
}

// The lowest and the second lowest h of a sample, and whose the lowest is.
struct Lowest {
  float first;
  float second;
  int label;
};

__device__ inline void take(Lowest& lowest, float h, int label) {
  if (h < lowest.first) {
    lowest.second = lowest.first;
    lowest.first = h;
    lowest.label = label;
  } else if (h < lowest.second) {
    lowest.second = h;
  }
}

// resident: whether shared memory holds all chunks of the samples, so that they are read once;
// else they are read again for every 64 clusters. A block reads all centers.
extern "C" __global__ void __launch_bounds__(WARPS * 32) assign_tensor(
    const float* __restrict__ x, const float* __restrict__ centers,
    const float* __restrict__ half_norms, const unsigned* __restrict__ largest, int64 n, int d,
    int k, int resident, float product_error, float distance_error, int* __restrict__ labels,
    int64* __restrict__ rows, uint64* __restrict__ count) {
  extern __shared__ __align__(
      16) float memory[];  // centers (64, PITCH), samples (chunks, 128, PITCH)
  __shared__ float norms[BLOCK_ROWS];
  float* samples = memory + COLUMNS * PITCH;
  const int warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
  for (int64 first = (int64)blockIdx.x * BLOCK_ROWS; first < n;
       first += (int64)gridDim.x * BLOCK_ROWS) {
    Lowest lowest[4];  // samples group, group + 8, group + 16, group + 24 of the warp
#pragma unroll
    for (int i = 0; i < 4; ++i) lowest[i] = {infinity(), infinity(), 0};
    float squares = 0;
    for (int tile = 0; tile < k; tile += COLUMNS) {
      float sum[2][8][4] = {};
      for (int chunk = 0; chunk < d; chunk += CHUNK) {
        float* place = samples + (resident ? chunk / CHUNK * BLOCK_ROWS * PITCH : 0);
        __syncthreads();  // the chunk before has been read
        if (tile == 0 || !resident) {
          copy_chunk(place, BLOCK_ROWS, chunk, d, [&](int r) {
            return first + r < n ? x + (first + r) * d : nullptr;
          });
        }
        copy_chunk(memory, COLUMNS, chunk, d, [&](int r) {
          return tile + r < k ? centers + (int64)(tile + r) * d : nullptr;
        });
        __syncthreads();
        if (tile == 0) {
          for (int feature = 0; feature < CHUNK; ++feature) {
            float value = place[threadIdx.x * PITCH + feature];
            squares = fmaf(value, value, squares);
          }
        }
        multiply_chunk(place + warp * ROWS * PITCH, memory, sum);
      }
#pragma unroll
      for (int column = 0; column < 8; ++column) {
#pragma unroll
        for (int side = 0; side < 2; ++side) {
          int cluster = tile + column * 8 + member * 2 + side;
          if (cluster >= k) continue;
          float half_norm = half_norms[cluster];
#pragma unroll
          for (int i = 0; i < 4; ++i) {  // row group + 8 i is in product i / 2
            take(lowest[i], half_norm - sum[i / 2][column][i % 2 * 2 + side], cluster);
          }
        }
      }
    }
    norms[threadIdx.x] = sqrtf(squares);
    __syncthreads();
    const float c = sqrtf(__int_as_float((int)*largest));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      for (int reach = 1; reach < 4; reach *= 2) {  // the four threads that share a sample
        Lowest other = {
            __shfl_xor_sync(0xffffffffu, lowest[i].first, reach),
            __shfl_xor_sync(0xffffffffu, lowest[i].second, reach),
            __shfl_xor_sync(0xffffffffu, lowest[i].label, reach)};
        take(lowest[i], other.first, other.label);
        if (other.second < lowest[i].second) lowest[i].second = other.second;
      }
      int r = warp * ROWS + group + i * 8;
      if (member == 0 && first + r < n) {
        float size = norms[r];
        float margin = product_error * size * c + distance_error * (size + c) * (size + c);
        labels[first + r] = lowest[i].label;
        if (!(lowest[i].second - lowest[i].first > margin)) {
          rows[atomicAdd(count, 1ull)] = first + r;
        }
      }
    }
  }
}

// The squared distance of each sample to the center of its label, with the bits of rung 3.
//
// A thread reads 4 samples and their centers; features pass by in chunks of 8, side by side.
extern "C" __global__ void __launch_bounds__(THREADS) label_distances(
    const float* __restrict__ x, const float* __restrict__ centers, int64 n, int d,
    const int* __restrict__ labels, float* __restrict__ nearest) {
  __shared__ float differences[FEATURES][TILE + 4];
  for (int64 first = (int64)blockIdx.x * TILE; first < n; first += (int64)gridDim.x * TILE) {
    float distance[SAMPLES] = {};
    for (int chunk = 0; chunk < d; chunk += FEATURES) {
      __syncthreads();
      for (int e = threadIdx.x; e < TILE * FEATURES; e += THREADS) {
        int s = e / FEATURES, feature = e % FEATURES;
        bool inside = first + s < n && chunk + feature < d;
        float difference = 0;
        if (inside) {
          const float* center = centers + (int64)labels[first + s] * d;
          difference = x[(first + s) * d + chunk + feature] - center[chunk + feature];
        }
        differences[feature][s] = difference;
      }
      __syncthreads();
#pragma unroll
      for (int feature = 0; feature < FEATURES; ++feature) {
#pragma unroll
        for (int i = 0; i < SAMPLES; ++i) {
          float difference = differences[feature][threadIdx.x + i * THREADS];
          distance[i] = fmaf(difference, difference, distance[i]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < SAMPLES; ++i) {
      int64 row = first + threadIdx.x + i * THREADS;
      if (row < n) nearest[row] = distance[i];
    }
  }
}
