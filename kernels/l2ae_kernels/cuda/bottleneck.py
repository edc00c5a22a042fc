"""Launchers of bottleneck.cu: dense, unit norm, dense, as one layer of M networks.

    z = x W1 + b1      n = √(|z|² + ε²)      u = z / n      y = leaky(u W2 + b2)

x (N, I) or (M, N, I), W1 (M, I, D), b1 (M, D), W2 (M, D, O), b2 (M, O), u (M, N, D), n (M, N),
y (M, N, O). Everything is float32 with D ≤ 32, or float64 with D ≤ 16.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.launch import Kernel, ceil_div, distance, real
from l2ae_kernels.geometry import require_shape

THREADS = 256
FEATURES = 32  # of a block of the gradients
LONGEST_CODE = 128  # bytes: what a thread can keep in registers for each sample


@dataclass(frozen=True)
class Sizes:
    """M models, N samples, I inputs, D latent features, O outputs."""

    models: int
    samples: int
    inputs: int
    latent: int
    outputs: int

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters, and of their gradients, of one model."""
        I, D, O = self.inputs, self.latent, self.outputs
        return {"W1": (I, D), "b1": (D,), "W2": (D, O), "b2": (O,)}


class Bottleneck:
    """The middle of M networks, with the arrays that it writes: u, lengths, y, dz, dx and grads.

    slope: of the activation after it; 1 is none. slope_below: of the activation whose output is
    x; 1 is none, else dx has passed its adjoint. ValueError for a code that is too long.
    """

    def __init__(
        self,
        device: Device,
        sizes: Sizes,
        dtype: npt.DTypeLike = np.float32,
        *,
        eps: float = 1e-6,
        slope: float = 1.0,
        slope_below: float = 1.0,
    ) -> None:
        self.device, self.sizes, self.dtype = device, sizes, np.dtype(dtype)
        most = LONGEST_CODE // self.dtype.itemsize
        if not 1 <= sizes.latent <= most:
            raise ValueError(
                f"Bottleneck: latent is {sizes.latent} but expected 1 to {most} for {self.dtype}"
            )
        self.eps, self.slope, self.slope_below = map(self.dtype.type, (eps, slope, slope_below))
        M, N, D = sizes.models, sizes.samples, sizes.latent
        self.u = self._empty(M, N, D)
        self.lengths = self._empty(M, N)
        self.y = self._empty(M, N, sizes.outputs)
        self.dz = self._empty(M, N, D)
        self.dx = self._empty(M, N, sizes.inputs)
        self.grads = {name: self._empty(M, *shape) for name, shape in sizes.weights().items()}

    def forward(self, x: Array, params: Mapping[str, Array]) -> Array:
        """Write u, lengths and y for x and params W1, b1, W2, b2; return y (M, N, O)."""
        s = self.sizes
        x_models = self._check(x, params)
        self.device.launch(
            self._kernel("bottleneck"),
            self._sample_grid(),
            (THREADS,),
            (
                x, *(params[name] for name in s.weights()), self.u, self.lengths, self.y,
                *map(np.int64, (s.samples, s.inputs, s.outputs)), x_models, self.eps, self.slope,
            ),
        )  # fmt: skip
        return self.y

    def backward(
        self, dy: Array, x: Array, params: Mapping[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        """Write dz, dx and grads after `forward` of the same x; return dx (M, N, I) and grads."""
        self.adjoint(dy, x, params)
        self.gradients(dy, x)
        return self.dx, self.grads

    def adjoint(self, dy: Array, x: Array, params: Mapping[str, Array]) -> None:
        """Write dz and dx after `forward` of the same x."""
        s, x_models = self.sizes, self._check(x, params)
        require_shape("Bottleneck", "dy", dy.shape, self.y.shape)
        x_below = x if self.slope_below != 1 else None
        self.device.launch(
            self._kernel("bottleneck_adjoint"),
            self._sample_grid(),
            (THREADS,),
            (
                dy, self._gate(), params["W1"], params["W2"], self.u, self.lengths, x_below,
                self.dz, self.dx, *map(np.int64, (s.samples, s.inputs, s.outputs)), x_models,
                self.slope, self.slope_below,
            ),
        )  # fmt: skip

    def gradients(self, dy: Array, x: Array) -> None:
        """Write grads after `adjoint` of the same dy and x."""
        s, x_models = self.sizes, self._check(x, self.grads)
        self.device.launch(
            self._kernel("bottleneck_gradients"),
            (ceil_div(max(s.inputs, s.outputs) + 1, FEATURES), 2, s.models),
            (THREADS,),
            (
                x, dy, self._gate(), self.u, self.dz, *(self.grads[name] for name in s.weights()),
                *map(np.int64, (s.samples, s.inputs, s.outputs)), x_models, self.slope,
            ),
        )  # fmt: skip

    def _gate(self) -> Array | None:
        """Return y where it decides what of dy counts."""
        return self.y if self.slope != 1 else None

    def _kernel(self, name: str) -> Kernel:
        defines = {**real(self.dtype), "LATENT": self.sizes.latent}
        return self.device.kernel("bottleneck.cu", name, defines)

    def _sample_grid(self) -> tuple[int, int, int]:
        samples = 4 if self.sizes.latent <= 16 else 2  # SAMPLES in bottleneck.cu
        return ceil_div(self.sizes.samples, samples), 1, self.sizes.models

    def _empty(self, *shape: int) -> Array:
        return self.device.empty(shape, self.dtype)

    def _check(self, x: Array, params: Mapping[str, Any]) -> np.int64:
        """Check shapes; return the distance between the x of two models."""
        s = self.sizes
        for name, shape in s.weights().items():
            require_shape("Bottleneck", name, params[name].shape, (s.models, *shape))
        return distance("Bottleneck", "x", x, (s.samples, s.inputs), s.models)
