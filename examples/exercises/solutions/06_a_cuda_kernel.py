# %% [markdown]
# # Solution of exercise 6: a CUDA kernel
#
# Fill the gaps, and run `pytest examples/exercises/test_06.py` until it passes: it runs your
# kernels in the emulator, with their threads in several orders and on sizes that fill no block. It
# needs a C++ compiler, and no GPU. Each function returns the text of one kernel.
#
# These tests do not see a race that gives the right result by luck. ThreadSanitizer does:
#
#     cd examples/exercises
#     python -m l2ae_kernels.emulator.sanitized --tool thread -- pytest -n 0 test_06.py

# %% [markdown]
# **a.** One thread an element: y[i] = max(x[i], slope · x[i]), for 0 ≤ slope ≤ 1.


# %%
def leaky_relu():
    """Return the kernel leaky_relu(const float* x, float* y, float slope, int n)."""
    return r"""
extern "C" __global__ void leaky_relu(const float* x, float* y, float slope, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = fmaxf(x[i], slope * x[i]);
}
"""


# %% [markdown]
# **b.** Two dimensions: y (W, H) is x (H, W) transposed. Blocks and the grid are two-dimensional:
# `threadIdx.x` and `blockIdx.x` run along W, `.y` along H.


# %%
def transpose():
    """Return the kernel transpose(const float* x, float* y, int height, int width)."""
    return r"""
extern "C" __global__ void transpose(const float* x, float* y, int height, int width) {
  int w = blockIdx.x * blockDim.x + threadIdx.x;
  int h = blockIdx.y * blockDim.y + threadIdx.y;
  if (w < width && h < height) y[w * height + h] = x[h * width + w];
}
"""


# %% [markdown]
# **c.** Threads that work together: block n of 64 threads sums row n of x (N, features), for any
# number of features, in shared memory. Where are the barriers?


# %%
def row_sums():
    """Return the kernel row_sums(const float* x, float* sums, int features)."""
    return r"""
extern "C" __global__ void row_sums(const float* x, float* sums, int features) {
  __shared__ float part[64];
  float sum = 0.0f;
  for (int f = threadIdx.x; f < features; f += blockDim.x) sum += x[blockIdx.x * features + f];
  part[threadIdx.x] = sum;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = part[0];
}
"""


# %% [markdown]
# **d.** Threads of all blocks that add in one place: how many of the labels (n,) are k, for every
# cluster k? `counts` (K,) is zero at the start.


# %%
def cluster_sizes():
    """Return the kernel cluster_sizes(const int* labels, int* counts, int n)."""
    return r"""
extern "C" __global__ void cluster_sizes(const int* labels, int* counts, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(&counts[labels[i]], 1);
}
"""


# %% [markdown]
# **e.** The backward pass of Eq. 4, dz = (du − u⟨u, du⟩)/n, with one warp of 32 threads a row, and
# no shared memory: `__shfl_xor_sync(0xffffffffu, v, 16)` returns the v of the lane whose number
# differs in bit 16; added up over the bits 16, 8, 4, 2, 1, every lane has the sum. A block is
# one warp, the block number is the row. `lengths` (N,) holds n.


# %%
def l2_normalize_adjoint():
    """Return the kernel l2_normalize_adjoint(const float* du, const float* u, const float* lengths,
    float* dz, int features)."""
    return r"""
extern "C" __global__ void l2_normalize_adjoint(const float* du, const float* u,
                                                const float* lengths, float* dz, int features) {
  int row = blockIdx.x * features;
  float dot = 0.0f;
  for (int f = threadIdx.x; f < features; f += 32) dot += u[row + f] * du[row + f];
  for (int bit = 16; bit > 0; bit /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, bit);
  for (int f = threadIdx.x; f < features; f += 32)
    dz[row + f] = (du[row + f] - u[row + f] * dot) / lengths[blockIdx.x];
}
"""
