"""Whole training steps of a batch of 256: forward, loss, backward, Adam; ours beside PyTorch's.

All start from the same weights, on the same images. Before anything is timed losses and gradients
are compared, and the losses again after steps of the optimizers.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from l2ae_bench import peers
from l2ae_bench.comparison import OURS, Comparison, Contender, Disagreement, require_agreement
from l2ae_bench.work import Work
from l2ae_core.layers import Conv2d, ConvTranspose2d, Dense, LeakyReLU, ReLU
from l2ae_core.layers.base import Params, Shape
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import make_step
from l2ae_kernels.arrays import Array

NETWORKS = {
    "step-cae-28": Architecture("cae", (28, 28, 1)),
    "step-cae-16": Architecture("cae", (16, 16, 1)),
    "step-dense": Architecture("dense", (28, 28, 1)),
}
NORMALIZED = {  # Table III
    "step-cae-28-layer-norm-embedding": Architecture("cae", (28, 28, 1), norm="layer"),
    "step-cae-28-layer-norm": Architecture(
        "cae", (28, 28, 1), norm="layer", hidden_norm="layer", affine=True
    ),
    "step-cae-28-batch-norm": Architecture(
        "cae", (28, 28, 1), norm="batch", hidden_norm="batch", affine=True
    ),
}
BATCH = 256
DISTINCT = 4  # images in a batch, see clear_images
TRIES = 1000
# A float32 sum of some hundred products is off by about 1e-6 of its scale. Where a unit is nearer
# to zero than this its gate may be open for one contender and closed for another: both are right.
CLEAR = 1e-5
# Largest difference of two float32 gradients over their largest entry, with all gates equal.
GRADIENTS = 5e-5
# The same with BatchNorm in every layer: against float64, 2e-5 of ours and 5e-5 of PyTorch's.
BATCH_NORM_GRADIENTS = 1e-4
# Adam divides by |g|: what is rounding in a tiny g is not rounding in its step.
STEPS, LOSSES = 3, 1e-3


def comparison(workload: str) -> Comparison:
    """Return the contenders of a workload, compared; without PyTorch where it is not installed."""
    rng = np.random.default_rng(0)
    model = build((NETWORKS | NORMALIZED)[workload], rng)
    x = _clear_images_of_all(model, rng)
    step = make_step(model, Adam(variant="torch"), "mean")
    contenders: dict[str, Contender] = {OURS: lambda: step(x)}
    work = step_work(model, BATCH)
    if not peers.installed("torch"):
        return Comparison(contenders, work=work)
    from l2ae_bench.torch_network import VARIANTS, TorchStep

    theirs = {name: TorchStep(model, name, x) for name in VARIANTS}
    agreement, allowed = 0.0, tolerance(workload)
    loss, gradients = step.loss_and_grads(x)
    for name, peer in theirs.items():
        their_loss, their_gradients = peer.loss_and_grads()
        agreement = max(
            agreement,
            compare_gradients(f"{workload}, {name}", gradients, their_gradients, allowed),
            _compare_losses(f"{workload}, {name}", loss, their_loss),
        )
    losses = [float(step(x)) for _ in range(STEPS)]
    for name, peer in theirs.items():
        for ours, their in zip(losses, [peer.step() for _ in range(STEPS)], strict=True):
            _compare_losses(f"{workload}, {name}, steps of Adam", ours, their)
    contenders |= {name: peer.step for name, peer in theirs.items()}
    return Comparison(contenders, agreement, work)


def step_work(model: AutoEncoder, batch: int, dtype: str = "float32") -> Work:
    """Return the work of a training step: three products a layer, of the first but two.

    Activations, normalization and the optimizer are not counted. Bytes are those of the images and,
    read and written once, the parameters.
    """
    products = list(_multiply_adds(model))
    flop = 2.0 * batch * (3 * sum(products) - products[0])
    parameters = sum(p.size for p in model.params.values())
    size = np.dtype(dtype).itemsize * (batch * math.prod(model.input_shape) + 2 * parameters)
    return Work(flop, float(size), dtype=dtype)


def _multiply_adds(model: AutoEncoder) -> Iterator[int]:
    """Yield the products of a sample in each linear layer, those with padding among them."""
    for layers in (model.encoder, model.decoder):
        for layer, (before, after) in zip(layers.layers, pairwise(layers.shapes()), strict=True):
            pixels: dict[type, Shape] = {Conv2d: after, ConvTranspose2d: before}
            if isinstance(layer, Conv2d | ConvTranspose2d | Dense):
                yield layer.W.size * math.prod(pixels.get(type(layer), (1,))[:-1])


def tolerance(workload: str) -> float:
    """How far gradients may be from the peer's."""
    of_batch = (NETWORKS | NORMALIZED)[workload].norm == "batch"
    return BATCH_NORM_GRADIENTS if of_batch else GRADIENTS


def compare_gradients(
    workload: str, ours: Params, theirs: Params, allowed: float = GRADIENTS
) -> float:
    """Return the largest difference, each relative to the largest entry of its array.

    Raises Disagreement, naming the parameter, when it is too large, or all entries are zero.
    """
    worst = 0.0
    for name, g in theirs.items():
        largest = np.abs(g).max()
        if largest == 0:
            raise Disagreement(f"{workload}: the gradient of {name} is zero, which tells nothing")
        difference = float(np.abs(ours[name] - g).max() / largest)
        what = f"the gradients of {name}"
        worst = max(worst, require_agreement(workload, what, difference, allowed))
    return worst


def _compare_losses(workload: str, ours: float, theirs: float) -> float:
    return require_agreement(workload, "the losses", abs(ours - theirs) / abs(theirs), LOSSES)


def _clear_images_of_all(model: AutoEncoder, rng: np.random.Generator) -> Array:
    """Return images for which no gate of a peer is on the wrong side, either.

    PyTorch's BatchNorm adds up a batch in float32, so that units are off by some 1e-4 of their
    size: drawing images so far from every kink would take for ever.
    """
    for _ in range(TRIES):
        x = clear_images(model, rng, BATCH)
        if not peers.installed("torch"):
            return x
        from l2ae_bench.torch_network import TorchStep

        if TorchStep(model, "torch", x).gates_are_exact():
            return x
    raise ValueError(f"bench: {TRIES} batches, and in each PyTorch has a wrong gate in {model}")


def clear_images(model: AutoEncoder, rng: np.random.Generator, count: int) -> Array:
    """Return random images (count, H, W, C) for which no unit of the network is at its kink.

    Of millions of units some lie within rounding of zero, and one gate that differs moves a
    gradient by 1e-4 of its size. So there are only a few different images, drawn until all their
    units are clear together, since BatchNorm makes each depend on all, and repeated. That lets the
    comparison be as sharp as float32 is; what a step costs does not depend on its images. Their
    mean is 0: what BatchNorm takes away again would only cost digits.
    """
    wide = model.astype(np.float64)
    for _ in range(TRIES):
        x = 2 * rng.random((min(DISTINCT, count), *model.input_shape), dtype=np.float32) - 1
        if _clear(wide, x.astype(np.float64)):
            return np.resize(x, (count, *model.input_shape))
    raise ValueError(f"bench: {TRIES} batches, and in each a unit of {model} is at its kink")


def _clear(model: AutoEncoder, x: Array) -> bool:
    """Whether all units are clear of zero when the network trains on x."""
    for layer in (*model.encoder.layers, model.normalize, *model.decoder.layers):
        if isinstance(layer, ReLU | LeakyReLU):
            size = np.abs(x)
            if size.min() <= CLEAR * np.sqrt((size**2).mean()):
                return False
        x, _ = layer.forward(x, train=True)
    return True
