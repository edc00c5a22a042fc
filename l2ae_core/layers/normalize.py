"""Normalizations over the last axis: the paper's l2 (Eq. 4), and the two of its Table III.

    L2Normalize   each sample divided by its length
    BatchNorm     each feature standardized over the mini-batch
    LayerNorm     each sample standardized over its features

Without affine parameters, LayerNorm(z) = √D · L2Normalize(z − mean(z)) up to ε.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from l2ae_core.layers.base import Cache, Layer, Params, Shape, require_gradient, sample_shape
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, array_module
from l2ae_kernels.ops.checks import number, require_array


@dataclass(eq=False)
class L2Normalize(Layer):
    """Unit-norm constraint of Eq. 4, guarded by ε.

        n  = √(‖z‖² + ε²)          u = z / n          z (..., D), n (..., 1)
        dz = (du − u ⟨u, du⟩) / n

    Exact for the forward that it has: no branch, finite at z = 0, where u = 0 and dz = du/ε. Where
    ‖z‖ ≫ ε, ‖u‖ = 1 and dz is orthogonal to z. The sum of z², and not of |z|², under the root lets
    complex steps through.
    """

    eps: float = 1e-6

    def __post_init__(self) -> None:
        number("L2Normalize", "eps", self.eps, positive=True)

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}(eps={self.eps})"

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        sample_shape(self, x)
        u, n = ops.l2_normalize(x, eps=self.eps)
        return u, (u, n)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        u, n = cache
        require_gradient(self, dy, u.shape)
        return ops.l2_normalize_adjoint(dy, u, n), {}

    def jacobian(self, z: Array) -> Array:
        """Return ∂u/∂z = (I − u uᵀ)/n for every row of z (N, D), as (N, D, D); it is symmetric."""
        u, (_, n) = self.forward(z)
        identity = array_module(z).eye(z.shape[-1], dtype=z.dtype)
        J: Array = (identity - u[:, :, None] * u[:, None, :]) / n[:, :, None]
        return J


@dataclass(eq=False)
class _Standardize(Layer):
    """What BatchNorm and LayerNorm share: y = γ x̂ + β, or y = x̂ without affine parameters."""

    gamma: Array | None  # (C,)
    beta: Array | None  # (C,)

    def __post_init__(self) -> None:
        for field, a in (("gamma", self.gamma), ("beta", self.beta)):
            if a is not None:
                require_array(type(self).__name__, field, a)
        shapes = [None if a is None else a.shape for a in (self.gamma, self.beta)]
        if shapes[0] != shapes[1] or (shapes[0] is not None and len(shapes[0]) != 1):
            raise ValueError(
                f"{type(self).__name__}: gamma and beta have shapes {shapes[0]} and {shapes[1]} "
                "but expected one length, or None for both"
            )

    @property
    def params(self) -> Params:
        if self.gamma is None or self.beta is None:
            return {}
        return {"gamma": self.gamma, "beta": self.beta}

    def _trained(self, dgamma: Array, dbeta: Array) -> Params:
        """The gradients of what there is."""
        return {} if self.gamma is None else {"gamma": dgamma, "beta": dbeta}


@dataclass(eq=False)
class BatchNorm(_Standardize):
    """Standardize every feature over the mini-batch, and over H and W of feature maps.

        train    x̂ = (x − μ)/σ,  μ = mean(x),  σ = √(mean((x − μ)²) + ε)       x (N, ..., C), μ (C,)
                 dx = (dx̂ − mean(dx̂) − x̂ mean(x̂ dx̂))/σ
        else     x̂ = (x − running_mean)/√(running_var + ε),  dx = dx̂/√(running_var + ε)
        both     y = γ x̂ + β,  dx̂ = γ dy,  dγ = Σ x̂ dy,  dβ = Σ dy

    Means are over all axes but the last. A forward pass in training moves the running statistics,
    the only thing that any layer keeps between calls:

        running ← momentum · running + (1 − momentum) · batch

    The conventions are Keras's: momentum 0.99, ε = 1e-3 under the root, and the biased variance
    (divided by the count), in the running statistics too. Raises ValueError for an empty batch in
    training.
    """

    running_mean: Array  # (C,)
    running_var: Array  # (C,)
    momentum: float = 0.99
    eps: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_array("BatchNorm", "running_mean", self.running_mean)
        require_array("BatchNorm", "running_var", self.running_var)
        C = self.running_mean.shape
        gamma = C if self.gamma is None else self.gamma.shape
        if len(C) != 1 or self.running_var.shape != C or gamma != C:
            raise ValueError(
                f"BatchNorm: running_mean, running_var and gamma have shapes {C}, "
                f"{self.running_var.shape} and {gamma} but expected one length"
            )
        number("BatchNorm", "eps", self.eps)
        if number("BatchNorm", "momentum", self.momentum) > 1:
            raise ValueError(f"BatchNorm: momentum is {self.momentum} but expected at most 1")

    @classmethod
    def create(cls, features: int, affine: bool = True, dtype: npt.DTypeLike = np.float32) -> Self:
        """Return a layer with γ = 1, β = 0, running mean 0 and running variance 1."""
        zeros, ones = np.zeros(features, dtype), np.ones(features, dtype)
        gamma, beta = (ones.copy(), zeros.copy()) if affine else (None, None)
        return cls(gamma, beta, zeros, ones)

    def __repr__(self) -> str:
        return (
            f"{type(self).__qualname__}({len(self.running_mean)}, affine={self.gamma is not None})"
        )

    @property
    def state(self) -> Params:
        return {"running_mean": self.running_mean, "running_var": self.running_var}

    def output_shape(self, input_shape: Shape) -> Shape:
        return _last_axis(self, input_shape, len(self.running_mean))

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        self.output_shape(sample_shape(self, x))
        if x.dtype != self.running_mean.dtype:
            raise ValueError(f"{self}: x is {x.dtype} but expected {self.running_mean.dtype}")
        mean, variance = self.running_mean.copy(), self.running_var  # the cache keeps μ as it is
        if train:
            if not x.size:
                raise ValueError(f"{self}: x has shape {x.shape}, an empty batch has no statistics")
            mean, variance = ops.moments(x)
            self._remember(mean, variance)
        sigma = array_module(x).sqrt(variance + self.eps)  # (C,)
        y = ops.batch_norm(x, mean, sigma, self.gamma, self.beta)
        return y, (x, mean, sigma, train)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        x, mean, sigma, train = cache  # in training μ and σ depend on x
        dx, *grads = ops.batch_norm_adjoint(dy, x, mean, sigma, self.gamma, of_batch=train)
        return dx, self._trained(*grads)

    def _remember(self, mean: Array, variance: Array) -> None:
        """Move the running statistics, in place, towards those of the batch."""
        for running, batch in ((self.running_mean, mean), (self.running_var, variance)):
            running += (1 - self.momentum) * (batch - running)


@dataclass(eq=False)
class LayerNorm(_Standardize):
    """Standardize every sample over its last axis.

        x̂ = (x − μ)/σ,  μ = mean(x),  σ = √(mean((x − μ)²) + ε)               x (..., D), μ (..., 1)
        y = γ x̂ + β                                                                       γ, β (D,)
        dx̂ = γ dy,  dx = (dx̂ − mean(dx̂) − x̂ mean(x̂ dx̂))/σ,  dγ = Σ x̂ dy,  dβ = Σ dy

    Means are over the last axis, sums over all others. ε = 1e-3 as in Keras. Training and inference
    are the same.
    """

    eps: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        number("LayerNorm", "eps", self.eps)

    @classmethod
    def create(cls, features: int, affine: bool = True, dtype: npt.DTypeLike = np.float32) -> Self:
        """Return a layer with γ = 1 and β = 0; `features` matters only with affine parameters."""
        return (
            cls(np.ones(features, dtype), np.zeros(features, dtype)) if affine else cls(None, None)
        )

    def __repr__(self) -> str:
        features = "" if self.gamma is None else f"{len(self.gamma)}, "
        return f"{type(self).__qualname__}({features}affine={self.gamma is not None})"

    def output_shape(self, input_shape: Shape) -> Shape:
        return _last_axis(self, input_shape, None if self.gamma is None else len(self.gamma))

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        self.output_shape(sample_shape(self, x))
        return ops.layer_norm(x, self.gamma, self.beta, eps=self.eps), x

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        x = cache
        dx, *grads = ops.layer_norm_adjoint(dy, x, self.gamma, eps=self.eps)
        return dx, self._trained(*grads)


def _last_axis(layer: Layer, input_shape: Shape, features: int | None) -> Shape:
    """Return `input_shape` when its last axis is there and has `features` elements (None: any)."""
    if not input_shape or features not in (None, input_shape[-1]):
        raise ValueError(f"{layer}: sample has shape {input_shape}, expected (..., {features})")
    return input_shape
