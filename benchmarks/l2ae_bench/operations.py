"""Every rung of the implementations table at the shapes of the paper's networks, batch 256.

    conv1  28×28×1  -> 14×14×32, 5×5/2    the deconvolutions are the same maps the other way round:
    conv2  14×14×32 -> 7×7×64,   5×5/2    `correlate_adjoint_x` at conv2 is backward of conv2 and
    conv3  7×7×64   -> 3×3×128,  3×3/2    forward of deconv2

A row is a rung. Its peers are the rungs before it, and for a product "sgemm": NumPy's product of
matrices of the same sizes, all windows unrolled beforehand, which is what a library takes for the
arithmetic alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from l2ae_bench.comparison import OURS, Contender, Measurement, make_row, measure, require_agreement
from l2ae_core.networks import Architecture, build
from l2ae_core.training.augment import Warp
from l2ae_core.training.lower import lower
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import Geometry, output_size
from l2ae_kernels.operations import IMPLEMENTATIONS, Shapes
from l2ae_kernels.stages import AdamSettings, TrainingStep

BATCH = 256
# float32 sums of up to 50,000 products in another order, over the largest entry.
ROUNDING = 1e-4
SAME = ((1, 2), (1, 2))
VALID = ((0, 0), (0, 0))
CONVOLUTIONS = {  # (H, W, C), K, kernel, padding; all of stride 2
    "conv1": ((28, 28, 1), 32, (5, 5), SAME),
    "conv2": ((14, 14, 32), 64, (5, 5), SAME),
    "conv3": ((7, 7, 64), 128, (3, 3), VALID),
}
DENSE = {"784x500": (784, 500), "500x2000": (500, 2000)}
SAMPLES = {"70000x10-k10": (70_000, 10, 10), "20000x64-k256": (20_000, 64, 256)}
PASSES = 5  # of the samples in a run of k-means: a rung may keep what it knows from pass to pass
CAE_PARAMETERS = 275_979
STRIDE = (2, 2)


@dataclass(frozen=True)
class Case:
    """An operation at a shape. `run(impl=...)` returns its result, a new or reused array."""

    operation: str
    shape: str
    run: Callable[..., Any]
    flop: float = 0.0  # of the plain computation: zeros of padding count, shortcuts do not
    bytes: float = 0.0  # read and written by an elementwise one
    product: tuple[int, int, int] | None = None  # (m, k, n) of the same product of matrices
    changes: tuple[Array, ...] = ()  # arrays that `run` changes in place: they are the result
    geometry: Shapes | None = None  # of a correlation, or of a training step

    @property
    def workload(self) -> str:
        """Name of the operation at this shape."""
        return f"{self.operation}-{self.shape}"

    def rungs(self) -> list[str]:
        """Names of the rungs that can run here, slowest first."""
        x, table = np.empty(0, np.float32), IMPLEMENTATIONS[self.operation]
        return [name for name, rung in table.items() if rung.takes(x, self.geometry)]

    def verified(self, rung: str) -> float:
        """Return how far a rung is from the reference; Disagreement when too far."""
        found, expected = (self._result(name) for name in (rung, "reference"))
        difference = max(
            float(np.abs(a.astype(np.float64) - b).max() / max(np.abs(b).max(), 1e-30))
            for a, b in zip(found, expected, strict=True)
        )
        what = "the rung and the reference"
        return require_agreement(f"{self.workload}-{rung}", what, difference, ROUNDING)

    def _result(self, rung: str) -> list[Array]:
        """Copies of what a rung computes.

        Of `assign` the distances alone: where two centers are equally near, labels may differ.
        """
        before = [a.copy() for a in self.changes]
        result = self.run(impl=rung)
        arrays = self.changes or (result if isinstance(result, tuple) else (np.asarray(result),))
        copies = [a.copy() for a in (arrays[1:] if self.operation == "assign" else arrays)]
        for a, b in zip(self.changes, before, strict=True):
            a[...] = b
        return copies

    def contenders(self) -> dict[str, Contender]:
        """Return every rung, and the library's product where there is one."""
        found: dict[str, Contender] = {r: partial(self.run, impl=r) for r in self.rungs()}
        return found if self.product is None else found | {"sgemm": _sgemm(*self.product)}


def rows(
    case: Case, threads: int, repeats: int, seconds: float, done: Callable[[], object]
) -> list[Measurement]:
    """Return a row for each rung but the reference; `done` is called after each repeat."""
    rungs = case.rungs()
    agreement = {rung: case.verified(rung) for rung in rungs}
    times = measure(case.contenders(), repeats, threads, seconds=seconds, done=done)
    library = {name: t for name, t in times.items() if name == "sgemm"}
    return [
        make_row(
            f"{case.workload}-{rung}",
            threads,
            {OURS: times[rung], **{r: times[r] for r in rungs[:i]}, **library},
            agreement[rung],
        )
        for i, rung in enumerate(rungs)
        if rung != "reference"
    ]


def _sgemm(m: int, k: int, n: int) -> Contender:
    rng = np.random.default_rng(1)
    A, B = (rng.random(s, dtype=np.float32) for s in ((m, k), (k, n)))
    return partial(np.matmul, A, B, out=np.empty((m, n), np.float32))


def cases(quick: bool = False) -> list[Case]:
    """Return every operation at its shapes; `quick` leaves out all but one shape of each."""
    rng = np.random.default_rng(0)
    found = [
        *(case for name in CONVOLUTIONS for case in _convolution(name, rng)),
        *(case for name in DENSE for case in _dense(name, rng)),
        *_elementwise(rng),
        *_paper(rng),
        *_normalizations(rng),
        *_warps(rng),
        _training_step(rng),
        *(case for name in SAMPLES for case in _clusters(name, rng)),
    ]
    if not quick:
        return found
    shown = {"conv2", "500x2000", "70000x10-k10", "14x14x32", "cae", "10", "784", "28x28x1"}
    return [case for case in found if case.shape in shown]


def _random(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


def _convolution(name: str, rng: np.random.Generator) -> list[Case]:
    (H, W, C), K, kernel, padding = CONVOLUTIONS[name]
    OH, OW = output_size((H, W), kernel, STRIDE, padding)
    x, y = _random(rng, BATCH, H, W, C), _random(rng, BATCH, OH, OW, K)
    w, b, b_x = _random(rng, *kernel, C, K), _random(rng, K), _random(rng, C)
    m, k = BATCH * OH * OW, math.prod(kernel) * C
    how: dict[str, Any] = {"stride": STRIDE, "padding": padding}
    geometry = Geometry.of(x.shape, y.shape, kernel, STRIDE, padding)
    runs = {
        "correlate": (partial(ops.correlate, x, w, b, out=np.empty_like(y), **how), (m, k, K)),
        "correlate_adjoint_x": (
            partial(ops.correlate_adjoint_x, y, w, b_x, image_size=(H, W), out=np.empty_like(x),
                    **how), (m, K, k),
        ),
        "correlate_adjoint_W": (
            partial(ops.correlate_adjoint_W, x, y, kernel_size=kernel, out=np.empty_like(w),
                    **how), (k, m, K),
        ),
    }  # fmt: skip
    return [
        Case(operation, name, run, flop=2.0 * m * k * K, product=sizes, geometry=geometry)
        for operation, (run, sizes) in runs.items()
    ]


def _dense(name: str, rng: np.random.Generator) -> list[Case]:
    inputs, outputs = DENSE[name]
    x, dy = _random(rng, BATCH, inputs), _random(rng, BATCH, outputs)
    w, b = _random(rng, inputs, outputs), _random(rng, outputs)
    runs = {
        "dense": (partial(ops.dense, x, w, b, out=np.empty_like(dy)), (BATCH, inputs, outputs)),
        "dense_adjoint_x": (
            partial(ops.dense_adjoint_x, dy, w, out=np.empty_like(x)), (BATCH, outputs, inputs)
        ),
        "dense_adjoint_W": (
            partial(ops.dense_adjoint_W, x, dy, out=np.empty_like(w)), (inputs, BATCH, outputs)
        ),
    }  # fmt: skip
    return [
        Case(operation, name, run, flop=2.0 * math.prod(sizes), product=sizes)
        for operation, (run, sizes) in runs.items()
    ]


def _elementwise(rng: np.random.Generator) -> list[Case]:
    """The first hidden map of the convolutional network, and all its parameters."""
    y, dy = _random(rng, BATCH, 14, 14, 32), _random(rng, BATCH, 14, 14, 32)
    out = np.empty_like(y)
    p, m, g = (_random(rng, CAE_PARAMETERS) for _ in range(3))
    v = g * g
    return [
        Case("bias_adjoint", "14x14x32", partial(ops.bias_adjoint, dy), bytes=dy.nbytes),
        Case("leaky_relu", "14x14x32", partial(ops.leaky_relu, y, 0.0, out=out),
             bytes=2.0 * y.nbytes),
        Case("leaky_relu_adjoint", "14x14x32", partial(ops.leaky_relu_adjoint, dy, y, 0.0, out=out),
             bytes=3.0 * y.nbytes),
        Case("adam_step", "cae", partial(ops.adam_step, p, m, v, g, AdamSettings(), step=1),
             bytes=28.0 * CAE_PARAMETERS, changes=(p, m, v)),
    ]  # fmt: skip


def _paper(rng: np.random.Generator) -> list[Case]:
    """Eq. 4 on the codes of a batch, Eq. 3 on its images."""
    z, du, y, x = (_random(rng, BATCH, n) for n in (10, 10, 784, 784))
    u, n = ops.l2_normalize(z, eps=1e-6)
    out, dy = np.empty_like(z), np.empty_like(y)
    return [
        Case("l2_normalize", "10", partial(ops.l2_normalize, z, eps=1e-6, out=out),
             bytes=2.0 * z.nbytes),
        Case("l2_normalize_adjoint", "10", partial(ops.l2_normalize_adjoint, du, u, n, out=out),
             bytes=3.0 * z.nbytes),
        Case("squared_error", "784", partial(ops.squared_error, y, x), bytes=2.0 * y.nbytes),
        Case("squared_error_adjoint", "784", partial(ops.squared_error_adjoint, y, x, out=dy),
             bytes=3.0 * y.nbytes),
    ]  # fmt: skip


def _normalizations(rng: np.random.Generator) -> list[Case]:
    """The first hidden map of the convolutional network."""
    shape = BATCH, 14, 14, 32
    x, dy, out = _random(rng, *shape), _random(rng, *shape), np.empty(shape, np.float32)
    mean, sigma, gamma, beta = (rng.random(32, dtype=np.float32) + 0.5 for _ in range(4))
    runs: dict[str, tuple[int, Callable[..., Any]]] = {  # arrays read and written once, at least
        "moments": (1, partial(ops.moments, x)),
        "batch_norm": (2, partial(ops.batch_norm, x, mean, sigma, gamma, beta, out=out)),
        "batch_norm_adjoint": (3, partial(
            ops.batch_norm_adjoint, dy, x, mean, sigma, gamma, of_batch=True, out=out
        )),
        "layer_norm": (2, partial(ops.layer_norm, x, gamma, beta, eps=1e-3, out=out)),
        "layer_norm_adjoint": (3, partial(
            ops.layer_norm_adjoint, dy, x, gamma, eps=1e-3, out=out
        )),
    }  # fmt: skip
    return [
        Case(operation, "14x14x32", run, bytes=float(arrays * x.nbytes))
        for operation, (arrays, run) in runs.items()
    ]


def _warps(rng: np.random.Generator) -> list[Case]:
    """A batch of gray images and one of feature maps, by maps as augmentation draws them."""
    found = []
    for shape in ((BATCH, 28, 28, 1), (BATCH, 14, 14, 32)):
        x, maps = _random(rng, *shape), Warp().draw(rng, *shape[:3]).astype(np.float32)
        run = partial(ops.warp, x, maps, out=np.empty_like(x))
        found.append(Case("warp", "x".join(map(str, shape[1:])), run, bytes=2.0 * x.nbytes))
    return found


def _training_step(rng: np.random.Generator) -> Case:
    """Loss and gradients of the convolutional network, whose parameters stay as they are."""
    model = build(Architecture("cae", (28, 28, 1)), rng)
    stages, x = lower(model), rng.random((BATCH, 28, 28, 1), dtype=np.float32)
    assert stages is not None
    made: dict[str | None, TrainingStep] = {}

    def run(impl: str | None = None) -> tuple[Array, ...]:
        if impl not in made:
            made[impl] = ops.training_step(stages, model.params, model.input_shape, impl=impl)
        loss = made[impl].loss(x)
        return np.array([loss]), *made[impl].grads().values()

    return Case("training_step", "cae", run, geometry=stages)


def _clusters(name: str, rng: np.random.Generator) -> list[Case]:
    n, d, k = SAMPLES[name]
    x = _random(rng, n, d)
    centers, labels = x[:k].copy(), rng.integers(k, size=n).astype(np.int32)
    return [
        Case("assign", name, partial(ops.assign, x, centers), flop=2.0 * n * d * k),
        Case("update", name, partial(ops.update, x, labels, k), bytes=float(x.nbytes)),
        Case("restarts", name, partial(_lloyd, x, centers), flop=2.0 * n * d * k * PASSES),
    ]


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
