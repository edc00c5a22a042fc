"""The peer of a training step in JAX: our layers as its own operations, an epoch in one jit.

Images are NHWC in both. A convolution has the zeros of ours; its transpose is JAX's own transpose
of it. Adam is written out, as JAX has no optimizer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from l2ae_bench import peers
from l2ae_bench.cuda.precision import JAX, Precision
from l2ae_core.layers import Conv2d, ConvTranspose2d, Dense, L2Normalize, Layer, LeakyReLU, ReLU
from l2ae_core.layers.base import Params
from l2ae_core.networks import AutoEncoder
from l2ae_kernels.arrays import Array
from l2ae_kernels.stages import AdamSettings

ADAM = AdamSettings(variant="torch")
DIMENSIONS = "NHWC", "HWIO", "NHWC"


class JaxStep:
    """Training steps of the peer; its network starts with the weights of `ours`."""

    def __init__(self, ours: AutoEncoder, images: Array, precision: Precision) -> None:
        self._jax = jax = peers.load("jax")
        self._precision = precision
        self._network = _network(ours)
        self._x = jax.device_put(images)
        self._params = {name: jax.device_put(p) for name, p in ours.params.items()}
        zeros = {name: jax.numpy.zeros_like(p) for name, p in self._params.items()}
        self._state = self._params, zeros, dict(zeros), 0
        self._made: dict[int, Any] = {}  # by the number of steps

    def loss_and_grads(self) -> tuple[float, Params]:
        """Return the loss and its gradients at the weights of the start."""
        with self._jax.default_matmul_precision(JAX[self._precision]):
            loss, grads = self._jax.jit(self._jax.value_and_grad(self._loss))(self._params, self._x)
        return float(loss), {name: np.asarray(g) for name, g in grads.items()}

    def steps(self, count: int) -> list[float]:
        """Make so many steps, and return the losses before them."""
        if count not in self._made:
            loop = self._jax.jit(lambda state, x: self._jax.lax.scan(
                lambda s, _: self._step(s, x), state, length=count))  # fmt: skip
            with self._jax.default_matmul_precision(JAX[self._precision]):
                self._made[count] = loop.lower(self._state, self._x).compile()
        self._state, losses = self._made[count](self._state, self._x)
        found: list[float] = np.asarray(losses).tolist()
        return found

    def _loss(self, params: Any, x: Any) -> Any:
        return ((self._network(params, x) - x) ** 2).mean()

    def _step(self, state: Any, x: Any) -> tuple[Any, Any]:
        """One step of Adam, as torch.optim has it."""
        jax, s = self._jax, ADAM
        params, m, v, t = state
        loss, g = jax.value_and_grad(self._loss)(params, x)
        each, t = jax.tree_util.tree_map, t + 1
        m = each(lambda a, b: s.beta1 * a + (1 - s.beta1) * b, m, g)
        v = each(lambda a, b: s.beta2 * a + (1 - s.beta2) * b * b, v, g)
        rate, root = s.learning_rate / (1 - s.beta1**t), jax.numpy.sqrt(1 - s.beta2**t)
        params = each(lambda p, a, b: p - rate * a / (jax.numpy.sqrt(b) / root + s.eps),
                      params, m, v)  # fmt: skip
        return (params, m, v, t), loss


def _network(ours: AutoEncoder) -> Callable[[Any, Any], Any]:
    """Return x̂ of the parameters by name, and images."""
    parts = {"encoder": ours.encoder.layers, "decoder": ours.decoder.layers}

    def network(params: Any, x: Any) -> Any:
        shape = x.shape
        for part, layers in parts.items():
            for i, layer in enumerate(layers):
                x = _apply(layer, params.get(f"{part}.{i}.W"), params.get(f"{part}.{i}.b"), x)
            if part == "encoder":
                x = _apply(ours.normalize, None, None, x)
        return x.reshape(shape)

    return network


def _apply(layer: Layer, W: Any, b: Any, x: Any) -> Any:
    """Return what a layer makes of x; ValueError for one that is not written here."""
    jax = peers.load("jax")
    shape = layer.output_shape(x.shape[1:])
    if isinstance(layer, Conv2d | ConvTranspose2d):
        transposed = isinstance(layer, ConvTranspose2d)
        height, width, _ = shape if transposed else x.shape[1:]
        stride, zeros = layer.geometry((height, width))

        def correlate(image: Any) -> Any:
            return jax.lax.conv_general_dilated(
                image, W, stride, zeros, dimension_numbers=DIMENSIONS
            )

        if not transposed:
            return correlate(x) + b
        image = jax.ShapeDtypeStruct((len(x), *shape), x.dtype)
        return jax.linear_transpose(correlate, image)(x)[0] + b
    if isinstance(layer, Dense):
        return x.reshape(len(x), -1) @ W + b
    if isinstance(layer, L2Normalize):
        return x / jax.numpy.sqrt((x * x).sum(-1, keepdims=True) + layer.eps**2)
    if isinstance(layer, LeakyReLU | ReLU):
        return jax.numpy.where(x > 0, x, getattr(layer, "slope", 0.0) * x)
    if not layer.params:  # Reshape
        return x.reshape(len(x), *shape)
    raise ValueError(f"bench: JAX's {layer} is not written")
