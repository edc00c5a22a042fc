"""Operations at sizes that are given: arrays, the work of a call, and the same product of matrices.

Work is that of the formula. Arrays count once, however often an implementation reads them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from l2ae_bench.case import Case, Prepared
from l2ae_bench.steps import step_work
from l2ae_bench.work import Work
from l2ae_core.layers.padding import image_axes
from l2ae_core.networks import Architecture
from l2ae_core.networks import build as build_network
from l2ae_core.training.augment import Warp
from l2ae_core.training.lower import lower
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import Geometry, Pair, output_size
from l2ae_kernels.stages import AdamSettings, TrainingStep

PASSES = 5  # of the samples in a run of k-means: a rung may keep what it knows from pass to pass
EPS = 1e-6
Rule: TypeAlias = Literal["same", "valid"] | Pair  # of both axes
# Of the formula, for each number of the largest array: operations (a division, a root, a comparison
# is one) and bytes of float32. Adam's are for a parameter.
ELEMENTWISE = {
    "bias_adjoint": (1, 4), "leaky_relu": (1, 8), "leaky_relu_adjoint": (1, 12),
    "l2_normalize": (3, 8), "l2_normalize_adjoint": (5, 12), "squared_error": (3, 8),
    "squared_error_adjoint": (2, 12), "moments": (4, 4), "batch_norm": (4, 8),
    "batch_norm_adjoint": (9, 12), "layer_norm": (8, 8), "layer_norm_adjoint": (17, 12),
    "adam_step": (14, 28), "warp": (7, 8),
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """Shape of x, and what else an operation needs: W, strides and padding, the clusters."""

    x: tuple[int, ...]
    W: tuple[int, ...] = ()
    k: int = 0
    stride: Pair = (2, 2)
    padding: Rule = "same"


def build(operation: str, name: str, sizes: Sizes, dtype: str = "float32") -> Case:
    """Return an operation at some sizes, which the case calls `name`."""
    if operation.startswith("correlate"):
        return _correlation(operation, name, sizes, dtype)
    if operation.startswith("dense"):
        return _dense(operation, name, sizes, dtype)
    if operation in ("assign", "update", "restarts"):
        return _clusters(operation, name, sizes, dtype)
    if operation == "training_step":
        return _training_step(name, sizes, dtype)
    flop, size = ELEMENTWISE[operation]
    count, width = math.prod(sizes.x), np.dtype(dtype).itemsize / 4
    work = Work(float(flop * count), float(size * count) * width, "bytes", dtype)
    return Case(operation, name, work, partial(_elementwise, operation, sizes.x, dtype))


def _random(dtype: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def _bytes(dtype: str, *shapes: tuple[int, ...]) -> float:
    return float(np.dtype(dtype).itemsize * sum(map(math.prod, shapes)))


def _correlation(operation: str, name: str, s: Sizes, dtype: str) -> Case:
    N, H, W, C = s.x
    kernel, K = (s.W[0], s.W[1]), s.W[3]
    rows, columns = image_axes(operation, kernel, s.stride, s.padding)
    padding = rows.zeros(H), columns.zeros(W)
    OH, OW = output_size((H, W), kernel, s.stride, padding, operation)
    y_shape = N, OH, OW, K
    how: dict[str, Any] = {"stride": s.stride, "padding": padding}
    m, k = N * OH * OW, math.prod(kernel) * C
    products = {"correlate": (m, k, K), "correlate_adjoint_x": (m, K, k),
                "correlate_adjoint_W": (k, m, K)}  # fmt: skip

    def prepare() -> Prepared:
        x, w, b, b_x, y = _random(dtype, s.x, s.W, (K,), (C,), y_shape)
        runs: dict[str, Callable[..., Any]] = {
            "correlate": partial(ops.correlate, x, w, b, out=np.zeros_like(y), **how),
            "correlate_adjoint_x": partial(
                ops.correlate_adjoint_x, y, w, b_x, image_size=(H, W), out=np.zeros_like(x), **how
            ),
            "correlate_adjoint_W": partial(
                ops.correlate_adjoint_W, x, y, kernel_size=kernel, out=np.zeros_like(w), **how
            ),
        }
        return Prepared(runs[operation])

    work = Work(2.0 * m * k * K, _bytes(dtype, s.x, s.W, y_shape), dtype=dtype)
    geometry = Geometry.of(s.x, y_shape, kernel, s.stride, padding)
    return Case(operation, name, work, prepare, products[operation], geometry)


def _dense(operation: str, name: str, s: Sizes, dtype: str) -> Case:
    N, (inputs, outputs) = s.x[0], s.W
    products = {"dense": (N, inputs, outputs), "dense_adjoint_x": (N, outputs, inputs),
                "dense_adjoint_W": (inputs, N, outputs)}  # fmt: skip

    def prepare() -> Prepared:
        x, w, b, dy = _random(dtype, s.x, s.W, (outputs,), (N, outputs))
        runs: dict[str, Callable[..., Any]] = {
            "dense": partial(ops.dense, x, w, b, out=np.zeros_like(dy)),
            "dense_adjoint_x": partial(ops.dense_adjoint_x, dy, w, out=np.zeros_like(x)),
            "dense_adjoint_W": partial(ops.dense_adjoint_W, x, dy, out=np.zeros_like(w)),
        }
        return Prepared(runs[operation])

    size = _bytes(dtype, s.x, s.W, (N, outputs))
    work = Work(2.0 * N * inputs * outputs, size, dtype=dtype)
    return Case(operation, name, work, prepare, products[operation])


def _elementwise(operation: str, shape: tuple[int, ...], dtype: str) -> Prepared:
    x, y, dy = _random(dtype, shape, shape, shape)
    out, last = np.zeros_like(x), shape[-1:]
    half = np.asarray(0.5, dtype)
    mean, sigma, gamma, beta = (np.abs(a) + half for a in _random(dtype, *[last] * 4))
    if operation == "adam_step":
        changes = x, y, dy * dy  # p, m, v
        g = _random(dtype, shape)[0]
        return Prepared(partial(ops.adam_step, *changes, g, AdamSettings(), step=1), changes)
    if operation == "l2_normalize_adjoint":
        u, n = ops.l2_normalize(x, eps=EPS)
        return Prepared(partial(ops.l2_normalize_adjoint, dy, u, n, out=out))
    if operation == "warp":
        maps = Warp().draw(np.random.default_rng(0), *shape[:3]).astype(dtype)
        return Prepared(partial(ops.warp, x, maps, out=out))
    runs: dict[str, Callable[..., Any]] = {
        "bias_adjoint": partial(ops.bias_adjoint, dy),
        "leaky_relu": partial(ops.leaky_relu, x, 0.0, out=out),
        "leaky_relu_adjoint": partial(ops.leaky_relu_adjoint, dy, y, 0.0, out=out),
        "l2_normalize": partial(ops.l2_normalize, x, eps=EPS, out=out),
        "squared_error": partial(ops.squared_error, y, x),
        "squared_error_adjoint": partial(ops.squared_error_adjoint, y, x, out=out),
        "moments": partial(ops.moments, x),
        "batch_norm": partial(ops.batch_norm, x, mean, sigma, gamma, beta, out=out),
        "batch_norm_adjoint": partial(
            ops.batch_norm_adjoint, dy, x, mean, sigma, gamma, of_batch=True, out=out
        ),
        "layer_norm": partial(ops.layer_norm, x, gamma, beta, eps=1e-3, out=out),
        "layer_norm_adjoint": partial(ops.layer_norm_adjoint, dy, x, gamma, eps=1e-3, out=out),
    }
    return Prepared(runs[operation])


def _training_step(name: str, s: Sizes, dtype: str) -> Case:
    """Loss and gradients of the convolutional network, whose parameters stay as they are."""
    N, H, W, C = s.x
    model = build_network(Architecture("cae", (H, W, C)), np.random.default_rng(0))
    model = model.astype(np.dtype(dtype))
    stages = lower(model)
    assert stages is not None

    def prepare() -> Prepared:
        x = np.random.default_rng(0).random(s.x).astype(dtype)
        made: dict[str | None, TrainingStep] = {}

        def run(impl: str | None = None) -> tuple[Array, ...]:
            if impl not in made:
                made[impl] = ops.training_step(stages, model.params, model.input_shape, impl=impl)
            loss = made[impl].loss(x)
            return np.array([loss]), *made[impl].grads().values()

        return Prepared(run)

    return Case("training_step", name, step_work(model, N, dtype), prepare, geometry=stages)


def _clusters(operation: str, name: str, s: Sizes, dtype: str) -> Case:
    (n, d), k = s.x, s.k

    def prepare() -> Prepared:
        (x,) = _random(dtype, s.x)
        centers = x[:k].copy()
        labels = np.random.default_rng(0).integers(k, size=n).astype(np.int32)
        runs: dict[str, Callable[..., Any]] = {
            "assign": partial(ops.assign, x, centers),
            "update": partial(ops.update, x, labels, k),
            "restarts": partial(_lloyd, x, centers),
        }
        return Prepared(runs[operation])

    flop, size = 2.0 * n * d * k, _bytes(dtype, s.x)
    works = {
        "assign": Work(flop, size, dtype=dtype),
        "update": Work(float(n * d), size, "bytes", dtype),
        "restarts": Work(flop * PASSES, size * PASSES, dtype=dtype),
    }
    return Case(operation, name, works[operation], prepare)


def _lloyd(x: Array, centers: Array, impl: str) -> Array:
    """Some iterations of one run of k-means; return its inertia after each assignment."""
    k = len(centers)
    run = ops.restarts(x, k, 1, impl=impl)
    run.centers[0] = centers
    inertia = np.zeros(PASSES)
    for i in range(PASSES):
        run.assign([0])
        inertia[i] = run.inertia[0]
        run.centers[0] = run.sums[0] / np.maximum(run.counts[0], 1)[:, None]
    return inertia
