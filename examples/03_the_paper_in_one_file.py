# %% [markdown]
# # 3. The paper in one file
#
# Images → auto-encoder with the constraint → k-means → clusters and outliers: all of it in NumPy,
# from the first weight to the accuracy, nothing imported from this project until the last cell,
# which trains the same network with the library and compares numbers.

# %%
import os
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

threadpool_limits(1)  # of BLAS: for such small matrices more threads cost more
quick = "L2AE_EXAMPLE_QUICK" in os.environ  # a run in CI: enough to see that it works
SEED, K, D, BATCH = 0, 10, 10, 64
EPOCHS = 4 if quick else 60
WIDTHS = (64, 128, 64, D)  # the paper: (784, 500, 500, 2000, 10)

pixels, digits = load_digits(return_X_y=True)
images = pixels / 16  # (N, 64) float64 in [0, 1]; `digits` are for the accuracy alone

# One generator for each purpose: weights, order of the batches, first centres of k-means.
init, shuffle, draw, _ = (np.random.default_rng(s) for s in np.random.SeedSequence(SEED).spawn(4))

# %% [markdown]
# ## The network
#
# Dense layers y = x W + b with a leaky rectifier after each hidden one; Eq. 4 in the middle:
#
#     64 → 128 → 64 → z (10) → u = z/|z| → 64 → 128 → 64
#
# The first weights are Glorot's: uniform in ±√(6/(inputs + outputs)). A forward pass returns what
# the backward pass will need.

# %%
SLOPE, EPS = 0.01, 1e-6


def first_weights():
    sizes = [*WIDTHS, *WIDTHS[-2::-1]]
    params = []
    for inputs, outputs in pairwise(sizes):
        limit = np.sqrt(6 / (inputs + outputs))
        params += [init.uniform(-limit, limit, (inputs, outputs)), np.zeros(outputs)]
    return params  # W, b, W, b, …


def normalize(z):
    n = np.sqrt((z * z).sum(axis=1, keepdims=True) + EPS**2)
    return z / n, n


def forward(params, x):
    """Return the reconstruction of x (B, 64), the codes u (B, 10), and the inputs of all layers."""
    inputs, layers = [], len(params) // 2
    for layer in range(layers):
        inputs.append(x)
        x = x @ params[2 * layer] + params[2 * layer + 1]
        if layer == layers // 2 - 1:
            x, n = normalize(x)
            u = x
        elif layer < layers - 1:
            x = np.where(x > 0, x, SLOPE * x)
    return x, u, (inputs, n)


# %% [markdown]
# ## The backward pass
#
# From the last layer to the first, dy is ∂loss/∂y of the layer at hand:
#
#     dense            dW = xᵀ dy     db = Σ dy     dx = dy Wᵀ
#     leaky rectifier  dx = dy where x > 0, slope · dy elsewhere
#     Eq. 4            dz = (du − u⟨u, du⟩)/n


# %%
def backward(params, dy, u, cache):
    """Return the gradients of params."""
    inputs, n = cache
    grads, layers = [None] * len(params), len(params) // 2
    for layer in reversed(range(layers)):
        x, W = inputs[layer], params[2 * layer]
        grads[2 * layer : 2 * layer + 2] = x.T @ dy, dy.sum(axis=0)
        dy = dy @ W.T
        if layer == layers // 2:  # its input is u
            dy = (dy - u * (u * dy).sum(axis=1, keepdims=True)) / n
        else:  # its input is the output of a rectifier, whose sign is that of its input
            dy = np.where(x > 0, dy, SLOPE * dy)
    return grads


# %% [markdown]
# ## Training
#
# Eq. 3, the mean squared error, by Adam: m and v are running means of the gradient and of its
# square, and each weight moves by the learning rate times m/√v, corrected for their start at zero.


# %%
def adam(params, grads, m, v, t, rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    rate *= np.sqrt(1 - beta2**t) / (1 - beta1**t)
    for p, g, mean, square in zip(params, grads, m, v, strict=True):
        mean += (1 - beta1) * (g - mean)
        square += (1 - beta2) * (g * g - square)
        p -= rate * mean / (np.sqrt(square) + eps)


def train(params, shuffle):
    """Change params in place; return the loss of each epoch."""
    m, v = ([np.zeros_like(p) for p in params] for _ in range(2))
    losses, t = [], 0
    for _ in range(EPOCHS):
        order, total = shuffle.permutation(len(images)), 0.0
        for start in range(0, len(images), BATCH):
            x = images[order[start : start + BATCH]]
            y, u, cache = forward(params, x)
            total += ((y - x) ** 2).mean() * len(x)
            t += 1
            adam(params, backward(params, 2 * (y - x) / x.size, u, cache), m, v, t)
        losses.append(total / len(images))
    return losses


params = first_weights()
start = [p.copy() for p in params]
losses = train(params, shuffle)
reconstruction, u, _ = forward(params, images)
print(f"{len(images)} images, {sum(p.size for p in params):,} weights")
print(f"loss {losses[0]:.4f} → {losses[-1]:.4f};  |u| = {np.linalg.norm(u[0]):.12f}")

# %% [markdown]
# ## k-means
#
# Lloyd's iteration: each code to its nearest centre, each centre to the mean of its codes, until no
# label changes. It starts from k-means++: the next centre is drawn with a probability ∝ D², the
# squared distance to the nearest centre so far; of a few such candidates the best is kept. The
# best of 20 restarts wins.


# %%
def squared_distances(x, centers):  # (N, K)
    return ((x[:, None] - centers) ** 2).sum(axis=2)


def first_centers(x, rng):
    first, draws = rng.integers(len(x)), rng.random((K - 1, 2 + int(np.log(K))))
    centers = [x[first]]
    nearest = squared_distances(x, x[[first]])[:, 0]  # D²
    for chances in draws:
        rows = np.searchsorted(nearest.cumsum(), chances * nearest.sum(), side="right")
        lower = np.minimum(nearest[:, None], squared_distances(x, x[rows]))  # (N, candidates)
        best = lower.sum(axis=0).argmin()
        centers, nearest = [*centers, x[rows[best]]], lower[:, best]
    return np.array(centers)


def kmeans(x, rng, restarts=20):
    """Return inertia Σ|x − c|², labels (N,) and centres (K, D) of the best restart."""
    runs = []
    for seed in rng.integers(2**63, size=restarts):
        centers = first_centers(x, np.random.default_rng(seed))
        labels, before = squared_distances(x, centers).argmin(axis=1), None
        while not np.array_equal(labels, before):
            centers = np.array([x[labels == j].mean(axis=0) for j in range(K)])
            labels, before = squared_distances(x, centers).argmin(axis=1), labels
        runs.append((((x - centers[labels]) ** 2).sum(), labels, centers))
    return min(runs, key=lambda run: run[0])


inertia, labels, centers = kmeans(u, draw)

# %% [markdown]
# ## Accuracy (Eq. 6) and normality (Eq. 5)
#
# ACC is the share of right images under the best one-to-one mapping of clusters to digits. There
# are 10! mappings, but only 2¹⁰ sets of digits: best[S] is the most images that the first |S|
# clusters get right when they are mapped onto the set S.
#
# v = max_j u·cⱼ/|cⱼ| is the cosine to the nearest centre; a low one is an outlier.


# %%
def accuracy(true, labels):
    counts = np.zeros((K, K), int)  # clusters × digits
    np.add.at(counts, (labels, true), 1)
    best = np.zeros(2**K, int)
    for S in range(2**K):
        for digit in range(K):
            if not S >> digit & 1:
                gained = best[S] + counts[S.bit_count(), digit]
                best[S | 1 << digit] = max(best[S | 1 << digit], gained)
    return best[-1] / len(true)


acc = accuracy(digits, labels)
v = (u @ (centers / np.linalg.norm(centers, axis=1, keepdims=True)).T).max(axis=1)
print(f"ACC {acc:.4f}, v from {v.min():.3f} to {v.max():.3f}")

figure, axes = plt.subplots(3, 10, figsize=(9, 3.1), layout="constrained")
rows = {
    "most normal": (images, -v),
    "least normal": (images, v),
    "reconstructed": (reconstruction, v),
}
for row, (name, (source, order)) in zip(axes, rows.items(), strict=True):
    for ax, index in zip(row, order.argsort()[:10], strict=True):
        ax.imshow(source[index].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()

# %% [markdown]
# ## The same numbers
#
# The library with the same seed, in float64, layer by layer on its kernels. How equal must two
# programs be that add in another order? That is measured: first weights that are moved by a share
# δ = 1e-8 move the codes by κδ. Each of S steps rounds by a share of T ε at most, T the longest
# sum, in either program; so the codes may differ by 2 κ S T ε, and the losses too.

# %%
from l2ae_core.anomaly import normality
from l2ae_core.clustering.kmeans import kmeans as library_kmeans
from l2ae_core.clustering.metrics import accuracy as library_accuracy
from l2ae_core.networks import Architecture, build
from l2ae_core.seeding import rngs
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import Adam


def train_library(dtype):
    random = rngs(SEED)
    model = build(Architecture("dense", (8, 8, 1), hidden=WIDTHS[1:-1]), random.init, dtype)
    x = images.reshape(-1, 8, 8, 1).astype(dtype)
    how = {"batch_size": BATCH, "optimizer": Adam(), "rng": random.shuffle, "progress": False}
    history = fit(model, x, epochs=EPOCHS, **how)
    codes = model.encode(x)
    return np.array([e.loss for e in history]), codes, library_kmeans(codes, K, rng=random.kmeans)


DELTA = 1e-8
moved = [p * (1 + DELTA * np.sign(np.sin(np.arange(p.size))).reshape(p.shape)) for p in start]
train(moved, rngs(SEED).shuffle)
kappa = abs(forward(moved, images)[1] - u).max() / DELTA
allowed = 2 * kappa * EPOCHS * np.ceil(len(images) / BATCH) * max(WIDTHS) * np.finfo(float).eps

lib_losses, lib_u, found = train_library(np.float64)
off = abs(lib_u - u).max(), (abs(lib_losses - losses) / losses).max()
print(f"κ = {kappa:.1f}; codes off by {off[0]:.1e}, losses by {off[1]:.1e}, allowed {allowed:.1e}")
assert max(off) <= allowed
assert abs(found.inertia - inertia) <= 4 * D * allowed * inertia
assert abs(normality(lib_u, found.centers) - v).max() <= D * allowed  # a sum of D products
assert library_accuracy(digits, found.labels) == acc

# %% [markdown]
# What a user runs is float32 and compiled, a whole training step in a few calls. Adam divides by
# the size of a gradient, so where a gradient is nearly zero its rounding decides a step: the two
# precisions part, slowly.

# %%
fast_losses, fast_u, found = train_library(np.float32)
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
epochs = np.arange(1, EPOCHS + 1)
ax.plot(epochs, losses, color="#0072B2", linewidth=4, alpha=0.4, label="this file, float64")
ax.plot(epochs, fast_losses, color="#D55E00", linestyle="--", label="library, float32, compiled")
ax.set(xlabel="epoch", ylabel="loss", yscale="log")
ax.legend(frameon=False)
plt.show()
print(f"float32: loss {fast_losses[-1]:.4f}, ACC {library_accuracy(digits, found.labels):.4f}")
