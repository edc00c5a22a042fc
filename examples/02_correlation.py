# %% [markdown]
# # 2. Correlation: one linear map and its two adjoints
#
# Everything that a convolutional auto-encoder computes with its kernels is one map and its two
# transposes: forward and backward of the convolution, forward and backward of the transposed one.
# For one image x (H, W, C) and weights W (kh, kw, C, K), with stride s:
#
#     y[i,j,k] = Σ_{p,q,c} x̃[i·s + p, j·s + q, c] W[p,q,c,k]         y (OH, OW, K)
#
# x̃ is x with zeros around it. Papers say "convolution"; the kernel is not flipped, so it is a
# correlation.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from l2ae_core.figures.style import CLASS_COLOURS, FAINT, GRID, INK, NORMAL, bare

rng = np.random.default_rng(0)

# %% [markdown]
# ## Who sees whom
#
# Output (i, j) sees pixel (h, w) through tap (p, q) of the kernel where h = i·s + p − top and
# w = j·s + q − left. These triples are the whole geometry; pixels outside the image are zeros, and
# left out.


# %%
def outputs(length, kernel, stride, pad):
    """⌊(length + before + after − kernel)/stride⌋ + 1"""
    return (length + sum(pad) - kernel) // stride + 1


def triples(size, kernel, stride, pads):
    """Yield (output, pixel, tap), each a pair of indices; pads = ((top, bottom), (left, right))."""
    OH, OW = (outputs(n, k, stride, pad) for n, k, pad in zip(size, kernel, pads, strict=True))
    for i, j, p, q in np.ndindex(OH, OW, *kernel):
        h, w = i * stride + p - pads[0][0], j * stride + q - pads[1][0]
        if 0 <= h < size[0] and 0 <= w < size[1]:
            yield (i, j), (h, w), (p, q)


# %% [markdown]
# ## The map, and both adjoints
#
# One line for each triple: a pixel (C,) times a tap (C, K) is added to an output (K,). Now a loss
# depends on y, and dy = ∂loss/∂y is known. By the chain rule each line gives back what it took:
#
#     y[output] += x[pixel] W[tap]       dx[pixel] += W[tap] dy[output]          (dgrad)
#                                        dW[tap]   += x[pixel] ⊗ dy[output]      (wgrad)


# %%
def correlate(x, W, stride, pads):
    size = [outputs(n, k, stride, pad) for n, k, pad in zip(x.shape, W.shape, pads, strict=False)]
    y = np.zeros((*size, W.shape[3]))
    for output, pixel, tap in triples(x.shape[:2], W.shape[:2], stride, pads):
        y[output] += x[pixel] @ W[tap]
    return y


def correlate_adjoint_x(dy, W, size, stride, pads):
    dx = np.zeros((*size, W.shape[2]))
    for output, pixel, tap in triples(size, W.shape[:2], stride, pads):
        dx[pixel] += W[tap] @ dy[output]
    return dx


def correlate_adjoint_W(x, dy, kernel, stride, pads):
    dW = np.zeros((*kernel, x.shape[2], dy.shape[2]))
    for output, pixel, tap in triples(x.shape[:2], kernel, stride, pads):
        dW[tap] += np.outer(x[pixel], dy[output])
    return dW


# %% [markdown]
# ## As a matrix
#
# The map is linear in x, so it is a matrix A. Its columns are the answers to images of which one
# pixel is 1. With y = A x the chain rule reads dxⱼ = Σᵢ ∂yᵢ/∂xⱼ dyᵢ = Σᵢ Aᵢⱼ dyᵢ: the backward
# pass is Aᵀ.
#
# Nine taps on an image of 5×5, each tap in its colour:


# %%
def matrix(linear, shape):
    """The matrix of a linear map of arrays of `shape`."""
    units = np.eye(np.prod(shape)).reshape(-1, *shape)
    return np.stack([linear(unit).ravel() for unit in units], axis=1)


taps = np.arange(1.0, 10).reshape(3, 3, 1, 1)  # numbers 1 … 9 stand for colours here
valid, same = ((0, 0), (0, 0)), ((1, 1), (1, 1))
A = {s: matrix(lambda x, s=s: correlate(x, taps, s, same), (5, 5, 1)) for s in (1, 2)}
pictures = {
    "W": taps[:, :, 0, 0],
    "A, stride 1, no zeros": matrix(lambda x: correlate(x, taps, 1, valid), (5, 5, 1)),
    "A, stride 2, a ring of zeros": A[2],
    "Aᵀ of the last: 9 → 25": A[2].T,
}
colours = ListedColormap(["white", *CLASS_COLOURS[:9]])
widths = [3, 25, 25, 9]
figure, axes = plt.subplots(1, 4, figsize=(11, 3.6), layout="constrained", width_ratios=widths)
for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
    ax.imshow(picture, cmap=colours, vmin=0, vmax=9)
    rows, columns = picture.shape
    ax.hlines(np.arange(rows + 1) - 0.5, -0.5, columns - 0.5, color=GRID, linewidth=0.6)
    ax.vlines(np.arange(columns + 1) - 0.5, -0.5, rows - 0.5, color=GRID, linewidth=0.6)
    ax.set_title(name, fontsize=10, color=INK)
    bare(ax)
plt.show()

dy = rng.standard_normal((3, 3, 1))
dx = correlate_adjoint_x(dy, taps, (5, 5), 2, same)
np.testing.assert_allclose(dx.ravel(), A[2].T @ dy.ravel(), rtol=1e-13)

# %% [markdown]
# It is linear in W, too: y = B w, where w are the weights in one column. A row of B is the window
# that an output sees, written as a row: B is what im2col makes, and dW = Bᵀ dy.

# %%
x = rng.standard_normal((5, 5, 1))
B = matrix(lambda W: correlate(x, W, 2, same), (3, 3, 1, 1))
np.testing.assert_allclose(B[4].reshape(3, 3), x[1:4, 1:4, 0])  # the middle output sees the middle
dW = correlate_adjoint_W(x, dy, (3, 3), 2, same)
np.testing.assert_allclose(dW.ravel(), B.T @ dy.ravel(), rtol=1e-13, atol=1e-13)

# %% [markdown]
# ## The adjoint test
#
# No matrix is needed to tell whether two functions are transposes: for random x, W and dy
#
#     ⟨correlate(x, W), dy⟩ = ⟨x, adjoint_x(dy, W)⟩ = ⟨W, adjoint_W(x, dy)⟩
#
# Exact but for rounding, no step size, any shape. A wrong stride, a shifted border or a flipped
# kernel in one of the three breaks it; the same mistake in all of them does not, so one of them
# must be checked by its definition.

# %%
x, W, dy = (rng.standard_normal(shape) for shape in ((8, 6, 2), (5, 5, 2, 3), (4, 3, 3)))
pads = ((1, 2), (1, 2))
products = [
    (correlate(x, W, 2, pads) * dy).sum(),
    (x * correlate_adjoint_x(dy, W, (8, 6), 2, pads)).sum(),
    (W * correlate_adjoint_W(x, dy, (5, 5), 2, pads)).sum(),
]
print("three times the same number:", *map(float, products))
np.testing.assert_allclose(products, products[0], rtol=1e-11)

# %% [markdown]
# ## "Same" at stride 2 is not symmetric
#
# "Same" asks for ⌈H/s⌉ outputs with as few zeros as possible:
#
#     total = max((⌈H/s⌉ − 1)·s + k − H, 0),   before = ⌊total/2⌋,   after = total − before
#
# For k = 5, s = 2 and an even H, total is 3: one zero before, two behind. Two on both sides also
# give H/2 outputs, but every window lies one pixel further to the front, and the last zero is never
# seen. A network trains with either; weights of the one are useless in the other.


# %%
def same_padding(length, kernel, stride):
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


assert same_padding(28, 5, 2) == (1, 2)
figure, axes = plt.subplots(1, 2, figsize=(10, 2.6), layout="constrained", sharex=True, sharey=True)
for ax, pad in zip(axes, ((1, 2), (2, 2)), strict=True):
    for pixel in range(-pad[0], 8 + pad[1]):
        inside = 0 <= pixel < 8
        ax.add_patch(plt.Rectangle((pixel, 0), 1, 1, facecolor=GRID if inside else "white",
                                   edgecolor=FAINT))  # fmt: skip
        ax.text(pixel + 0.5, 0.5, f"x{pixel}" if inside else 0, ha="center", va="center",
                color=INK if inside else FAINT)  # fmt: skip
    for i in range(outputs(8, 5, 2, pad)):
        start = 2 * i - pad[0]
        ax.plot([start + 0.1, start + 4.9], [1.5 + 0.6 * i] * 2, color=NORMAL, linewidth=3)
        ax.text(start + 5.1, 1.5 + 0.6 * i, f"y{i}", va="center", color=NORMAL)
    ax.set(xlim=(-2.2, 11), ylim=(-0.2, 4), title=f"zeros {pad}" + ': "same"' * (pad == (1, 2)))
    bare(ax)
plt.show()

# %% [markdown]
# ## The transposed convolution
#
# A decoder has to make images larger. It uses the adjoint in x as its *forward* pass: every pixel
# of the small image adds its multiple of the kernel to the large one. Its backward pass is then
# `correlate`, and its weight gradient is adjoint_W with the two images exchanged. Nothing new is
# needed. Where s does not divide k, pixels get unequal numbers of kernels: a checkerboard, which
# the training has to even out.

# %%
small = np.zeros((4, 4, 1))
small[1, 1], small[2, 3] = 1, 0.6
bell = np.exp(-((np.arange(5) - 2) ** 2) / 2)
bump = (bell[:, None] * bell)[..., None, None]
panels = {
    "x, two pixels": small,
    "transposed convolution: two kernels": correlate_adjoint_x(small, bump, (8, 8), 2, pads),
    "kernels that reach a pixel": correlate_adjoint_x(
        np.ones_like(small), np.ones_like(bump), (8, 8), 2, pads
    ),
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, (name, picture) in zip(axes, panels.items(), strict=True):
    ax.imshow(picture[..., 0], cmap="Blues", vmin=0)
    if name.startswith("kernels"):
        for (h, w), count in np.ndenumerate(picture[..., 0]):
            white = count > 5
            ax.text(w, h, f"{count:.0f}", ha="center", va="center", color="white" if white else INK)
    ax.set_title(name, fontsize=10, color=INK)
    bare(ax)
plt.show()

# %% [markdown]
# ## The same as the library
#
# `l2ae_kernels.ops` takes batches and has faster implementations of the same three; its README
# tells how they became fast. Two orders of summing T terms differ by at most 2 T ε Σ|terms|, and
# Σ|terms| is what the loops give for absolute values.

# %%
from l2ae_kernels import ops

how = {"stride": (2, 2), "padding": pads}
checks = {
    "correlate": (
        lambda x, W: correlate(x, W, 2, pads),
        lambda x, W: ops.correlate(x, W, None, **how),
        (x, W),
    ),
    "correlate_adjoint_x": (
        lambda dy, W: correlate_adjoint_x(dy, W, (8, 6), 2, pads),
        lambda dy, W: ops.correlate_adjoint_x(dy, W, None, image_size=(8, 6), **how),
        (dy, W),
    ),
    "correlate_adjoint_W": (
        lambda x, dy: correlate_adjoint_W(x, dy, (5, 5), 2, pads),
        lambda x, dy: ops.correlate_adjoint_W(x, dy, kernel_size=(5, 5), **how),
        (x, dy),
    ),
}
for name, (loops, library, arguments) in checks.items():
    batches = [a[None] if a is not W else a for a in arguments]
    off = abs(loops(*arguments) - library(*batches)).reshape(-1)
    terms = 25 * max(W.shape[2:])  # no sum has more
    bound = 2 * terms * np.finfo(float).eps * loops(*map(abs, arguments)).ravel()
    assert (off <= bound).all(), name
    print(f"{name}: off by {off.max():.1e}, allowed {bound.max():.1e}")
