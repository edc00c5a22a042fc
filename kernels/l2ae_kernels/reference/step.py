"""A training step over plain stages in NumPy, one stage after the other: the specification."""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.reference import conv, dense, normalize, optim
from l2ae_kernels.reference import loss as squared
from l2ae_kernels.stages import AdamSettings, Params, Reduction, Stage, TrainingStep


class ReferenceStep(TrainingStep):
    """Forward, Eq. 3, backward: v_{i+1} = act(f_i(v_i)),  dv_i = (∂f_i/∂v_i)ᵀ (act' · dv_{i+1})."""

    def __post_init__(self) -> None:
        self.sums = {name: np.zeros_like(p) for name, p in self.params.items()}

    def loss(self, x: Array, reduction: Reduction = "mean") -> float:
        divisor = self.divisor(x, reduction)
        values = [x]  # the input of each stage, and the reconstruction
        for s in self.stages:
            values[-1] = values[-1].reshape(len(x), *s.input_shape)
            values.append(self._forward(s, values[-1]))
        x_hat, x = values[-1], x.reshape(values[-1].shape)
        dy = np.empty_like(x_hat)
        squared.squared_error_adjoint(x_hat, x, 1 / divisor, dy)
        for i, s in reversed(list(enumerate(self.stages))):
            y, dy = (a.reshape(len(x), *s.output_shape) for a in (values[i + 1], dy))
            dy = self._backward(s, values[i], y, dy)
            if s.code and self.latent_grad is not None:
                dy = dy + self.latent_grad(0, values[i])
        return float(squared.squared_error(x_hat, x).real) / divisor

    def grads(self) -> Params:
        return self.sums

    def adam(self, m: Params, v: Params, settings: AdamSettings, step: int) -> None:
        self.require_moments(m, v)
        for name, p in self.params.items():
            optim.adam_step(p, m[name], v[name], self.sums[name], settings, step=step)

    def _forward(self, s: Stage, x: Array) -> Array:
        y = np.empty((len(x), *s.output_shape), x.dtype)
        if s.kind == "dense":
            dense.dense(x, *self._weights(s), y)
        elif s.kind == "conv":
            conv.correlate(x, *self._weights(s), y, s.stride, s.padding)
        elif s.kind == "conv_transpose":
            conv.correlate_adjoint_x(x, *self._weights(s), y, s.stride, s.padding)
        elif s.kind == "l2_normalize":
            normalize.l2_normalize(_rows(x), s.eps, _rows(y), np.empty_like(_rows(x)[:, :1]))
        elif s.kind == "layer_norm":
            normalize.layer_norm(_rows(x), *self._scales(s), s.eps, _rows(y))
        else:
            mean, variance, sigma = _of_batch(s, x)
            self._remember(s, mean, variance)
            normalize.batch_norm(_rows(x), mean, sigma, *self._scales(s), _rows(y))
        dense.leaky_relu(y, s.slope, y)
        return y

    def _backward(self, s: Stage, x: Array, y: Array, dy: Array) -> Array:
        """Return dx and write the gradients of the parameters to `sums`."""
        dx, du = np.empty_like(x), np.empty_like(y)
        dense.leaky_relu_adjoint(dy, y, s.slope, du)
        if s.kind == "l2_normalize":  # it has no activation: y is u
            n = np.empty_like(_rows(x)[:, :1])
            normalize.l2_normalize(_rows(x), s.eps, np.empty_like(_rows(x)), n)
            normalize.l2_normalize_adjoint(_rows(du), _rows(y), n, _rows(dx))
            return dx
        if s.kind in ("layer_norm", "batch_norm"):
            self._standardize_adjoint(s, _rows(x), _rows(du), _rows(dx))
            return dx
        W, dW = (arrays[f"{s.name}.W"] for arrays in (self.params, self.sums))
        dense.bias_adjoint(_rows(du), self.sums[f"{s.name}.b"])
        if s.kind == "dense":
            dense.dense_adjoint_W(x, du, dW)
            dense.dense_adjoint_x(du, W, dx)
        elif s.kind == "conv":
            conv.correlate_adjoint_W(x, du, dW, s.stride, s.padding)
            conv.correlate_adjoint_x(du, W, None, dx, s.stride, s.padding)
        else:
            conv.correlate_adjoint_W(du, x, dW, s.stride, s.padding)
            conv.correlate(du, W, None, dx, s.stride, s.padding)
        return dx

    def _standardize_adjoint(self, s: Stage, x: Array, dy: Array, dx: Array) -> None:
        """Write dx (R, C) of layer or batch norm, and the gradients of γ and β to `sums`."""
        dgamma, dbeta = (self._sum(s, name, x) for name in ("gamma", "beta"))
        gamma, _ = self._scales(s)
        if s.kind == "layer_norm":
            normalize.layer_norm_adjoint(dy, x, gamma, s.eps, dx, dgamma, dbeta)
            return
        mean, _, sigma = _of_batch(s, x)
        normalize.batch_norm_adjoint(dy, x, mean, sigma, gamma, True, dx, dgamma, dbeta)

    def _remember(self, s: Stage, mean: Array, variance: Array) -> None:
        """Move the running statistics of batch norm towards those of the batch."""
        for name, batch in zip(s.state, (mean, variance), strict=True):
            running = self.state[f"{s.name}.{name}"]
            running += (1 - s.momentum) * (batch - running)

    def _weights(self, s: Stage) -> tuple[Array, Array]:
        return self.params[f"{s.name}.W"], self.params[f"{s.name}.b"]

    def _scales(self, s: Stage) -> tuple[Array, Array]:
        """γ and β, 1 and 0 where there are none."""
        if s.affine:
            return self.params[f"{s.name}.gamma"], self.params[f"{s.name}.beta"]
        return np.ones(s.input_shape[-1]), np.zeros(s.input_shape[-1])

    def _sum(self, s: Stage, name: str, x: Array) -> Array:
        """Where the gradient of γ or β goes; an array of no use where there is none."""
        return self.sums[f"{s.name}.{name}"] if s.affine else np.empty_like(x, shape=x.shape[-1])


def _of_batch(s: Stage, x: Array) -> tuple[Array, Array, Array]:
    """Return μ, v and σ = √(v + ε) of each channel of x."""
    mean, variance = (np.empty_like(x, shape=x.shape[-1]) for _ in range(2))
    normalize.moments(_rows(x), mean, variance)
    return mean, variance, np.sqrt(variance + s.eps)


def _rows(x: Array) -> Array:
    """The rows (R, C) of x (..., C)."""
    return x.reshape(-1, x.shape[-1])
