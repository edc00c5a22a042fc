# %% [markdown]
# # Exercise 6: a CUDA kernel
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
    raise NotImplementedError("exercise 6a")


# %% [markdown]
# **b.** Two dimensions: y (W, H) is x (H, W) transposed. Blocks and the grid are two-dimensional:
# `threadIdx.x` and `blockIdx.x` run along W, `.y` along H.


# %%
def transpose():
    """Return the kernel transpose(const float* x, float* y, int height, int width)."""
    raise NotImplementedError("exercise 6b")


# %% [markdown]
# **c.** Threads that work together: block n of 64 threads sums row n of x (N, features), for any
# number of features, in shared memory. Where are the barriers?


# %%
def row_sums():
    """Return the kernel row_sums(const float* x, float* sums, int features)."""
    raise NotImplementedError("exercise 6c")


# %% [markdown]
# **d.** Threads of all blocks that add in one place: how many of the labels (n,) are k, for every
# cluster k? `counts` (K,) is zero at the start.


# %%
def cluster_sizes():
    """Return the kernel cluster_sizes(const int* labels, int* counts, int n)."""
    raise NotImplementedError("exercise 6d")


# %% [markdown]
# **e.** The backward pass of Eq. 4, dz = (du − u⟨u, du⟩)/n, with one warp of 32 threads a row, and
# no shared memory: `__shfl_xor_sync(0xffffffffu, v, 16)` returns the v of the lane whose number
# differs in bit 16; added up over the bits 16, 8, 4, 2, 1, every lane has the sum. A block is
# one warp, the block number is the row. `lengths` (N,) holds n.


# %%
def l2_normalize_adjoint():
    """Return the kernel l2_normalize_adjoint(const float* du, const float* u, const float* lengths,
    float* dz, int features)."""
    raise NotImplementedError("exercise 6e")
