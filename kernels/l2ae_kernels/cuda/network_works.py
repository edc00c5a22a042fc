"""Small works that launch every kernel of the network once, for the gates."""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import elementwise, optim, products
from l2ae_kernels.cuda.bottleneck import Bottleneck, Sizes
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.reference.optim import AdamSettings


def _normal(device: Device, *shape: int) -> Array:
    random = np.random.default_rng(sum(shape))
    return device.to_device(random.standard_normal(shape).astype(np.float32))


def dense(device: Device) -> None:
    """Both adjoints and the product on the rungs with a barrier, ragged, one cut into parts."""
    x, W, b, dy = (_normal(device, *s) for s in ((3, 260), (260, 5), (5,), (3, 5)))
    for impl in products.RUNGS:
        products.dense(x, W, b, device.empty((3, 5), np.float32), slope=0.3, impl=impl)
    for impl in ("tiled", "tensor"):
        dx, dW = (device.empty(s, np.float32) for s in ((3, 260), (260, 5)))
        products.dense_adjoint_x(dy, W, dx, y_below=x, slope=0.3, impl=impl)
        products.dense_adjoint_W(x, dy, dW, impl=impl)


def bias(device: Device) -> None:
    """The gradient of a bias of three features, in one part."""
    elementwise.bias_adjoint(_normal(device, 300, 3), device.empty(3, np.float32))


def adam(device: Device) -> None:
    """One step of 300 parameters."""
    p, g = _normal(device, 300), _normal(device, 300)
    m, v = device.zeros(300, np.float32), device.zeros(300, np.float32)
    optim.adam_step(p, m, v, g, AdamSettings(), step=1)


def bottleneck(device: Device) -> None:
    """Two models of five samples, forward and backward."""
    sizes = Sizes(2, 5, 40, 10, 33)
    params = {name: _normal(device, 2, *shape) for name, shape in sizes.weights().items()}
    fused = Bottleneck(device, sizes, slope=0.3, slope_below=0.3)
    x = _normal(device, 5, 40)
    fused.backward(fused.forward(x, params), x, params)


WORKS = [dense, bias, adam, bottleneck]
