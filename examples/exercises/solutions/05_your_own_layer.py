# %% [markdown]
# # Solution of exercise 5: your own layer
#
# Fill the gaps, and run `pytest examples/exercises/test_05.py` until it passes. The tests compare
# `forward` with its formula and give `backward` to the checker; so can you, and its report says
# more:
#
#     l2ae gradcheck examples/exercises/05_your_own_layer.py:Softplus
#
# Keep to operations that take complex numbers (np.exp, not np.abs), so that complex steps go
# through.

# %%
from dataclasses import dataclass

import numpy as np

from l2ae_core.layers import Layer
from l2ae_kernels.arrays import Array

# %% [markdown]
# **a.** Softplus, y = log(1 + eˣ). Which dx has it?


# %%
@dataclass(eq=False)
class Softplus(Layer):
    """y = log(1 + exp(x))."""

    def forward(self, x, train=False):
        """Return y like x (N, ...), and what backward needs."""
        return np.log(1 + np.exp(x)), x

    def backward(self, dy, cache):
        """Return dx, and {} since there are no parameters."""
        return dy / (1 + np.exp(-cache)), {}


# %% [markdown]
# **b.** A dense layer, y = x W + b. All three gradients are sums over what is not in their shape.


# %%
@dataclass(eq=False)
class Linear(Layer):
    """y = x W + b."""

    W: Array  # (D, K)
    b: Array  # (K,)

    @property
    def params(self):
        return {"W": self.W, "b": self.b}

    def forward(self, x, train=False):
        """Return y (N, K) of x (N, D), and what backward needs."""
        return x @ self.W + self.b, x

    def backward(self, dy, cache):
        """Return dx (N, D), and the gradients of W and b for dy (N, K)."""
        return dy @ self.W.T, {"W": cache.T @ dy, "b": dy.sum(axis=0)}

    @classmethod
    def example(cls, rng):
        """What `l2ae gradcheck` checks: 4 numbers to 3."""
        return cls(rng.standard_normal((4, 3)), rng.standard_normal(3))


# %% [markdown]
# **c.** Softmax over the features of a row, yᵢ = e^xᵢ / Σⱼ e^xⱼ. Its Jacobian is ∂yᵢ/∂xⱼ =
# yᵢ(δᵢⱼ − yⱼ); write dx without it, as lesson 1 does for Eq. 4.


# %%
@dataclass(eq=False)
class Softmax(Layer):
    """y = exp(x) / Σ exp(x), the sum over the last axis."""

    def forward(self, x, train=False):
        """Return y like x (N, D), and what backward needs."""
        e = np.exp(x - x.real.max(axis=-1, keepdims=True))
        y = e / e.sum(axis=-1, keepdims=True)
        return y, y

    def backward(self, dy, cache):
        """Return dx, and {}."""
        y = cache
        return y * (dy - (y * dy).sum(axis=-1, keepdims=True)), {}


# %% [markdown]
# **d.** A residual block around any layer f, y = x + f(x). Its parameters and their gradients are
# those of f.


# %%
@dataclass(eq=False)
class Residual(Layer):
    """y = x + f(x), for an f whose output has the shape of its input."""

    f: Layer

    @property
    def params(self):
        return self.f.params

    def forward(self, x, train=False):
        """Return y like x (N, ...), and what backward needs."""
        y, cache = self.f.forward(x, train)
        return x + y, cache

    def backward(self, dy, cache):
        """Return dx, and the gradients of the parameters of f."""
        dx, grads = self.f.backward(dy, cache)
        return dy + dx, grads

    @classmethod
    def example(cls):
        """What `l2ae gradcheck` checks: a block around Softplus."""
        return cls(Softplus())


# %% [markdown]
# **e.** Two uses of one parameter: y = x W Wᵀ, a linear auto-encoder whose decoder is the encoder
# transposed. The gradient of W is the sum of both uses.


# %%
@dataclass(eq=False)
class Tied(Layer):
    """y = x W Wᵀ."""

    W: Array  # (D, K)

    @property
    def params(self):
        return {"W": self.W}

    def forward(self, x, train=False):
        """Return y like x (N, D), and what backward needs."""
        h = x @ self.W
        return h @ self.W.T, (x, h)

    def backward(self, dy, cache):
        """Return dx, and the gradient of W."""
        x, h = cache
        dh = dy @ self.W
        return dh @ self.W.T, {"W": x.T @ dh + dy.T @ h}

    @classmethod
    def example(cls, rng):
        """What `l2ae gradcheck` checks: 4 numbers through 2."""
        return cls(rng.standard_normal((4, 2)))
