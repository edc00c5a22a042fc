# %% [markdown]
# # 5. Your own layer
#
# A layer is a map y = f(x; θ) and its adjoint. Two methods, and nothing is stored in between:
#
#     y, cache  = layer.forward(x)              y = f(x; θ)
#     dx, grads = layer.backward(dy, cache)     dx = (∂f/∂x)ᵀ dy,   grads[name] = (∂f/∂θ)ᵀ dy
#
# A wrong `backward` rarely stops a training: the loss falls all the same, only less. This lesson
# writes layers, plants the usual mistakes in them, and has them found; then it trains with one.

# %%
import os
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np

from l2ae_core.data import load
from l2ae_core.figures.style import ANOMALY, FAINT, INK, NORMAL, dress
from l2ae_core.gradcheck import check_layer
from l2ae_core.layers import Dense, L2Normalize, LeakyReLU, Reshape, Sequential
from l2ae_core.layers.base import Cache, Layer, Params
from l2ae_core.networks import AutoEncoder
from l2ae_core.seeding import rngs
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import Adam
from l2ae_kernels.arrays import Array

quick = "L2AE_EXAMPLE_QUICK" in os.environ  # a run in CI: enough to see that it works
rng = np.random.default_rng(0)

# %% [markdown]
# ## A layer with a parameter
#
# Every feature gets a factor: y = s x. Where one number has several uses, its gradient is the sum
# over them. Each s_d is used by all N samples:
#
#     y_nd = s_d x_nd          dx_nd = s_d dy_nd          ds_d = Σ_n x_nd dy_nd
#
# A layer is a dataclass whose arrays are its parameters. `params` gives them their names, and
# `grads` has the same names. What `backward` needs of `forward` goes through the cache.


# %%
@dataclass(eq=False)
class Scale(Layer):
    """y = s x,  dx = s dy,  ds = Σ_n x_n dy_n."""

    s: Array  # (D,)

    @property
    def params(self) -> Params:
        return {"s": self.s}

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        return self.s * x, x

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        x = cache
        return self.s * dy, {"s": (x * dy).sum(axis=0)}


# %% [markdown]
# ## Is it the derivative?
#
# Take the loss Σ dy·y with a random dy. Its gradient is what `backward` returns, and central
# differences and complex steps say what it should be (lesson 1). Each row of the table is one block
# of numbers, x or a parameter, by one method.
#
# dy is random, and never 1 everywhere: against ones, the gradient of a softmax is zero, and a mean
# looks like its entries.

# %%
x = rng.standard_normal((5, 4))
report = check_layer(Scale(rng.standard_normal(4)), x)
print(report)
report.raise_if_bad()  # a GradientError, which is an AssertionError: for tests

# %% [markdown]
# ## Five mistakes
#
# Each subclass breaks one line. `Averaged` takes the mean over the batch for the sum. `Short` ends
# its loop one sample too early.
# `Unprojected` is Eq. 4 without the part of its backward pass that lesson 1 derived.
# `Untransposed` is y = x W + b with dy W for dy Wᵀ, which has the right shape since W is square.
# `Leaky` has another slope backward than forward.


# %%
class Averaged(Scale):
    def backward(self, dy, cache):
        return self.s * dy, {"s": (cache * dy).mean(axis=0)}


class Short(Scale):
    def backward(self, dy, cache):
        dx = np.zeros_like(dy)
        for n in range(len(dy) - 1):
            dx[n] = self.s * dy[n]
        return dx, super().backward(dy, cache)[1]


class Unprojected(L2Normalize):
    def backward(self, dy, cache):
        _, n = cache
        return dy / n, {}


class Untransposed(Dense):
    def backward(self, dy, cache):
        return dy @ self.W, self.weight_grads(dy, cache)


class Leaky(LeakyReLU):
    def backward(self, dy, cache):
        return np.where(cache > 0, dy, 0.1 * dy), {}


mistakes = [
    Averaged(rng.standard_normal(4)),
    Short(rng.standard_normal(4)),
    Unprojected(),
    Untransposed.glorot(4, 4, rng),
    Leaky(0.01),
]
reports = {type(layer).__name__: check_layer(layer, x) for layer in mistakes}
for name, report in reports.items():
    print(f"{name:>13}: {report.worst.block} is {report.worst.verdict}: {report.worst.hint}")
assert not any(report.ok for report in reports.values())

# %% [markdown]
# ## Where is it wrong?
#
# A row keeps the relative error of every entry. Where the errors lie is often the explanation: all
# over the array, in the last row, or at the negative x alone, as in the last panel.

# %%
figure, axes = plt.subplots(1, 5, figsize=(11, 2.6), layout="constrained")
for ax, (name, report) in zip(axes, reports.items(), strict=True):
    (row,) = (r for r in report.rows if r.block == report.worst.block and r.method == "central")
    errors = np.log10(np.maximum(np.atleast_2d(row.errors), 1e-12))
    image = ax.imshow(errors, vmin=-12, vmax=0, cmap="YlOrBr", aspect="auto")
    ax.set_title(f"{name}: {row.block}", fontsize=11, color=INK)
    ax.set_xticks([])
    ax.set_yticks([])
figure.colorbar(image, ax=axes, label="log₁₀ of the relative error")
plt.show()

# %% [markdown]
# The same from the command line, for a class in any file, with the picture:
#
#     l2ae gradcheck examples/05_your_own_layer.py:Averaged --args '{"s": "4"}' --figure errors.png
#
# "4" stands for a random array of that shape. `l2ae gradcheck` alone checks every layer, loss and
# network of this project.
#
# ## Mistakes of form
#
# What is no layer at all is a sentence, not an error from the depths of NumPy:


# %%
class Forgetful(Scale):
    def backward(self, dy, cache):
        super().backward(dy, cache)  # and no return


try:
    check_layer(Forgetful(np.ones(4)), x)
except ValueError as error:
    print(error)

# %% [markdown]
# ## A kink
#
# The derivative of |x| at 0 does not exist, and a central difference across it is neither of the
# two slopes. `gates` tells the checker on which smooth piece each unit is; an entry whose
# difference crosses a kink is left out and counted. Without `gates` it looks at the slopes.


# %%
class Absolute(Layer):
    """y = |x|, dx = sign(x) dy."""

    def forward(self, x, train=False):
        return np.where(x.real > 0, x, -x), x  # not np.abs: complex steps have to go through

    def backward(self, dy, cache):
        return np.sign(cache) * dy, {}

    def gates(self, cache):
        return [cache.real > 0]


at_the_kink = x.copy()
at_the_kink[0] = [0, 1e-6, -1e-6, 0]
report = check_layer(Absolute(), at_the_kink)
print(f"ok: {report.ok}; left out on kinks: {report.kinks}")

# %% [markdown]
# ## Train with it
#
# Swish, y = x σ(x), in place of the rectifier (Ramachandran, Zoph, Le 2017):
#
#     σ′ = σ(1 − σ)          y′ = σ + xσ(1 − σ) = σ + y(1 − σ)
#
# A network with a class of yours is trained layer by layer; one of the library's layers alone by a
# compiled step, which is faster and knows no others.


# %%
class Swish(Layer):
    """y = x σ(x),  dx = (σ + y(1 − σ)) dy."""

    def forward(self, x, train=False):
        sigma = 1 / (1 + np.exp(-x))
        return x * sigma, (x * sigma, sigma)

    def backward(self, dy, cache):
        y, sigma = cache
        return (sigma + y * (1 - sigma)) * dy, {}


check_layer(Swish(), x).raise_if_bad()


def network(activation, rng):
    """Return an auto-encoder of 8×8 images with a code of 10 numbers on the sphere."""

    def dense(inputs, outputs):
        return Dense.glorot(inputs, outputs, rng)

    encoder = [Reshape((64,)), dense(64, 100), activation(), dense(100, 10)]
    decoder = [dense(10, 100), activation(), dense(100, 64), Reshape((8, 8, 1))]
    return AutoEncoder(Sequential(encoder, (8, 8, 1)), L2Normalize(), Sequential(decoder, (10,)))


class Wrong(Swish):
    """Swish with the slope σ: the second term is forgotten."""

    def backward(self, dy, cache):
        return cache[1] * dy, {}


images = load("digits").images
epochs = 3 if quick else 30
figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for activation, colour in ((LeakyReLU, FAINT), (Swish, NORMAL), (Wrong, ANOMALY)):
    random = rngs(0)
    history = fit(
        network(activation, random.init), images, epochs=epochs, batch_size=64,
        optimizer=Adam(), rng=random.shuffle, progress=False,
    )  # fmt: skip
    ax.semilogy(range(1, epochs + 1), history.losses, color=colour, label=activation.__name__)
    print(f"{activation.__name__:>9}: loss {history.losses[-1]:.5f} after {epochs} epochs")
dress(ax, x="epoch", y="mean squared error")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# The curve of the wrong layer falls like the others: no training curve shows the mistake.
# `check_layer(Wrong(), x)` does.

# %%
print(check_layer(Wrong(), x))
