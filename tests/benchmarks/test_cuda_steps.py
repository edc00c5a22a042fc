"""`run.py step --device cuda`: ours and the peers train as NumPy does, or are not timed."""

import numpy as np
import pytest

from l2ae_bench import peers
from l2ae_bench.comparison import Disagreement
from l2ae_bench.cuda import run, step
from l2ae_bench.targets import TARGETS, verdict
from l2ae_core.networks import Architecture
from l2ae_kernels.cuda.training import DeviceTraining

DENSE = Architecture("dense", (3, 4, 1), 3, hidden=(5,))
CAE = Architecture("cae", (8, 8, 1), 3, filters=(3, 4), kernels=(5, 3))
SLOW_CAE = pytest.param(CAE, marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Two steps a call; a contender is called once, and said to take a second a step."""

    def measure(contenders, repeats, threads, *, seconds=None, done=None):
        for contender in contenders.values():
            contender()
        return {name: [float(step.STEPS)] * repeats for name in contenders}

    monkeypatch.setattr(step, "STEPS", 2)
    monkeypatch.setattr(step, "MODELS", 3)
    monkeypatch.setattr(step, "MICRO_BATCH", 2)
    monkeypatch.setattr(step, "measure", measure)


@pytest.fixture
def only(monkeypatch):
    """Let one peer be installed, or none."""

    def choose(module):
        monkeypatch.setattr(peers, "installed", lambda name: name == module)

    choose("")
    return choose


def rows_of(network, precision, device, name="step-small"):
    return list(step.rows(name, network, precision, device, 2, batch=3))


@pytest.mark.parametrize("precision", step.PARTS)
def test_ours_stands_alone(precision, device, only):
    (row,) = rows_of(DENSE, precision, device)
    assert (row.workload, row.peers) == ("step-small-cuda", {})
    assert row.threads == device.properties.name
    assert row.ours_ms == 1000  # of a step, not of a call
    assert 0 < row.agreement < (1e-5 if precision == "float32" else step.TF32_GRADIENTS)
    assert row.to_dict()["gflop_per_s"] > 0


@pytest.mark.slow  # imports a peer, which takes seconds
@pytest.mark.parametrize("network", [DENSE, SLOW_CAE])
@pytest.mark.parametrize("module", ["torch", "jax"])
def test_a_peer_trains_as_ours(module, network, device, only):
    pytest.importorskip(module)
    only(module)
    row, *eager = rows_of(network, "float32", device)
    assert module in row.peers
    assert [r.workload for r in eager] == ["step-small-cuda-eager"] * (module == "torch")
    assert 0 < row.agreement < 1e-4


@pytest.mark.slow
def test_many_models_and_what_table_4_takes(device, only):
    _, many, whole = rows_of(DENSE, "float32", device, step.OF_TABLE4)
    rows = {"one model": 1000, "micro-batches": pytest.approx(1000 / 3)}
    assert (many.workload, many.peers) == ("step-cae-28-3-models-cuda", rows)
    assert many.ours_ms == pytest.approx(1000 / 3)
    assert whole.workload == "table4-cuda"
    assert whole.ours_ms == pytest.approx(1000 / 3 * 200 * 200 * 214)
    assert (str(TARGETS["table4-cuda"]), verdict(whole)) == ("≤ 600 s", "missed")


@pytest.mark.slow
def test_many_models_that_train_otherwise_are_not_timed(device, only, monkeypatch):
    right = DeviceTraining.run

    def wrong(training, batches):
        losses = right(training, batches)
        losses[1:, 2:] *= 1.01  # the third model, from its second step on
        return losses

    monkeypatch.setattr(DeviceTraining, "run", wrong)
    with pytest.raises(Disagreement, match="3 models, steps of Adam: the losses differ by 1"):
        rows_of(DENSE, "float32", device, step.OF_TABLE4)


def test_other_losses_are_not_timed(device, only, monkeypatch):
    """Steps that do not train leave the loss where it is."""
    right = DeviceTraining.run
    monkeypatch.setattr(
        DeviceTraining, "run", lambda self, batches: np.repeat(right(self, batches[:1]), 3, axis=0)
    )
    monkeypatch.setattr(step, "LOSSES", 1e-6)
    with pytest.raises(Disagreement, match="ours, steps of Adam: the losses differ"):
        rows_of(DENSE, "float32", device)


@pytest.mark.parametrize("precision", step.PARTS)
def test_a_wrong_gradient_is_not_timed(precision, device, only):
    training = step.Training.of(DENSE, 3, precision)
    grads = {name: g.copy() for name, g in training.grads.items()}
    assert training.differ("right", training.loss, grads) == 0
    grads[next(name for name in grads if name.endswith("W"))] *= 1.5
    with pytest.raises(Disagreement, match="the gradients of"):
        training.differ("wrong", training.loss, grads)
    with pytest.raises(Disagreement, match="the gradients of"):
        training.differ("nothing", training.loss, {name: 0 * g for name, g in grads.items()})


def test_a_quick_part_has_one_network_in_both_classes(device, only, monkeypatch):
    asked = []

    def rows(name, network, precision, device, repeats, *, compiled, done):
        asked.append((name, precision, repeats, compiled))
        return []

    monkeypatch.setattr(step, "rows", rows)
    assert list(run.rows("step", device, quick=True, progress=False)) == []
    assert asked == [("step-cae-28", "float32", run.QUICK, False),
                     ("step-cae-28-tf32", "tf32", run.QUICK, False)]  # fmt: skip
    asked.clear()
    list(run.rows("step", device, progress=False))
    assert len(asked) == len(step.workloads()) == 6
    assert all(compiled for *_, compiled in asked)
