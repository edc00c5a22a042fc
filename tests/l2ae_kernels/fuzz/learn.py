"""Calls of layers and of k-means drawn by chance, with their checks."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from calls import in_range, named, tame, word
from draw import (
    EXTREMES,
    NO_ARRAYS,
    NO_NUMBERS,
    OTHER_DTYPES,
    SIZES,
    another_shape,
    cast,
    draw_numbers,
)
from guarded import LAYOUTS, Array, Memory
from oracle import assert_close, expected, nearest

from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    L2Normalize,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Tanh,
)
from l2ae_kernels.cpu.codegen.vectors import SETS, vectors
from l2ae_kernels.cpu.threads import threads
from l2ae_kernels.ops.checks import AXES

NAMES = ("kmeans", "glorot_uniform", "Restarts", "Conv2d", "ConvTranspose2d", "Dense", "BatchNorm",
         "LayerNorm", "L2Normalize", "LeakyReLU", "ReLU", "Tanh", *AXES)  # fmt: skip


@dataclass
class Learning:
    """One call of a layer, forward and backward, or of k-means."""

    operation: str
    words: str
    run: Callable[[], None]
    memory: Memory
    vectors: str
    threads: int

    def __str__(self) -> str:
        return f"{self.operation} {self.words} vectors={self.vectors} threads={self.threads}"

    def check(self) -> str:
        try:
            with vectors(self.vectors), threads(self.threads), np.errstate(all="ignore"):
                self.run()
        except ValueError as error:
            named(str(error), *NAMES)
            assert self.memory.intact(), "memory changed in a call that was refused"
            return "refused"
        assert self.memory.intact(), "memory in front of an array changed, or an input"
        return "accepted"


def draw_learning(rng: np.random.Generator, most: int) -> Learning:
    """Draw one."""
    memory = Memory()
    draw = _draw_kmeans if rng.random() < 0.4 else _draw_layer
    operation, words, run = draw(rng, memory)
    setting = str(rng.choice([*SETS, "none"])), int(rng.integers(1, most + 1))
    return Learning(operation, words, run, memory, *setting)


def _odd(a: Any, rng: np.random.Generator, memory: Memory, share: float = 0.35) -> Any:
    """Return a guarded copy, which is odd in one way in `share` of all cases."""
    if rng.random() < share:
        kind = rng.integers(4)
        if kind == 0:
            return NO_ARRAYS[rng.integers(len(NO_ARRAYS))]
        if kind == 1:
            return cast(a, str(rng.choice(OTHER_DTYPES)))
        if kind == 2:
            a = another_shape(a, rng)
        elif a.size:
            a = a.copy()
            a.reshape(-1)[rng.integers(a.size)] = rng.choice(EXTREMES)
    layout = (
        "plain" if rng.random() < 0.5 else str(rng.choice([n for n in LAYOUTS if n != "matrix"]))
    )
    return memory.copy(a, layout)


def _same(got: Array, operation: str, **arguments: Any) -> None:
    """Compare with the reference of an operation."""
    exact, bound = expected(operation, arguments)[0]
    assert_close(got, exact, bound if tame(arguments) else None)


def _draw_layer(rng: np.random.Generator, memory: Memory) -> tuple[str, str, Callable[[], None]]:
    dtype = str(rng.choice(["float32", "float32", "float64"]))
    N, C, K = (int(n) for n in rng.choice(SIZES, 3))
    layer, shape = _layers(rng, C, K, dtype)
    if rng.random() < 0.05:
        N = 0
    x = _odd(draw_numbers(rng, (N, *shape), dtype), rng, memory)
    train, seed = bool(rng.integers(2)), int(rng.integers(2**31))
    words = f"{layer} {dtype} x={word(x)} train={train}"

    def run() -> None:
        y, cache = layer.forward(x, train)
        inner = np.random.default_rng(seed)
        dy = _odd(draw_numbers(inner, y.shape, y.dtype.name), inner, memory, 0.2)
        dx, grads = layer.backward(dy, cache)
        assert dx.shape == x.shape
        assert {n: g.shape for n, g in grads.items()} == {
            n: p.shape for n, p in layer.params.items()
        }
        _check_layer(layer, x, y, dy, dx, grads)

    return type(layer).__name__, words, run


def _layers(rng: np.random.Generator, C: int, K: int, dtype: str) -> tuple[Layer, tuple[int, ...]]:
    kernel = int(rng.integers(1, 6))
    options: dict[str, Any] = {"stride": int(rng.integers(1, 4)), "dtype": dtype}
    options["padding"] = ["same", "valid", (1, 2)][rng.integers(3)]
    H, W = (int(n) for n in rng.integers(1, 13, 2))
    made: list[tuple[Layer, tuple[int, ...]]] = [
        (LeakyReLU(0.3), (H, C)),
        (ReLU(), (C,)),
        (Tanh(), (C,)),
        (L2Normalize(float(rng.choice([1e-6, 0.1]))), (C,)),
        (LayerNorm.create(C, bool(rng.integers(2)), dtype), (H, C)),
        (BatchNorm.create(C, bool(rng.integers(2)), dtype), (H, C)),
        (Dense.glorot(C, K, rng, dtype), (C,)),
        (Dense.glorot(C, K, rng, dtype), (C,)),
        (Conv2d.glorot(C, K, kernel, rng, **options), (H, W, C)),
        (Conv2d.glorot(C, K, kernel, rng, **options), (H, W, C)),
        (ConvTranspose2d.glorot(C, K, kernel, rng, **options), (H, W, C)),
        (ConvTranspose2d.glorot(C, K, kernel, rng, **options), (H, W, C)),
    ]
    return made[rng.integers(len(made))]


def _check_layer(layer: Layer, x: Array, y: Array, dy: Array, dx: Array, grads: Any) -> None:
    if isinstance(layer, Dense):
        _same(y, "dense", x=x, W=layer.W, b=layer.b)
        _same(dx, "dense_adjoint_x", dy=dy, W=layer.W)
        _same(grads["W"], "dense_adjoint_W", x=x, dy=dy)
    elif isinstance(layer, Conv2d | ConvTranspose2d):
        size = (x if isinstance(layer, Conv2d) else y).shape[1:3]
        stride, padding = layer.geometry(size)
        how = {"stride": stride, "padding": padding}
        if isinstance(layer, Conv2d):
            _same(y, "correlate", x=x, W=layer.W, b=layer.b, **how)
            _same(dx, "correlate_adjoint_x", y=dy, W=layer.W, image_size=size, **how)
            _same(
                grads["W"], "correlate_adjoint_W", x=x, y=dy, kernel_size=layer.W.shape[:2], **how
            )
        else:
            _same(y, "correlate_adjoint_x", y=x, W=layer.W, b=layer.b, image_size=size, **how)
            _same(dx, "correlate", x=dy, W=layer.W, **how)
            _same(
                grads["W"], "correlate_adjoint_W", x=dy, y=x, kernel_size=layer.W.shape[:2], **how
            )
    elif isinstance(layer, LeakyReLU | ReLU):
        slope = getattr(layer, "slope", 0.0)
        _same(y, "leaky_relu", x=x, slope=slope)
        _same(dx, "leaky_relu_adjoint", y=y, dy=dy, slope=slope)
    elif isinstance(layer, LayerNorm) and x.size:
        given = {"gamma": layer.gamma, "beta": layer.beta} if layer.gamma is not None else {}
        _same(y, "layer_norm", x=x, **given, eps=layer.eps)
    elif (
        isinstance(layer, L2Normalize) and np.isfinite(x).all() and np.abs(x).max(initial=0) < 1e15
    ):
        wide = x.astype("f8")
        u = wide / np.sqrt((wide * wide).sum(axis=-1, keepdims=True) + layer.eps**2)
        assert np.abs(y - u).max(initial=0) <= (x.shape[-1] + 16) * np.finfo(x.dtype).eps


def _draw_kmeans(rng: np.random.Generator, memory: Memory) -> tuple[str, str, Callable[[], None]]:
    n = int(rng.choice([1, 2, 5, 17, 64, 300, 1100]))
    d = int(rng.choice([1, 2, 3, 10, 16, 17, 65, 130]))
    k = int(rng.integers(1, min(n, 20) + 1))
    x = draw_numbers(rng, (n, d), str(rng.choice(["float32", "float32", "float64"])))
    if rng.random() < 0.2:
        x = x[rng.integers(0, n, n) % 3]  # few distinct rows
    arguments: dict[str, Any] = {
        "x": _odd(x, rng, memory, 0.25),
        "n_clusters": k,
        "n_init": 2,
        "max_iter": 20,
    }
    arguments |= {"spherical": bool(rng.random() < 0.2), "tol": float(rng.choice([0.0, 1e-3]))}
    if rng.random() < 0.2:
        arguments["init"] = _odd(x[:k], rng, memory, 0.5)
    if rng.random() < 0.3:
        name = str(rng.choice(["n_clusters", "n_init", "max_iter", "tol", "init"]))
        value = NO_NUMBERS[rng.integers(len(NO_NUMBERS))]
        huge = isinstance(value, int | float) and not isinstance(value, bool) and value > 1e6
        arguments[name] = 3 if name in ("n_init", "max_iter") and huge else value
    words = ", ".join(f"{name}={word(value)}" for name, value in arguments.items())

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kmeans(**arguments, rng=np.random.default_rng(0))
        x = np.asarray(arguments["x"])
        x = x.astype("f8") if x.dtype.kind in "iub" or x.dtype == "f2" else x
        assert found.labels.shape == (len(x),)
        in_range(found.labels, len(found.centers))
        if np.abs(x).max() > 1e15 or arguments["spherical"]:
            return
        assert nearest(x, found.centers, found.labels, None), "a label is not the nearest center's"
        difference = x.astype("f8") - found.centers[found.labels]
        exact, scatter = (
            (difference**2).sum(),
            ((x - x.mean(axis=0)) ** 2).sum(dtype="f8"),
        )
        assert abs(found.inertia - exact) <= 1e-5 * exact + 1e-6 * scatter + 1e-30

    return "kmeans", words, run
