"""Self-labelling: what it trains on, its learning rate, its end, and its bits."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.refinement import (
    SelfLabelling,
    SphericalAssignment,
    StudentAssignment,
    kl_divergence,
    target_distribution,
)
from l2ae_core.refinement.self_labelling import SelfLabellingHooks
from l2ae_core.refinement.step import JointStep
from l2ae_core.training.augment import Warp
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import ReconstructionStep
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.threads import MOST, threads

from .small import BATCH, ROUNDS, SETTINGS, STEPS, N, bits, images, network, run


@pytest.mark.parametrize("kind", ["dense", "cae"])
@pytest.mark.parametrize("assignment", ["spherical", "student"])
def test_what_comes_back_belongs_together(kind: str, assignment: str) -> None:
    model, found = run(network(kind), assignment=assignment)
    expected = {"spherical": SphericalAssignment, "student": StudentAssignment}[assignment]
    assert type(found.assignment) is expected
    log_q = found.assignment.log_q(model.encode(images()))
    np.testing.assert_array_equal(found.labels, log_q.argmax(axis=1))
    assert found.labels.dtype == np.int32
    assert (len(found.history), found.stopped) == (ROUNDS, "rounds")
    last, q = found.history[-1].extra, np.exp(log_q)
    kl, _ = kl_divergence(log_q, target_distribution(q))
    assert last["kl"] == pytest.approx(kl, rel=1e-5)
    assert last["mean_max_q"] == pytest.approx(q.max(axis=1).mean(), rel=1e-5)
    assert last["reconstruction"] > 0
    assert found.seconds > 0


def test_concentration_and_scale_reach_the_assignment() -> None:
    _, sphere = run(concentration=3.0)
    assert isinstance(sphere.assignment, SphericalAssignment)
    assert sphere.assignment.concentration == 3.0
    _, student = run(assignment="student", scale=10.0)
    assert isinstance(student.assignment, StudentAssignment)
    assert (student.assignment.alpha, student.assignment.scale) == (1.0, 10.0)


def test_targets_are_of_images_as_they_are_and_steps_of_warped_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every image once a round, warped by draws from `rng`, with its row of the target of all."""
    taken: list[tuple[Array, Array]] = []
    targets: list[Array] = []
    real_step, real_update = JointStep.__call__, SelfLabellingHooks.update_target

    def step(self: JointStep, x: Array) -> float:
        assert self.loss.p is not None
        taken.append((x.copy(), self.loss.p.copy()))
        return real_step(self, x)

    def update_target(self: SelfLabellingHooks, given: Array) -> float:
        np.testing.assert_array_equal(given, images())
        u = self.step.model.encode(images()).astype(np.float64)
        centers = self.step.loss.assignment.centers.astype(np.float64)
        s = 5.0 * u @ (centers / np.linalg.norm(centers, axis=1, keepdims=True)).T
        q = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
        weights = q**2 / q.sum(axis=0)
        targets.append(weights / weights.sum(axis=1, keepdims=True))
        return real_update(self, given)

    monkeypatch.setattr(JointStep, "__call__", step)
    monkeypatch.setattr(SelfLabellingHooks, "update_target", update_target)
    run()
    assert len(taken) == STEPS
    assert len(targets) == ROUNDS + 1
    rng, x, steps = np.random.default_rng(7), images(), iter(taken)
    assert SETTINGS.warp is not None
    for target in targets[:-1]:
        order = rng.permutation(N)
        for begin in range(0, N, BATCH):
            batch = order[begin : begin + BATCH]
            got, p = next(steps)
            np.testing.assert_array_equal(got, SETTINGS.warp(x[batch], rng))
            np.testing.assert_allclose(p, target[batch], rtol=1e-4)


def test_without_a_warp_the_images_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, real = [], JointStep.__call__

    def step(self: JointStep, x: Array) -> float:
        seen.append(x)
        return real(self, x)

    monkeypatch.setattr(JointStep, "__call__", step)
    run(warp=None, rounds=1)
    order = np.random.default_rng(7).permutation(N)
    np.testing.assert_array_equal(np.concatenate(seen), images()[order])


def test_first_centers_are_those_of_k_means_as_directions() -> None:
    u = network().encode(images())
    by_hand = kmeans(u, 10, n_init=3, rng=np.random.default_rng(5))
    _, found = run(rounds=1)
    m = by_hand.centers / np.linalg.norm(by_hand.centers, axis=1, keepdims=True)
    np.testing.assert_array_equal(found.start_labels, (u @ m.T).argmax(axis=1))
    given = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    kept = given.copy()
    _, other = run(start=given, rounds=1)
    np.testing.assert_array_equal(given, kept)
    m = given / np.linalg.norm(given, axis=1, keepdims=True)
    np.testing.assert_array_equal(other.start_labels, (u @ m.T).argmax(axis=1))


def test_the_learning_rate_falls_by_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[tuple[float, ...]] = []
    real = JointStep.__call__

    def step(self: JointStep, x: Array) -> float:
        used = self.optimizer, self.center_optimizer
        rates.append(tuple(o.learning_rate for o in used if isinstance(o, Adam)))
        return real(self, x)

    monkeypatch.setattr(JointStep, "__call__", step)
    run(rounds=4, learning_rate=0.01)
    expected = [0.01, 0.01 * (2 + 2**0.5) / 4, 0.005, 0.01 * (2 - 2**0.5) / 4]  # cos π/4 = √2/2
    np.testing.assert_allclose(rates, np.repeat(expected, 5)[:, None].repeat(2, axis=1))


def test_steps_and_centers_move_as_far_as_the_rate_of_their_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = network()
    monkeypatch.setattr(SelfLabelling, "rate", lambda self, round: 1e-30)
    model, found = run(rounds=2)
    for name, a in start.params.items():
        np.testing.assert_allclose(model.params[name], a, rtol=0, atol=1e-20, err_msg=name)
    np.testing.assert_allclose(np.linalg.norm(found.assignment.centers, axis=1), 1, rtol=1e-6)


def test_it_ends_after_the_first_round_with_few_changes() -> None:
    _, whole = run(rounds=6)
    changes = [r.extra["label_change"] for r in whole.history]
    tol = np.nextafter(min(changes[1:]), 1)  # more than 0: not below it
    first = next(i for i, change in enumerate(changes) if change < tol)
    _, found = run(rounds=6, tol=tol)
    assert [r.extra["label_change"] for r in found.history] == changes[: first + 1]
    assert found.stopped == "tol"


def test_label_changes_are_those_of_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[Array] = []
    real = SelfLabellingHooks.update_target

    def update_target(self: SelfLabellingHooks, given: Array) -> float:
        labels.append(self.step.loss.assignment.log_q(self.step.model.encode(given)).argmax(axis=1))
        return real(self, given)

    monkeypatch.setattr(SelfLabellingHooks, "update_target", update_target)
    _, found = run(learning_rate=0.01)
    expected = [np.mean(a != b) for a, b in pairwise(labels)]
    assert [r.extra["label_change"] for r in found.history] == expected
    assert max(expected) > 0
    np.testing.assert_array_equal(found.start_labels, labels[0])


@pytest.mark.parametrize("gamma", [None, 0.1, 2.0])
def test_gamma_weighs_kl_and_none_trains_the_encoder_alone(
    gamma: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[tuple[float, float, float]] = []
    real = JointStep.__call__

    def step(self: JointStep, x: Array) -> float:
        mse = 0.0
        if isinstance(self.network, ReconstructionStep):
            mse = float(((self.model.reconstruct(x) - x) ** 2).mean())
        loss = real(self, x)
        losses.append((loss, mse, self.loss.sums()[0]))
        return loss

    monkeypatch.setattr(JointStep, "__call__", step)
    start = network()
    model, found = run(gamma=gamma, rounds=1)
    for loss, mse, kl in losses:
        assert loss == pytest.approx(mse + (1.0 if gamma is None else gamma) * kl, rel=1e-4)
        assert kl > 0
    for name, a in start.params.items():
        alone = gamma is None and name.startswith("decoder.")
        assert np.array_equal(model.params[name], a) == alone, name
    reconstruction = found.history[-1].extra["reconstruction"]
    assert (reconstruction is None) == (gamma is None)


@pytest.mark.parametrize("kind", ["dense", "cae"])
def test_a_seed_gives_the_same_bits_on_any_number_of_threads(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l2ae_kernels.cpu.threads.WORTH_A_THREAD", 1)
    ends = []
    for count in (1, min(2, MOST), MOST):
        with threads(count):
            ends.append(bits(*run(network(kind), rounds=2)))
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": 0}, "n_clusters is 0 but expected"),
        ({"rounds": 1.5}, "rounds is 1.5 but expected"),
        ({"batch_size": -1}, "batch_size is -1 but expected"),
        ({"n_init": True}, "n_init is True but expected"),
        ({"concentration": 0.0}, "concentration is 0.0 but expected"),
        ({"concentration": float("inf")}, "concentration is inf but expected"),
        ({"learning_rate": float("nan")}, "learning_rate is nan but expected"),
        ({"gamma": -0.1}, "gamma is -0.1 but expected"),
        ({"scale": 0.0}, "scale is 0.0 but expected"),
        ({"tol": 1.5}, "tol is 1.5 but expected"),
        ({"assignment": "gaussian"}, "assignment is 'gaussian' but expected"),
        ({"warp": (10, 0.1)}, r"warp is \(10, 0.1\) but expected"),
        ({"start": np.zeros((9, 4))}, r"start is \(9, 4\) but expected finite \(10, 4\)"),
        ({"start": np.full((10, 4), np.nan)}, "expected finite"),
        ({"model": network().astype(np.float64)}, "images is float32 but .* float64"),
        ({"n_clusters": N + 1}, f"x has {N} rows but expected at least {N + 1}"),
    ],
)
def test_bad_arguments_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**change)


def test_settings_are_json_that_gives_them_back() -> None:
    values = SETTINGS.to_dict()
    assert SelfLabelling(**values | {"warp": Warp(**values["warp"])}) == SETTINGS
