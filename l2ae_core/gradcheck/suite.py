"""Every layer, loss and network of the project, as `l2ae gradcheck` checks them."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from l2ae_core.gradcheck import baselines
from l2ae_core.gradcheck.baselines import assignment, clustering_loss, spherical, student
from l2ae_core.gradcheck.cases import (
    SEED,
    Builder,
    batch_norm,
    case_of,
    conv,
    deconv,
    dense,
    l2,
    layer_norm,
    loss,
    network,
    on_kinks,
    sequential,
)
from l2ae_core.gradcheck.report import Report
from l2ae_core.layers import Identity, LeakyReLU, ReLU, Reshape, Tanh

CASES: dict[str, Builder] = {
    "dense": dense,
    "conv2d/3x3-s1-same": conv((3, 3), 1, "same", (5, 4)),
    "conv2d/5x5-s2-same": conv((5, 5), 2, "same", (8, 6)),
    "conv2d/3x3-s2-valid": conv((3, 3), 2, "valid", (7, 6)),
    "conv2d/2x3-s(1,2)-(0,1),2": conv((2, 3), (1, 2), ((0, 1), (2, 2)), (4, 5)),
    "conv2d/1x1-s3": conv((1, 1), 3, "valid", (5, 7)),
    "conv2d/1x2-s(2,3)-same": conv((1, 2), (2, 3), "same", (4, 6)),
    "conv2d/2x3-s2-(0,2),(3,1)": conv((2, 3), 2, ((0, 2), (3, 1)), (4, 4)),
    "conv2d/3x3-s2-valid,same": conv((3, 3), 2, ("valid", "same"), (7, 4)),
    "convtranspose2d/3x3-s1-same": deconv((3, 3), 1, "same", (4, 3)),
    "convtranspose2d/5x5-s2-same": deconv((5, 5), 2, "same", (3, 4)),
    "convtranspose2d/3x3-s2-valid": deconv((3, 3), 2, "valid", (3, 2)),
    "convtranspose2d/2x3-s(1,2)-(0,1),2": deconv((2, 3), (1, 2), ((0, 1), (2, 2)), (4, 5)),
    "convtranspose2d/1x2-s3-valid,same": deconv((1, 2), 3, ("valid", "same"), (2, 2)),
    "convtranspose2d/3x4-s2-(0,2),(1,0)": deconv((3, 4), 2, ((0, 2), (1, 0)), (3, 3)),
    "relu/plain": lambda rng: case_of(ReLU(), (4, 9), rng),
    "leakyrelu/plain": lambda rng: case_of(LeakyReLU(0.3), (4, 9), rng),
    "leakyrelu/maps": lambda rng: case_of(LeakyReLU(0.3), (3, 2, 2, 2), rng),
    "relu/kinks": on_kinks(ReLU()),
    "leakyrelu/kinks": on_kinks(LeakyReLU(0.3)),
    "tanh": lambda rng: case_of(Tanh(), (4, 9), rng),
    "identity": lambda rng: case_of(Identity(), (3, 4), rng),
    "l2normalize/rows": l2((4, 6)),
    "l2normalize/zero-row": l2((3, 5), zero_row=True),
    "l2normalize/one-row": l2((1, 10)),
    "l2normalize/maps": l2((2, 3, 2, 4)),
    "batchnorm/train-affine": batch_norm((5, 4), affine=True, train=True),
    "batchnorm/train": batch_norm((5, 4), affine=False, train=True),
    "batchnorm/train-maps": batch_norm((2, 3, 3, 2), affine=True, train=True),
    "batchnorm/eval-affine": batch_norm((5, 4), affine=True, train=False),
    "batchnorm/eval": batch_norm((5, 4), affine=False, train=False),
    "batchnorm/eval-maps": batch_norm((2, 2, 2, 3), affine=True, train=False),
    "layernorm/affine": layer_norm((4, 6), affine=True),
    "layernorm/plain": layer_norm((4, 6), affine=False),
    "layernorm/maps": layer_norm((2, 3, 2, 4), affine=True),
    "reshape": lambda rng: case_of(Reshape((2, 3, 4)), (3, 4, 3, 2), rng),
    "sequential": sequential,
    "loss/sum": loss("sum"),
    "loss/mean": loss("mean"),
    "dec/assignment": assignment(student()),
    "dec/assignment-alpha-2.5": assignment(student(2.5)),
    "dec/assignment-scale-3": assignment(student(scale=3.0)),
    "dec/loss": clustering_loss(student(), distance=1.0),
    "dec/loss-alpha-2.5": clustering_loss(student(2.5), distance=1.0),
    "dec/loss-near": clustering_loss(student(), distance=1e-3),
    "dec/loss-near-alpha-0.5": clustering_loss(student(0.5), distance=1e-3),
    "selflabelling/assignment": assignment(spherical(5.0)),
    "selflabelling/assignment-flat": assignment(spherical(0.1)),
    "selflabelling/assignment-sharp": assignment(spherical(30.0)),
    "selflabelling/loss": clustering_loss(spherical(5.0), distance=1.0),
    "cae/none": network("cae", "none"),
    "cae/l2": network("cae", "l2"),
    "cae/batch": network("cae", "batch", affine=True, train=True),
    "cae/layer": network("cae", "layer", affine=True),
    "cae/l2-hidden-batch": network("cae", "l2", "batch", affine=True, train=True),
    "cae/l2-hidden-layer": network("cae", "l2", "layer", affine=True),
    "cae/l2-odd-sides": network("cae", "l2", shape=(9, 14, 1)),
    "ae/none": network("dense", "none"),
    "ae/l2": network("dense", "l2"),
    "ae/batch": network("dense", "batch", train=True),
    "ae/batch-eval": network("dense", "batch", affine=True),
    "ae/layer": network("dense", "layer"),
    "ae/l2-hidden-batch": network("dense", "l2", "batch", train=True),
    "ae/l2-hidden-layer": network("dense", "l2", "layer", affine=True),
    "vae/gaussian": baselines.vae("gaussian"),
    "vae/bernoulli": baselines.vae("bernoulli"),
    "drae/errors": baselines.drae_errors,
    "drae/dense": baselines.drae("dense"),
    "drae/cae": baselines.drae("cae"),
    "gmvae/bernoulli": baselines.gmvae("bernoulli", 0.0),
    "gmvae/gaussian": baselines.gmvae("gaussian", 0.0),
    "gmvae/free": baselines.gmvae("bernoulli", 2.0),
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
        key = name.lower()
        found = [case for case in CASES if key in (case, case.split("/")[0])]
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
