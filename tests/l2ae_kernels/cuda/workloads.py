"""Small workloads that launch every kernel once, for the build checks: seconds of each, as JSON.

    python tests/l2ae_kernels/cuda/workloads.py

A workload that fails, as it does under a sanitizer that reports something, stands for its kernels.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import conv, conv_thin, elementwise, loss, normalize, optim, products
from l2ae_kernels.cuda.bottleneck import Bottleneck, Sizes
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.kmeans import init, tensor
from l2ae_kernels.cuda.kmeans.resident import Resident
from l2ae_kernels.cuda.launch import Kernel
from l2ae_kernels.cuda.training import DeviceTraining
from l2ae_kernels.emulator.errors import EmulatorError
from l2ae_kernels.stages import AdamSettings, Stage


class Timed:
    """A device that says how long each kernel took, and which one a workload ended in."""

    def __init__(self, device: Device) -> None:
        self.seconds: dict[str, float | str] = {}
        self._launch = device.launch
        device.launch = self.launch  # type: ignore[method-assign]

    def launch(self, kernel: Kernel, *arguments: Any, **named: Any) -> None:
        """Launch a kernel and take its time, or its error."""
        began = time.perf_counter()
        try:
            self._launch(kernel, *arguments, **named)
        except EmulatorError as error:
            self.seconds[kernel.name] = str(error).splitlines()[0]
            raise
        taken = time.perf_counter() - began
        before = self.seconds.get(kernel.name, 0.0)
        if not isinstance(before, str):
            self.seconds[kernel.name] = before + taken


def samples(n: int, d: int) -> Array:
    """Return samples (n, d) float32."""
    return np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)


def passes(device: Device, n: int, d: int, k: int) -> None:
    """Assign, update, a pass of two runs, an adopted assignment."""
    x = device.to_device(samples(n, d))
    labels, distances = ops.assign(x, x[:k], impl="cuda-registers")
    ops.update(x, labels, k)
    restarts = ops.restarts(x, k, 2)
    restarts.centers[:] = samples(n, d)[:k]
    restarts.assign([0, 1])
    restarts.assign([1])
    restarts.apply_assignment(1, labels, distances)


def resident(device: Device) -> None:
    """Runs to their end in one launch."""
    restarts = Resident(device.to_device(samples(150, 3)), 7, 2)
    restarts.centers[:] = samples(150, 3)[:7]
    restarts.assign([0, 1])
    restarts.iterate([0, 1], [4, 2], 0.0, False)


def starts(device: Device) -> None:
    """A greedy start of two runs."""
    draws = np.random.default_rng(0).random((2, 2, 3))
    init.greedy_init(device.to_device(samples(600, 5)), 3, np.array([1, 2]), draws)


def tensor_cores(device: Device) -> None:
    """Assignments by tensor cores, of samples that stay in shared memory, and that do not."""
    for n, d in ((70, 40), (10, 130)):
        tensor.assign_tensor(device.to_device(samples(n, d)), device.to_device(samples(66, d)))


def _normal(device: Device, *shape: int) -> Array:
    random = np.random.default_rng(sum(shape))
    return device.to_device(random.standard_normal(shape).astype(np.float32))


def dense(device: Device, N: int, I: int, O: int) -> None:
    """Both adjoints and the product on the rungs with a barrier."""
    x, W, b, dy = (_normal(device, *s) for s in ((N, I), (I, O), (O,), (N, O)))
    for impl in products.RUNGS:
        products.dense(x, W, b, device.empty((N, O), np.float32), slope=0.3, impl=impl)
    for impl in ("tiled", "tensor"):
        dx, dW = (device.empty(s, np.float32) for s in ((N, I), (I, O)))
        products.dense_adjoint_x(dy, W, dx, y_below=x, slope=0.3, impl=impl)
        products.dense_adjoint_W(x, dy, dW, impl=impl)


def convolutions(device: Device, C: int) -> None:
    """The correlation and its adjoints of two models on every rung, images of C channels."""
    how = (2, 2), ((1, 2), (1, 2))
    shapes = ((2, 3, 8, 8, C), (2, 5, 5, C, 6), (2, 3, 4, 4, 6), (2, 6))
    x, W, y, b = (_normal(device, *shape) for shape in shapes)
    for impl in conv.RUNGS:
        out, dx, dW, db = (device.empty(a.shape, np.float32) for a in (y, x, W, b))
        conv.correlate(x, W, b, out, *how, slope=0.3, impl=impl)
        conv.correlate_adjoint_x(y, W, None, dx, *how, y_below=x, slope=0.3, impl=impl)
        conv.correlate_adjoint_W(x, y, dW, *how, db=db, impl=impl)


def reconstruction(device: Device) -> None:
    """The error of two models' images of one channel, and its gradient."""
    how = (2, 2), ((1, 2), (1, 2))
    W, y, images = (_normal(device, *s) for s in ((2, 5, 5, 1, 6), (2, 3, 4, 4, 6), (3, 8, 8, 1)))
    errors, d = device.empty((3, 2), np.float64), device.empty((2, 3, 8, 8, 1), np.float32)
    target = conv_thin.Target(images, 0.5, errors)
    conv.correlate_adjoint_x(y, W, None, d, *how, slope=0.3, target=target)


def bias(device: Device) -> None:
    """The gradient of a bias of three features, in one part."""
    elementwise.bias_adjoint(_normal(device, 300, 3), device.empty(3, np.float32))


def adam(device: Device) -> None:
    """One step of two models of 300 parameters, one of which is left as it is."""
    p, g = _normal(device, 2, 300), _normal(device, 2, 300)
    m, v = device.zeros((2, 300), np.float32), device.zeros((2, 300), np.float32)
    losses = device.to_device(np.array([0.5, np.nan]))
    settings, numbers = AdamSettings(), device.empty(2, np.float32)
    optim.begin_step(optim.new_state(device, settings), numbers, settings)
    optim.launch(p, m, v, g, numbers, settings, losses)


def bottleneck(device: Device) -> None:
    """Two models of five samples, forward and backward."""
    sizes = Sizes(2, 5, 40, 10, 33)
    params = {name: _normal(device, 2, *shape) for name, shape in sizes.weights().items()}
    fused = Bottleneck(device, sizes, slope=0.3, slope_below=0.3)
    x = _normal(device, 5, 40)
    fused.backward(fused.forward(x, params), x, params)


def normalizations(device: Device) -> None:
    """Eq. 4, layer norm and batch norm of two models, forward and backward, in two parts."""
    x, dy, gamma = (_normal(device, *shape) for shape in ((2, 130, 65), (2, 130, 65), (2, 65)))
    y, n = device.empty(x.shape, np.float32), device.empty((2, 130), np.float32)
    normalize.l2_normalize(x, 0.1, y, n)
    normalize.l2_normalize_adjoint(dy, y, n, device.empty(x.shape, np.float32))
    dgamma, dbeta, mean, v, sigma = (device.empty((2, 65), np.float32) for _ in range(5))
    normalize.layer_norm(x, gamma, gamma, 0.1, y)
    normalize.layer_norm_adjoint(dy, x, gamma, 0.1, y, dgamma, dbeta)
    normalize.batch_norm_train(x, gamma, gamma, 0.1, y, mean, v, sigma)
    normalize.batch_norm_adjoint(dy, x, mean, sigma, gamma, True, y, dgamma, dbeta)


def errors(device: Device) -> None:
    """The squared error of two models in two parts each."""
    y, losses = _normal(device, 2, 1100), device.zeros(2, np.float64)
    loss.squared_error(y, _normal(device, 1100), 0.5, device.empty(y.shape, np.float32), losses)


def training(device: Device) -> None:
    """Three steps of two models with batch norm, launched and replayed, on images of bytes.

    In one of them a model has fewer images; the images of one come from the host.
    """
    x, b = (2, 3, 1), np.zeros(6, np.float32)
    stages = [
        Stage("dense", "a", (6,), (6,)),
        Stage("batch_norm", "n", (6,), (6,), 0.3, eps=1e-3, momentum=0.9),
        Stage("dense", "b", (6,), (6,)),
    ]
    params = {"a.W": samples(6, 6), "a.b": b, "b.W": samples(6, 6), "b.b": b}
    running = {"n.running_mean": b, "n.running_var": b + 1}
    images = np.arange(30).reshape(5, *x).astype(np.uint8)
    settings = AdamSettings()
    both = DeviceTraining(
        device, stages, [params, params], images, batch_size=3, settings=settings, impl="naive",
        state=[running, running],
    )  # fmt: skip
    both.run([np.array([0, 2, 4]), [np.array([1, 3, 0]), np.array([2])]])
    both.run_images([samples(3, 6).reshape(3, *x)])


WORKLOADS: list[Callable[[Device], None]] = [
    lambda device: passes(device, 150, 3, 7),
    lambda device: passes(device, 150, 40, 3),
    resident,
    starts,
    tensor_cores,
    lambda device: dense(device, 3, 260, 5),  # ragged, one cut into parts
    lambda device: dense(device, 9, 100, 12),  # rows of whole vectors
    lambda device: convolutions(device, 4),
    lambda device: convolutions(device, 1),
    reconstruction,
    bias,
    adam,
    bottleneck,
    normalizations,
    errors,
    training,
]


def run() -> dict[str, float | str]:
    """Run every workload in the emulator; seconds of each kernel, or its error."""
    device = emulate(order="shuffled", seed=1)
    timed = Timed(device)
    for workload in WORKLOADS:
        try:
            workload(device)
        except EmulatorError:
            continue  # it is in the table, under the kernel's name
    return timed.seconds


if __name__ == "__main__":
    print(json.dumps(run()))
