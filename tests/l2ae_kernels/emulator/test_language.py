"""What CUDA C++ says, the emulator does: shared memory, barriers, warps, atomics, vectors.

Everything runs in the three orders; what is expected comes from NumPy.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from l2ae_kernels.emulator import RawModule

ORDERS = ["ascending", "descending", "shuffled"]
pytestmark = [pytest.mark.everyday, pytest.mark.parametrize("order", ORDERS)]
N = 96  # three warps

CODE = r"""
constexpr int WIDTH = TILE + 1;
__constant__ float weights[3] = {1.0f, 2.0f, 4.0f};
__device__ int launches;

template <int ROUNDS> __device__ float summed(float value) {
  #pragma unroll
  for (int offset = 1 << (ROUNDS - 1); offset > 0; offset >>= 1)
    value += __shfl_down_sync(0xffffffffu, value, offset);
  return value;
}
template <int SIZE> __device__ int doubled(int value) {  // each instance has its own memory
  __shared__ int kept[32];
  if (threadIdx.x < SIZE) kept[threadIdx.x] = 2 * value;
  __syncthreads();
  int result = kept[threadIdx.x % SIZE];
  return result;
}

extern "C" {
__global__ void reversed(const int* __restrict__ x, int* __restrict__ y) {
  __shared__ int kept[N];
  kept[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = kept[N - 1 - threadIdx.x];
}
}

extern "C" __global__ void __launch_bounds__(TILE * TILE) transpose(
    const float* x, float* y, int rows, int columns) {
  __shared__ float tile[TILE][WIDTH];
  int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
  if (row < rows && column < columns) tile[threadIdx.y][threadIdx.x] = x[row * columns + column];
  __syncthreads();
  row = blockIdx.x * TILE + threadIdx.y, column = blockIdx.y * TILE + threadIdx.x;
  if (row < columns && column < rows) y[row * rows + column] = tile[threadIdx.x][threadIdx.y];
}

extern "C" __global__ void indices(int* out) {
  int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = 1000 * block + thread;
}

extern "C" __global__ void unset(float* real, int* whole) {
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ int set_in_block_zero;
  if (blockIdx.x == 0) set_in_block_zero = 5;
  real[blockIdx.x] = reinterpret_cast<float*>(memory)[3];
  whole[blockIdx.x] = set_in_block_zero;
}

extern "C" __global__ void votes(const int* x, int* out) {
  int holds = x[threadIdx.x] > 0;
  out[threadIdx.x] = __syncthreads_count(holds);
  out[N + threadIdx.x] = __syncthreads_and(holds);
  out[2 * N + threadIdx.x] = __syncthreads_or(holds);
}

extern "C" __global__ void shuffles(const float* x, float* out) {
  float value = x[threadIdx.x];
  out[threadIdx.x] = __shfl_sync(0xffffffffu, value, 3, 8);
  out[N + threadIdx.x] = __shfl_up_sync(0xffffffffu, value, 2, 16);
  out[2 * N + threadIdx.x] = __shfl_down_sync(0xffffffffu, value, 5);
  out[3 * N + threadIdx.x] = __shfl_xor_sync(0xffffffffu, value, 16);
  out[4 * N + threadIdx.x] = summed<5>(value);
}

extern "C" __global__ void warp_words(const int* x, unsigned* out) {
  int lane = threadIdx.x % 32, value = x[threadIdx.x];
  out[threadIdx.x] = __ballot_sync(0xffffffffu, value & 1);
  if (lane >= 8) out[N + threadIdx.x] = __ballot_sync(0xffffff00u, value & 1);
  __syncwarp();
  out[2 * N + threadIdx.x] = __any_sync(0xffffffffu, value == 7) * 2 +
                             __all_sync(0xffffffffu, value < 100);
  out[3 * N + threadIdx.x] = __reduce_add_sync(0xffffffffu, unsigned(value));
  out[4 * N + threadIdx.x] = __reduce_max_sync(0xffffffffu, value);
  out[5 * N + threadIdx.x] = __reduce_min_sync(0xffffffffu, value);
  out[6 * N + threadIdx.x] = __match_any_sync(0xffffffffu, value % 3);
}

extern "C" __global__ void atomics(const int* x, int* whole, unsigned long long* wide, float* real,
                                   double* twice) {
  int value = x[blockIdx.x * blockDim.x + threadIdx.x];
  atomicAdd(&whole[0], value);
  atomicSub(&whole[1], value);
  atomicMin(&whole[2], value);
  atomicMax(&whole[3], value);
  atomicAnd(&whole[4], ~value);
  atomicOr(&whole[5], value);
  atomicXor(&whole[6], value);
  if (value == 17) atomicExch(&whole[7], 42);
  atomicAdd(wide, 1ull << 33);
  atomicMax(wide + 1, (unsigned long long)value << 32);
  atomicAdd(real, 0.5f);
  atomicAdd(twice, 0.25);
  int seen = atomicAdd(&whole[8], 0), expected;  // a maximum out of compare-and-swap
  do { expected = seen; seen = atomicCAS(&whole[8], expected, max(expected, value)); }
  while (seen != expected);
}

extern "C" __global__ void vectors(const float4* x, float* out, double2* pairs) {
  float4 v = __ldg(&x[threadIdx.x]);
  out[threadIdx.x] = fmaf(v.x, v.y, v.z) + rsqrtf(v.w) + weights[threadIdx.x % 3];
  pairs[threadIdx.x] = make_double2(v.x, __float_as_int(v.y));
}

extern "C" __global__ void instances(int* out) {
  int a = doubled<4>(threadIdx.x), b = doubled<8>(10 + threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = 1000 * a + b;
  if (threadIdx.x == 0) out[32] = atomicAdd(&launches, 1);
}
"""


@pytest.fixture
def launch(order):
    module = RawModule(code=CODE, options=("-DTILE=8", f"-DN={N}"), order=order, seed=3)

    def launch(name, grid, block, args, shared_mem=0):
        module.get_function(name)(grid, block, args, shared_mem=shared_mem)

    return launch


def rng():
    return np.random.default_rng(0)


def test_barrier_orders_writes_and_reads_of_shared_memory(launch):
    x, y = np.arange(N, dtype=np.int32), np.zeros(N, np.int32)
    launch("reversed", (1,), (N,), (x, y))
    np.testing.assert_array_equal(y, x[::-1])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (8, 8), (13, 21)])
def test_two_dimensional_blocks_transpose(launch, rows, columns):
    x = rng().standard_normal((rows, columns)).astype(np.float32)
    y = np.zeros((columns, rows), np.float32)
    grid = (-(-columns // 8), -(-rows // 8))
    launch("transpose", grid, (8, 8), (x, y, np.int32(rows), np.int32(columns)))
    np.testing.assert_array_equal(y, x.T)


def test_indices_of_three_dimensions(launch):
    out = np.zeros((24, 24), np.int32)
    launch("indices", (2, 3, 4), (4, 3, 2), (out,))
    np.testing.assert_array_equal(out, 1000 * np.arange(24)[:, None] + np.arange(24))


def test_shared_memory_is_poisoned_in_every_block(launch):
    real, whole = np.zeros(3, np.float32), np.zeros(3, np.int32)
    launch("unset", (3,), (1,), (real, whole), shared_mem=16)
    assert np.isnan(real).all()
    np.testing.assert_array_equal(whole, [5, -1, -1])


@pytest.mark.parametrize("positive", [0, 5, N])
def test_votes_of_the_block(launch, positive):
    x, out = (np.arange(N) < positive).astype(np.int32), np.zeros((3, N), np.int32)
    launch("votes", (1,), (N,), (x, out))
    np.testing.assert_array_equal(
        out, np.repeat([[positive], [positive == N], [positive > 0]], N, 1)
    )


def test_shuffles(launch):
    x, out = rng().standard_normal(N).astype(np.float32), np.zeros((5, N), np.float32)
    launch("shuffles", (1,), (N,), (x, out))
    lane, warp = np.arange(N) % 32, np.arange(N) // 32 * 32
    np.testing.assert_array_equal(out[0], x[warp + lane // 8 * 8 + 3])
    np.testing.assert_array_equal(out[1], x[warp + np.where(lane % 16 >= 2, lane - 2, lane)])
    np.testing.assert_array_equal(out[2], x[warp + np.where(lane + 5 < 32, lane + 5, lane)])
    np.testing.assert_array_equal(out[3], x[warp + (lane ^ 16)])
    np.testing.assert_allclose(out[4, ::32], x.reshape(3, 32).sum(1), rtol=1e-5)


def test_votes_reductions_and_matches_of_the_warp(launch):
    x, out = rng().integers(0, 90, N).astype(np.int32), np.zeros((7, N), np.uint32)
    launch("warp_words", (1,), (N,), (x, out))
    warps, out = x.reshape(3, 32), out.reshape(7, 3, 32)
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)

    def ballot(holds):
        return (holds * bits).sum(-1, dtype=np.uint32)

    odd = warps % 2 == 1
    np.testing.assert_array_equal(out[0], np.repeat(ballot(odd)[:, None], 32, 1))
    high = ballot(odd & (np.arange(32) >= 8))
    np.testing.assert_array_equal(out[1, :, 8:], np.repeat(high[:, None], 24, 1))
    np.testing.assert_array_equal(out[2, :, 0], (warps == 7).any(1) * 2 + 1)
    np.testing.assert_array_equal(out[3:6, :, 9], [warps.sum(1), warps.max(1), warps.min(1)])
    same = warps[:, :, None] % 3 == warps[:, None, :] % 3
    np.testing.assert_array_equal(out[6], ballot(same))


def test_atomics(launch):
    x = rng().permutation(4 * N).astype(np.int32)
    whole = np.array([0, 0, 999, 0, -1, 0, 0, 0, 0], np.int32)
    wide, real, twice = np.zeros(2, np.uint64), np.zeros(1, np.float32), np.zeros(1)
    launch("atomics", (4,), (N,), (x, whole, wide, real, twice))
    total, every = x.sum(), np.bitwise_or.reduce(x)
    xor = np.bitwise_xor.reduce(x)
    expected = [total, -total, 0, x.max(), ~every, every, xor, 42, x.max()]
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(wide, [x.size << 33, int(x.max()) << 32])
    assert (real[0], twice[0]) == (x.size / 2, x.size / 4)


def test_vectors_constants_and_intrinsics(launch):
    x = (rng().random((N, 4)) + 0.5).astype(np.float32)
    out, pairs = np.zeros(N, np.float32), np.zeros((N, 2))
    launch("vectors", (1,), (N,), (x, out, pairs))
    expected = x[:, 0] * x[:, 1] + x[:, 2] + 1 / np.sqrt(x[:, 3]) + 2.0 ** (np.arange(N) % 3)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    np.testing.assert_array_equal(pairs, np.stack([x[:, 0], x[:, 1].view(np.int32)], 1))


def test_each_instance_of_a_template_has_its_own_shared_memory(launch):
    out, i = np.zeros(33, np.int32), np.arange(32)
    launch("instances", (1,), (32,), (out,))
    np.testing.assert_array_equal(out[:32], 2000 * (i % 4) + 20 + 2 * (i % 8))


def test_launches_from_several_threads_do_not_mix(launch):
    x = np.arange(N, dtype=np.int32)
    results = [np.zeros(N, np.int32) for _ in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda y: launch("reversed", (1,), (N,), (x, y)), results))
    np.testing.assert_array_equal(results, np.tile(x[::-1], (40, 1)))
