# %% [markdown]
# # Exercise 2: correlation
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
    raise NotImplementedError("exercise 2a")


def same_padding(length, kernel, stride):
    """Return (before, after); where the total is odd, the one that is over goes behind."""
    raise NotImplementedError("exercise 2a")


# %% [markdown]
# **b.** The map, in loops or in one line.


# %%
def correlate(x, w, stride, pad):
    """Return y (OH,) for x (H,), w (k,)."""
    raise NotImplementedError("exercise 2b")


# %% [markdown]
# **c.** Its two adjoints: what y[i] += x̃[i·s + p] w[p] gives back to x and to w. Values that go to
# zeros of the padding are dropped.


# %%
def correlate_adjoint_x(dy, w, length, stride, pad):
    """Return dx (length,) for dy (OH,), w (k,)."""
    raise NotImplementedError("exercise 2c")


def correlate_adjoint_w(x, dy, kernel, stride, pad):
    """Return dw (kernel,) for x (H,), dy (OH,)."""
    raise NotImplementedError("exercise 2c")


# %% [markdown]
# **d.** The adjoint test for any two functions: draw x and y, and return ⟨forward(x), y⟩ and
# ⟨x, adjoint(y)⟩.


# %%
def dot_products(forward, adjoint, x_shape, y_shape, rng):
    """Return both numbers, for standard normal x and y."""
    raise NotImplementedError("exercise 2d")


# %% [markdown]
# **e.** Another linear map: nearest-neighbour upsampling of an image (H, W) repeats every pixel s
# times along both axes, y (H·s, W·s). What is its adjoint?


# %%
def upsample(x, s):
    """Return y (H·s, W·s) for x (H, W)."""
    raise NotImplementedError("exercise 2e")


def upsample_adjoint(dy, s):
    """Return dx (H, W) for dy (H·s, W·s)."""
    raise NotImplementedError("exercise 2e")
