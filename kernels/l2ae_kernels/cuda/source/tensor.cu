// Rung 7: the nearest center by tensor cores, for many features and many clusters.
//
//     |x − c|² = |x|² + 2 h,   h = |c|²/2 − ⟨x, c⟩;   the nearest center has the lowest h
//
// What changed against rung 3: the products ⟨x, c⟩ of 128 samples and 64 clusters are a matrix
// product, which tensor cores do. Why faster: 8 × 8 × 16 multiply-adds are one instruction of a
// warp, and the difference is gone. But a tensor core reads TF32, which has 11 bits of 24.
//
// So numbers are split, x = big + small, both in TF32 (mma.cuh), and ⟨x, c⟩ = big·big + big·small +
// small·big: three products that leave 7 · 2^-22 of one. Centers are split once, by a kernel of
// their own; samples when they are read.
//
// The labels are those of float32 all the same. With A and B from tensor.py, and C = max |c|,
//
//     margin = A |x| C + B (|x| + C)²
//
// bounds by how much the rounding of this kernel and that of rung 3 can bring two values of h
// closer to each other. Where the second lowest h is not farther than that from the lowest, the
// sample goes on a list, and assign_tiled looks at it exactly. The order of the list depends on the
// run, its result does not. NaN is never farther, so it goes on the list as well.
//
// x (n, d), centers (k, d), half_norms (k): |c|²/2, largest (1): max |c|² as bits.
#include "async_copy.cuh"
#include "mma.cuh"
#include "types.cuh"

constexpr int WARPS = 4;
constexpr int THREADS = WARPS * 32;
constexpr int ROWS = 32;  // samples of a warp: two products of 16
constexpr int BLOCK_ROWS = WARPS * ROWS;
constexpr int COLUMNS = 64;         // clusters at a time: eight products of 8
constexpr int CHUNK = 32;           // features at a time: four products of 8
constexpr int PITCH = CHUNK + 4;    // of shared memory: 8 rows of 16 bytes hit 32 banks
constexpr int PARTS = 2 * COLUMNS;  // rows of CHUNK numbers of a tile: big, then small
constexpr int SAMPLES = BLOCK_ROWS * PITCH;
constexpr int STAGE = PARTS * PITCH + (RESIDENT ? 0 : SAMPLES);
constexpr int WIDTH = VECTOR ? 4 : 1;  // numbers of a copy of samples: 4 if rows start at 16 bytes

// Split the centers, and find |c|²/2 and the largest |c|². A warp takes a center, its lanes the
// features. parts (⌈k/64⌉, ⌈d/32⌉, 2, 64, 32): what a block of assign_tensor copies at a time lies
// together. Past the last feature are zeros; past the last cluster too, and half_norms are infinite.
extern "C" __global__ void __launch_bounds__(128) split_centers(
    const float* __restrict__ centers, int d, int k, float* __restrict__ parts,
    float* __restrict__ half_norms, unsigned* __restrict__ largest) {
  const int cluster = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  const int chunks = (d + CHUNK - 1) / CHUNK, tile = cluster / COLUMNS, row = cluster % COLUMNS;
  float* to = parts + ((int64)tile * chunks * PARTS + row) * CHUNK + lane;
  double squares = 0;
  for (int feature = lane; feature < chunks * CHUNK; feature += CHUNK, to += PARTS * CHUNK) {
    const bool inside = cluster < k && feature < d;
    const float c = inside ? centers[(int64)cluster * d + feature] : 0;
    const mma::Parts split = mma::split(c);
    to[0] = __uint_as_float(split.big);
    to[COLUMNS * CHUNK] = __uint_as_float(split.small);
    squares += (double)c * (double)c;
  }
  for (int reach = 16; reach > 0; reach /= 2) {
    squares += __shfl_down_sync(0xffffffffu, squares, reach);
  }
  if (lane == 0) {
    half_norms[cluster] = cluster < k ? (float)(squares / 2) : infinity();
    atomicMax(largest, (unsigned)__float_as_int((float)squares));  // positive: ordered as bits
  }
}

// Copy a chunk of the block's samples; zeros where there are none.
__device__ __forceinline__ void copy_samples(
    float* to, const float* x, int64 first, int64 n, int feature, int d) {
  constexpr int LANES = CHUNK / WIDTH, STEP = THREADS / LANES;
  const int row = threadIdx.x / LANES, column = threadIdx.x % LANES * WIDTH;
  const int left = feature + column < d ? (int)min(n - first - row, (int64)BLOCK_ROWS) : 0;
  const float* from = x + (first + row) * d + feature + column;
  to += row * PITCH + column;
#pragma unroll
  for (int r = 0; r < BLOCK_ROWS; r += STEP, from += STEP * d) {
    async_copy_or_zero<4 * WIDTH>(to + r * PITCH, from, r < left);
  }
}

// Copy a chunk of a tile of the split centers, which lies together.
__device__ __forceinline__ void copy_centers(float* to, const float* from) {
  constexpr int LANES = CHUNK / 4, STEP = THREADS / LANES;
  to += threadIdx.x / LANES * PITCH + threadIdx.x % LANES * 4;
#pragma unroll
  for (int r = 0; r < PARTS; r += STEP) {
    async_copy<16>(to + r * PITCH, from + r * CHUNK + threadIdx.x * 4);
  }
}

// Add the products of a chunk: 32 samples of a warp, 64 clusters, 32 features. Both pointers are
// where the lane reads by ldmatrix.
__device__ __forceinline__ void multiply_chunk(
    const float* samples, const float* centers, float (&sum)[2][8][4]) {
#pragma unroll
  for (int step = 0; step < CHUNK; step += 8) {
    unsigned a[2][4], a_small[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      mma::load_a(a[half], samples + half * 16 * PITCH + step);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const mma::Parts parts = mma::split(__uint_as_float(a[half][i]));
        a[half][i] = parts.big;
        a_small[half][i] = parts.small;
      }
    }
#pragma unroll
    for (int pair = 0; pair < 8; pair += 2) {
      unsigned b[2][2], b_small[2][2];
      mma::load_b(b[0], b[1], centers + pair * 8 * PITCH + step);
      mma::load_b(b_small[0], b_small[1], centers + (COLUMNS + pair * 8) * PITCH + step);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          mma::tf32(sum[half][pair + c], a_small[half], b[c]);  // the small ones first
          mma::tf32(sum[half][pair + c], a[half], b_small[c]);
          mma::tf32(sum[half][pair + c], a[half], b[c]);
        }
      }
    }
  }
}

// The lowest and the second lowest h of a sample, and whose the lowest is.
struct Lowest {
  float first;
  float second;
  int label;

  __device__ __forceinline__ void take(float h, int cluster) {
    second = fminf(second, fmaxf(first, h));
    label = h < first ? cluster : label;
    first = fminf(first, h);
  }
};

// Add up the square of the thread's sample, over a chunk.
__device__ __forceinline__ float add_squares(float squares, const float* sample) {
#pragma unroll
  for (int feature = 0; feature < CHUNK; feature += 4) {
    const float4 four = *reinterpret_cast<const float4*>(sample + feature);
    squares = fmaf(four.x, four.x, fmaf(four.y, four.y, squares));
    squares = fmaf(four.z, four.z, fmaf(four.w, four.w, squares));
  }
  return squares;
}

// Take the h of a tile: a lane has four samples (group, group + 8, … of the warp) and 16 clusters.
__device__ __forceinline__ void take_tile(
    Lowest (&lowest)[4], const float (&sum)[2][8][4], const float* half_norms, int first) {
#pragma unroll
  for (int column = 0; column < 8; ++column) {
    const int cluster = first + column * 8 + threadIdx.x % 4 * 2;
    const float2 half_norm = *reinterpret_cast<const float2*>(half_norms + cluster);
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // row group + 8 i is in product i / 2
      lowest[i].take(half_norm.x - sum[i / 2][column][i % 2 * 2], cluster);
      lowest[i].take(half_norm.y - sum[i / 2][column][i % 2 * 2 + 1], cluster + 1);
    }
  }
}

// Find the lowest of the four lanes that share a sample.
__device__ __forceinline__ void join_lanes(Lowest& lowest) {
  for (int reach = 1; reach < 4; reach *= 2) {
    const float second = __shfl_xor_sync(0xffffffffu, lowest.second, reach);
    const float first = __shfl_xor_sync(0xffffffffu, lowest.first, reach);
    lowest.take(first, __shfl_xor_sync(0xffffffffu, lowest.label, reach));
    lowest.second = fminf(lowest.second, second);
  }
}

// RESIDENT: shared memory holds all chunks of the samples, so that they are read once; else they
// are read again for every 64 clusters. A block reads all centers, a chunk of 64 while the one
// before is multiplied.
extern "C" __global__ void __launch_bounds__(THREADS, 3) assign_tensor(
    const float* __restrict__ x, const float* __restrict__ parts,
    const float* __restrict__ half_norms, const unsigned* __restrict__ largest, int64 n, int d,
    int k, float product_error, float distance_error, int* __restrict__ labels,
    int64* __restrict__ rows, uint64* __restrict__ count) {
  extern __shared__ __align__(16) float memory[];  // two stages, then samples (chunks, 128, PITCH)
  __shared__ float norms[BLOCK_ROWS];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int chunks = (d + CHUNK - 1) / CHUNK, copies = (k + COLUMNS - 1) / COLUMNS * chunks;
  const mma::Cell a_at = mma::address_a(lane), b_at = mma::address_b(lane);
  float* resident = memory + 2 * STAGE;
  for (int64 first = (int64)blockIdx.x * BLOCK_ROWS; first < n;
       first += (int64)gridDim.x * BLOCK_ROWS) {
    const float* from = parts;
    int copied = 0, copied_chunk = 0;
    auto copy_next = [&] {
      if (copied < copies) {
        float* stage = memory + copied % 2 * STAGE;
        copy_centers(stage, from);
        from += PARTS * CHUNK;
        if (!RESIDENT) {
          copy_samples(stage + PARTS * PITCH, x, first, n, copied_chunk * CHUNK, d);
          copied_chunk = copied_chunk + 1 == chunks ? 0 : copied_chunk + 1;
        }
        ++copied;
      }
      async_commit();
    };
    __syncthreads();  // the samples before have been read
    for (int chunk = 0; RESIDENT && chunk < chunks; ++chunk) {
      copy_samples(resident + chunk * SAMPLES, x, first, n, chunk * CHUNK, d);
    }
    copy_next();
    Lowest lowest[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) lowest[i] = {infinity(), infinity(), 0};
    float squares = 0;
    int half = 0;  // which stage is multiplied
    for (int tile = 0; tile < k; tile += COLUMNS) {
      float sum[2][8][4] = {};
      for (int chunk = 0; chunk < chunks; ++chunk, half ^= 1) {
        async_wait<0>();
        __syncthreads();  // the chunk has arrived, and the one before has been read
        copy_next();
        const float* stage = memory + half * STAGE;
        const float* samples = RESIDENT ? resident + chunk * SAMPLES : stage + PARTS * PITCH;
        if (tile == 0) squares = add_squares(squares, samples + threadIdx.x * PITCH);
        multiply_chunk(
            samples + (warp * ROWS + a_at.row) * PITCH + a_at.column,
            stage + b_at.column * PITCH + b_at.row, sum);
      }
      take_tile(lowest, sum, half_norms, tile);
    }
    norms[threadIdx.x] = sqrtf(squares);
    __syncwarp();  // a warp reads the norms of its own samples
    const float c = sqrtf(__int_as_float((int)*largest));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      join_lanes(lowest[i]);
      const int r = warp * ROWS + lane / 4 + i * 8;
      if (lane % 4 == 0 && first + r < n) {
        const float size = norms[r];
        const float margin = product_error * size * c + distance_error * (size + c) * (size + c);
        labels[first + r] = lowest[i].label;
        if (!(lowest[i].second - lowest[i].first > margin)) {
          rows[atomicAdd(count, 1ull)] = first + r;
        }
      }
    }
  }
}
