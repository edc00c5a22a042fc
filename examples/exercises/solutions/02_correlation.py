# %% [markdown]
# # Solution of exercise 2: correlation
#
# Fill the gaps, and run `pytest examples/exercises/test_02.py` until it passes. Lesson 2 is about
# images; here all has one dimension and one channel: signal x (H,), kernel w (k,), stride s, zeros
# pad = (before, after).
#
#     y[i] = Σ_p x̃[i·s + p] w[p]          x̃ = zeros, x, zeros

# %%
import numpy as np

# %% [markdown]
# **a.** How many outputs has it? And which zeros does "same" put around a side of H, so that there
# are ⌈H/s⌉ outputs?


# %%
def outputs(length, kernel, stride, pad):
    """Return the number of outputs; `length` is without the zeros pad = (before, after)."""
    return (length + sum(pad) - kernel) // stride + 1


def same_padding(length, kernel, stride):
    """Return (before, after); where the total is odd, the one that is over goes behind."""
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


# %% [markdown]
# **b.** The map, in loops or in one line.


# %%
def correlate(x, w, stride, pad):
    """Return y (OH,) for x (H,), w (k,)."""
    padded = np.pad(x, pad)
    y = np.zeros(outputs(len(x), len(w), stride, pad))
    for i in range(len(y)):
        y[i] = padded[i * stride : i * stride + len(w)] @ w
    return y


# %% [markdown]
# **c.** Its two adjoints: what y[i] += x̃[i·s + p] w[p] gives back to x and to w. Values that go to
# zeros of the padding are dropped.


# %%
def correlate_adjoint_x(dy, w, length, stride, pad):
    """Return dx (length,) for dy (OH,), w (k,)."""
    padded = np.zeros(sum(pad) + length)
    for i in range(len(dy)):
        padded[i * stride : i * stride + len(w)] += dy[i] * w
    return padded[pad[0] : pad[0] + length]


def correlate_adjoint_w(x, dy, kernel, stride, pad):
    """Return dw (kernel,) for x (H,), dy (OH,)."""
    padded, dw = np.pad(x, pad), np.zeros(kernel)
    for i in range(len(dy)):
        dw += dy[i] * padded[i * stride : i * stride + kernel]
    return dw


# %% [markdown]
# **d.** The adjoint test for any two functions: draw x and y, and return ⟨forward(x), y⟩ and
# ⟨x, adjoint(y)⟩.


# %%
def dot_products(forward, adjoint, x_shape, y_shape, rng):
    """Return both numbers, for standard normal x and y."""
    x, y = rng.standard_normal(x_shape), rng.standard_normal(y_shape)
    return (forward(x) * y).sum(), (x * adjoint(y)).sum()


# %% [markdown]
# **e.** Another linear map: nearest-neighbour upsampling of an image (H, W) repeats every pixel s
# times along both axes, y (H·s, W·s). What is its adjoint?


# %%
def upsample(x, s):
    """Return y (H·s, W·s) for x (H, W)."""
    return x.repeat(s, axis=0).repeat(s, axis=1)


def upsample_adjoint(dy, s):
    """Return dx (H, W) for dy (H·s, W·s)."""
    H, W = dy.shape
    return dy.reshape(H // s, s, W // s, s).sum(axis=(1, 3))
