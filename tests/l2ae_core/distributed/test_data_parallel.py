"""Training steps whose gradients several workers compute: the bits of one process."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.training.loop import fit
from l2ae_core.training.loss import Reduction
from l2ae_core.training.optim import make_optimizer
from l2ae_core.training.step import CompiledStep
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.step.convolutional import SHARDS, ConvolutionalStep

pytestmark = [pytest.mark.needs_vectors, pytest.mark.filterwarnings("default")]  # of Dask's own
SMALL = Architecture("cae", (8, 8, 1), filters=(8, 8, 8), latent_dim=4)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((300, 8, 8, 1), np.float32)


def new(architecture: Architecture = SMALL) -> AutoEncoder:
    return build(architecture, np.random.default_rng(0))


def kernels_of(model: AutoEncoder) -> ConvolutionalStep:
    step = CompiledStep(model, make_optimizer("adam", 1e-3), "mean")
    step.loss_and_grads(IMAGES[:1])
    assert isinstance(step.kernels, ConvolutionalStep)
    return step.kernels


@pytest.mark.parametrize("count", [1, 17, 128, 250])
@pytest.mark.parametrize("cuts", [(8,), (3, 8), (1, 2, 3, 4, 5, 6, 7, 8)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_shards_add_up_to_the_gradients(
    count: int, cuts: tuple[int, ...], reduction: Reduction
) -> None:
    x = IMAGES[:count]
    expected, kernels = kernels_of(new()), kernels_of(new())
    loss = expected.loss(x, reduction)
    grads = {name: g.copy() for name, g in expected.grads().items()}
    losses = np.zeros(SHARDS)
    sums = np.zeros(kernels.shards.shape[1], np.float32)
    for first, last in zip((0, *cuts), cuts, strict=False):
        shards = range(first, last)
        own = kernels.samples_of(count, shards)
        if own.start < own.stop:
            found, parts = kernels.loss_and_shards(x[own].copy(), shards, count, reduction)
            losses[first:last] = found
            for gradients in parts:
                sums = sums + gradients
    divisor = count * (64 if reduction == "mean" else 1)
    assert kernels.take_sums(losses, sums, divisor) == loss
    for name, g in kernels.grads().items():
        np.testing.assert_array_equal(g, grads[name], strict=True, err_msg=name)
    assert kernels.loss(x, reduction) == loss  # nothing is left behind
    np.testing.assert_array_equal(kernels.grads()["encoder.0.W"], grads["encoder.0.W"])


def test_shards_of_other_samples_are_refused() -> None:
    kernels = kernels_of(new())
    with pytest.raises(ValueError, match=r"x has 5 samples .* expected the 128 of range\(0, 4\)"):
        kernels.loss_and_shards(IMAGES[:5], range(4), 256)


pytest.importorskip("distributed.client")  # "distributed" is also a folder of tests

from l2ae_core.distributed import workers  # noqa: E402
from l2ae_core.distributed.data_parallel import DataParallelStep  # noqa: E402


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A cluster of two workers: in this process, or each a process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=request.param, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def trained(optimizer: str, client: Any = None, images: Array = IMAGES) -> AutoEncoder:
    model, rule = new(), make_optimizer(optimizer, 1e-2)
    step = None if client is None else DataParallelStep(model, rule, "mean", client=client)
    history = fit(model, images, epochs=2, batch_size=100, optimizer=rule, step=step,
                  rng=np.random.default_rng(1), progress=False)  # fmt: skip
    assert np.isfinite(history.records[-1].loss)
    return model


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_has_the_bits_of_one_process(optimizer: str, client: Any) -> None:
    """The last batch of an epoch has one micro-batch: one worker has nothing to do."""
    here, there = trained(optimizer, None, IMAGES[:215]), trained(optimizer, client, IMAGES[:215])
    for name, p in here.params.items():
        np.testing.assert_array_equal(there.params[name], p, strict=True, err_msg=name)


def test_a_step_without_workers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import Client, LocalCluster

    monkeypatch.setattr(workers, "RETURN", 0.3)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        step = DataParallelStep(new(), make_optimizer("adam", 1e-3), "mean", client=client)
        with pytest.raises(ConnectionError, match="step: the scheduler at .* has no worker"):
            step(IMAGES[:9])


@pytest.mark.parametrize(
    "architecture",
    [Architecture("dense", (8, 8, 1), hidden=(16,)), replace(SMALL, hidden_norm="batch")],
    ids=["dense", "batch norm"],
)
def test_a_network_without_shards_is_refused(client: Any, architecture: Architecture) -> None:
    model = new(architecture)
    step = DataParallelStep(model, make_optimizer("adam", 1e-3), "mean", client=client)
    with pytest.raises(ValueError, match="has no shards of gradients but expected a compiled"):
        step(IMAGES[:9])
