"""Every layer, loss and network of the project, as `l2ae gradcheck` checks them.

The guards are exaggerated and nothing is left at a special value: ε is 0.1, weights, biases, γ, β
and running statistics are random, batches and images are small and ragged.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.random import Generator

from l2ae_core.gradcheck import baselines
from l2ae_core.gradcheck.check import check_function, check_layer
from l2ae_core.gradcheck.report import Report
from l2ae_core.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Identity,
    L2Normalize,
    Layer,
    LayerNorm,
    LeakyReLU,
    Padding,
    Params,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
)
from l2ae_core.models.architectures import Architecture, HiddenNorm, Norm, build
from l2ae_core.models.dec.assignment import StudentAssignment, kl_divergence, target_distribution
from l2ae_core.training.loss import Reduction, reconstruction_loss
from l2ae_kernels.arrays import Array

EPS = 0.1  # of the normalizations: large enough for a forgotten ε to show
NETWORK_ENTRIES = 40  # larger blocks of a network are checked along random directions
SEED = 0


@dataclass(frozen=True, eq=False)
class LayerCase:
    """A layer and where to check it."""

    layer: Layer
    x: Array  # (N, ...)
    train: bool = False
    expect_zero: tuple[str, ...] = ()
    entries: int = 256

    def check(self, name: str, methods: Sequence[str]) -> Report:
        """Return the report of this case."""
        return check_layer(
            self.layer, self.x, train=self.train, methods=methods, entries=self.entries,
            expect_zero=self.expect_zero, rng=SEED, name=name,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class FunctionCase:
    """A scalar function, its gradient, and where to check them."""

    f: Callable[[Any], Any]
    gradient: Callable[[Any], Any]
    x: Array | Mapping[str, Array]
    entries: int = 256

    def check(self, name: str, methods: Sequence[str]) -> Report:
        """Return the report of this case."""
        return check_function(
            self.f, self.gradient, self.x, methods=methods, entries=self.entries, rng=SEED,
            name=name,
        )  # fmt: skip


Case = LayerCase | FunctionCase
Builder = Callable[[Generator], Case]


def case_of(
    layer: Layer, shape: tuple[int, ...], rng: Generator, train: bool = False, **more: Any
) -> LayerCase:
    """Return the case of a layer in float64 with every array shaken off its special values."""
    layer = layer.astype(np.float64)
    for array in (*layer.params.values(), *layer.state.values()):
        array += 0.3 * rng.uniform(-1, 1, array.shape)
    return LayerCase(layer, rng.standard_normal(shape), train, **more)


def _dense(rng: Generator) -> Case:
    return case_of(Dense.glorot(7, 3, rng), (5, 7), rng)


def _conv(
    kernel: tuple[int, int], stride: int | tuple[int, int], padding: Padding, size: tuple[int, int]
) -> Builder:
    def builder(rng: Generator) -> Case:
        layer = Conv2d.glorot(2, 3, kernel, rng, stride=stride, padding=padding)
        return case_of(layer, (2, *size, 2), rng)

    return builder


def _deconv(
    kernel: tuple[int, int], stride: int | tuple[int, int], padding: Padding, size: tuple[int, int]
) -> Builder:
    def builder(rng: Generator) -> Case:
        layer = ConvTranspose2d.glorot(3, 2, kernel, rng, stride=stride, padding=padding)
        return case_of(layer, (2, *size, 3), rng)

    return builder


def _on_kinks(layer: Layer) -> Builder:
    """Some units sit on their kink, some within a step of it: they have to be left out."""

    def builder(rng: Generator) -> Case:
        case = case_of(layer, (4, 9), rng)
        case.x[1, :4] = [0.0, 3e-6, -3e-6, 0.0]
        return case

    return builder


def _l2(shape: tuple[int, ...], zero_row: bool = False) -> Builder:
    def builder(rng: Generator) -> Case:
        case = case_of(L2Normalize(EPS), shape, rng)
        if zero_row:
            case.x[0] = 0
        return case

    return builder


def _batch_norm(shape: tuple[int, ...], affine: bool, train: bool) -> Builder:
    def builder(rng: Generator) -> Case:
        layer = BatchNorm.create(shape[-1], affine)
        layer.eps = EPS
        return case_of(layer, shape, rng, train)

    return builder


def _layer_norm(shape: tuple[int, ...], affine: bool) -> Builder:
    def builder(rng: Generator) -> Case:
        layer = LayerNorm.create(shape[-1], affine)
        layer.eps = EPS
        return case_of(layer, shape, rng)

    return builder


def _sequential(rng: Generator) -> Case:
    layers: list[Layer] = [
        Conv2d.glorot(1, 2, 3, rng, stride=2),
        LeakyReLU(0.2),
        Reshape((18,)),
        Dense.glorot(18, 4, rng),
        L2Normalize(EPS),
    ]
    return case_of(Sequential(layers, (5, 5, 1)), (3, 5, 5, 1), rng)


def _loss(reduction: Reduction) -> Builder:
    def builder(rng: Generator) -> Case:
        x = rng.standard_normal((3, 4, 4, 1))
        return FunctionCase(
            lambda x_hat: reconstruction_loss(x_hat, x, reduction)[0],
            lambda x_hat: reconstruction_loss(x_hat, x, reduction)[1],
            rng.standard_normal(x.shape),
        )

    return builder


def _baseline(make: Callable[..., baselines.Function], *arguments: Any) -> Builder:
    def builder(rng: Generator) -> Case:
        return FunctionCase(*make(*arguments, rng), entries=NETWORK_ENTRIES)

    return builder


def _assignment(alpha: float) -> Builder:
    def builder(rng: Generator) -> Case:
        layer = StudentAssignment(rng.standard_normal((4, 3)), alpha)
        return case_of(layer, (5, 3), rng)

    return builder


def _clustering_loss(alpha: float, distance: float) -> Builder:
    """KL(P‖Q) in codes and centers; each code lies `distance` from a center, the first on it."""

    def builder(rng: Generator) -> Case:
        centers = rng.standard_normal((3, 4))
        z = centers[[0, 1, 2, 0, 1]] + distance * rng.standard_normal((5, 4))
        z[0] = centers[0]
        p = target_distribution(np.exp(StudentAssignment(centers, alpha).log_q(z)))

        def loss(at: Params) -> float:
            log_q, _ = StudentAssignment(at["centers"], alpha).forward(at["z"])
            return kl_divergence(log_q, p)[0]

        def gradient(at: Params) -> Params:
            layer = StudentAssignment(at["centers"], alpha)
            log_q, cache = layer.forward(at["z"])
            dz, grads = layer.backward(kl_divergence(log_q, p)[1], cache)
            return {"z": dz, **grads}

        return FunctionCase(loss, gradient, {"z": z, "centers": centers})

    return builder


def _network(
    model: Literal["cae", "dense"],
    norm: Norm,
    hidden_norm: HiddenNorm = "none",
    affine: bool = False,
    train: bool = False,
) -> Builder:
    def builder(rng: Generator) -> Case:
        architecture = Architecture(
            model, (8, 8, 1), latent_dim=4, norm=norm, hidden_norm=hidden_norm, affine=affine,
            hidden=(6, 5), filters=(2, 3, 4),
        )  # fmt: skip
        network = build(architecture, rng)
        expect_zero: tuple[str, ...] = ()
        parts = [*network.encoder.layers, network.normalize, *network.decoder.layers]
        for layer in parts:
            if isinstance(layer, L2Normalize | BatchNorm | LayerNorm):
                layer.eps = EPS
        if train:
            expect_zero = _biases_before_batch_norm(parts, len(network.encoder.layers))
        return case_of(
            network, (5, 8, 8, 1), rng, train, expect_zero=expect_zero, entries=NETWORK_ENTRIES
        )

    return builder


def _biases_before_batch_norm(parts: list[Layer], encoder_length: int) -> tuple[str, ...]:
    """Return the biases that the batch mean takes away again."""
    return tuple(
        f"encoder.{i}.b" if i < encoder_length else f"decoder.{i - encoder_length - 1}.b"
        for i, layer in enumerate(parts[:-1])
        if isinstance(parts[i + 1], BatchNorm) and "b" in layer.params
    )


CASES: dict[str, Builder] = {
    "dense": _dense,
    "conv2d/3x3-s1-same": _conv((3, 3), 1, "same", (5, 4)),
    "conv2d/5x5-s2-same": _conv((5, 5), 2, "same", (8, 6)),
    "conv2d/3x3-s2-valid": _conv((3, 3), 2, "valid", (7, 6)),
    "conv2d/2x3-s(1,2)-(0,1),2": _conv((2, 3), (1, 2), ((0, 1), (2, 2)), (4, 5)),
    "conv2d/1x1-s3": _conv((1, 1), 3, "valid", (5, 7)),
    "convtranspose2d/3x3-s1-same": _deconv((3, 3), 1, "same", (4, 3)),
    "convtranspose2d/5x5-s2-same": _deconv((5, 5), 2, "same", (3, 4)),
    "convtranspose2d/3x3-s2-valid": _deconv((3, 3), 2, "valid", (3, 2)),
    "convtranspose2d/2x3-s(1,2)-(0,1),2": _deconv((2, 3), (1, 2), ((0, 1), (2, 2)), (4, 5)),
    "relu/plain": lambda rng: case_of(ReLU(), (4, 9), rng),
    "leakyrelu/plain": lambda rng: case_of(LeakyReLU(0.3), (4, 9), rng),
    "relu/kinks": _on_kinks(ReLU()),
    "leakyrelu/kinks": _on_kinks(LeakyReLU(0.3)),
    "tanh": lambda rng: case_of(Tanh(), (4, 9), rng),
    "identity": lambda rng: case_of(Identity(), (3, 4), rng),
    "l2normalize/rows": _l2((4, 6)),
    "l2normalize/zero-row": _l2((3, 5), zero_row=True),
    "l2normalize/one-row": _l2((1, 10)),
    "l2normalize/maps": _l2((2, 3, 2, 4)),
    "batchnorm/train-affine": _batch_norm((5, 4), affine=True, train=True),
    "batchnorm/train": _batch_norm((5, 4), affine=False, train=True),
    "batchnorm/train-maps": _batch_norm((2, 3, 3, 2), affine=True, train=True),
    "batchnorm/eval-affine": _batch_norm((5, 4), affine=True, train=False),
    "batchnorm/eval": _batch_norm((5, 4), affine=False, train=False),
    "layernorm/affine": _layer_norm((4, 6), affine=True),
    "layernorm/plain": _layer_norm((4, 6), affine=False),
    "layernorm/maps": _layer_norm((2, 3, 2, 4), affine=True),
    "reshape": lambda rng: case_of(Reshape((2, 3, 4)), (3, 4, 3, 2), rng),
    "sequential": _sequential,
    "loss/sum": _loss("sum"),
    "loss/mean": _loss("mean"),
    "dec/assignment": _assignment(1.0),
    "dec/assignment-alpha-2.5": _assignment(2.5),
    "dec/loss": _clustering_loss(1.0, distance=1.0),
    "dec/loss-alpha-2.5": _clustering_loss(2.5, distance=1.0),
    "dec/loss-near": _clustering_loss(1.0, distance=1e-3),
    "dec/loss-near-alpha-0.5": _clustering_loss(0.5, distance=1e-3),
    "cae/none": _network("cae", "none"),
    "cae/l2": _network("cae", "l2"),
    "cae/batch": _network("cae", "batch", affine=True, train=True),
    "cae/layer": _network("cae", "layer", affine=True),
    "cae/l2-hidden-batch": _network("cae", "l2", "batch", affine=True, train=True),
    "cae/l2-hidden-layer": _network("cae", "l2", "layer", affine=True),
    "ae/none": _network("dense", "none"),
    "ae/l2": _network("dense", "l2"),
    "ae/batch": _network("dense", "batch", train=True),
    "ae/batch-eval": _network("dense", "batch", affine=True),
    "ae/layer": _network("dense", "layer"),
    "ae/l2-hidden-batch": _network("dense", "l2", "batch", train=True),
    "vae/gaussian": _baseline(baselines.vae, "gaussian"),
    "vae/bernoulli": _baseline(baselines.vae, "bernoulli"),
    "drae/errors": _baseline(baselines.drae_errors),
    "drae/dense": _baseline(baselines.drae, "dense"),
    "drae/cae": _baseline(baselines.drae, "cae"),
    "gmvae/bernoulli": _baseline(baselines.gmvae, "bernoulli", 0.0),
    "gmvae/gaussian": _baseline(baselines.gmvae, "gaussian", 0.0),
    "gmvae/free": _baseline(baselines.gmvae, "bernoulli", 2.0),
}


@dataclass(frozen=True)
class Outcome:
    """One case of the suite and how long it took."""

    name: str
    report: Report
    seconds: float


def select(names: Iterable[str] | None) -> list[str]:
    """Return the names of the cases: all, those named, or those of a family such as "conv2d".

    Raises ValueError for a name that is neither.
    """
    if not names:
        return list(CASES)
    chosen = []
    for name in names:
        wanted = name.lower()
        found = [case for case in CASES if wanted in (case, case.split("/")[0])]
        if not found:
            families = list(dict.fromkeys(case.split("/")[0] for case in CASES))
            raise ValueError(
                f"gradcheck: no layer {name!r}; expected one of {', '.join(families)}, or a full "
                "name such as 'conv2d/5x5-s2-same'"
            )
        chosen += [case for case in found if case not in chosen]
    return chosen


def run_suite(
    names: Iterable[str] | None = None,
    *,
    methods: Sequence[str] = ("central", "complex"),
    done: Callable[[Outcome], object] = lambda outcome: None,
) -> list[Outcome]:
    """Check the named cases (None: all), and call `done` after each. ValueError: unknown name."""
    outcomes = []
    for name in select(names):
        start = time.perf_counter()
        # its own generator, so that a case alone is checked at the same point as in the suite
        report = CASES[name](np.random.default_rng(SEED)).check(name, methods)
        outcomes.append(Outcome(name, report, time.perf_counter() - start))
        done(outcomes[-1])
    return outcomes
