"""The step on reconstruction and KL: its gradients, compiled or not, and its sums by range."""

import numpy as np
import pytest

from l2ae_core.gradcheck import check_function
from l2ae_core.networks import Architecture, build
from l2ae_core.refinement import (
    SphericalAssignment,
    StudentAssignment,
    kl_divergence,
    target_distribution,
)
from l2ae_core.refinement.step import ClusteringLoss, JointStep, encoder_params
from l2ae_core.training.loss import reconstruction_loss
from l2ae_core.training.optim import SGD
from l2ae_core.training.step import CompiledStep, LayerwiseStep
from l2ae_kernels.cpu.codegen.vectors import best, vectors

EXACT = 1e-12  # float64: the same few operations in another order
ASSIGNMENTS = [StudentAssignment, SphericalAssignment]


def network(kind="dense", norm="none", dtype=np.float64, **more):
    sizes = more | {"latent_dim": 3, "hidden": (6, 5), "filters": (2, 3, 4)}
    rng = np.random.default_rng(1)
    model = build(Architecture(kind, (8, 8, 1), norm=norm, **sizes), rng, dtype)
    for a in model.params.values():  # zero biases would leave units on their kink
        a += 0.3 * rng.uniform(-1, 1, a.shape)
    return model


def joint_step(model, centers, gamma, kind=StudentAssignment, rate=0.1):
    return JointStep.make(model, kind(centers), SGD(rate), SGD(rate), gamma)


def take(step, x, p):
    """One step with the target p; returns the loss."""
    step.loss.set_target(p)
    return step(x)


def batch(model, N=9, K=4):
    rng = np.random.default_rng(2)
    dtype = next(iter(model.params.values())).dtype
    x, p = rng.random((N, *model.input_shape)), rng.dirichlet(np.ones(K), N)
    return x.astype(dtype), p.astype(dtype), rng.standard_normal((K, 3)).astype(dtype)


@pytest.mark.parametrize(
    ("kind", "norm", "gamma", "assignment"),
    [
        ("dense", "none", None, StudentAssignment),
        ("dense", "l2", None, StudentAssignment),
        ("dense", "none", 0.7, StudentAssignment),
        ("dense", "l2", 0.7, StudentAssignment),
        pytest.param("cae", "l2", 0.7, StudentAssignment, marks=pytest.mark.slow),
        ("dense", "l2", None, SphericalAssignment),
        pytest.param("cae", "l2", 0.7, SphericalAssignment, marks=pytest.mark.slow),
    ],
)
def test_gradients_of_the_whole_loss(kind, norm, gamma, assignment):
    """SGD moves by −0.1 times the gradient, which is read back from one step of each method."""
    model = network(kind, norm)
    x, p, centers = batch(model)

    def loss(arrays):
        for name, a in model.params.items():
            a[...] = arrays.get(name, a)
        u = model.encode(x)
        kl = kl_divergence(assignment(arrays["centers"]).log_q(u), p)[0]
        return kl if gamma is None else reconstruction_loss(model.reconstruct(x), x)[0] + gamma * kl

    def gradient(arrays):
        loss(arrays)
        step = joint_step(model, arrays["centers"].copy(), gamma, assignment)
        before = {**{k: a.copy() for k, a in model.params.items()}, "centers": arrays["centers"]}
        take(step, x, p)
        after = {**model.params, "centers": step.loss.assignment.centers}
        return {name: (before[name] - after[name]) / 0.1 for name in arrays}

    params = model.params if gamma is not None else encoder_params(model)
    arrays = {**{name: a.copy() for name, a in params.items()}, "centers": centers}
    report = check_function(loss, gradient, arrays, methods=["central"], entries=40)
    assert report.ok, f"{report}"


def test_kl_alone_leaves_the_decoder_as_it_is():
    model = network()
    x, p, centers = batch(model)
    before = {name: a.copy() for name, a in model.params.items()}
    step = joint_step(model, centers, None)
    loss = take(step, x, p)
    assert step.take_reconstruction() is None
    assert loss == step.loss.sums()[0] > 0
    for name, a in model.params.items():
        assert np.array_equal(a, before[name]) == name.startswith("decoder."), name


@pytest.mark.skipif(best() == "none", reason="no kernels are emitted for this machine")
@pytest.mark.parametrize("kind", ["dense", "cae"])
@pytest.mark.parametrize("hidden", ["none", "batch"])
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_compiled_and_layer_by_layer_agree(kind, hidden, assignment):
    """Over steps so small that they do not amplify rounding, and large enough to be seen."""
    ends, norm = [], "l2" if assignment is SphericalAssignment else "none"
    for name in (best(), "none"):
        model = network(kind, norm, np.float32, hidden_norm=hidden)
        x, p, centers = batch(model, N=40)
        with vectors(name):
            step = joint_step(model, centers, 0.5, assignment, rate=0.01)
            assert isinstance(step.network, LayerwiseStep if name == "none" else CompiledStep)
            losses = [take(step, x, p) for _ in range(5)]
        ends.append((np.array(losses), {**model.params, **model.state, "centers": centers}))
    assert ends[1][0][0] - ends[1][0][-1] > 1e-3
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-5)
    for name, a in ends[1][1].items():
        np.testing.assert_allclose(ends[0][1][name], a, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_ranges_of_a_batch_add_up_to_the_batch(assignment):
    rng = np.random.default_rng(0)
    z, centers = rng.standard_normal((10, 3)), rng.standard_normal((4, 3))
    p = target_distribution(np.exp(assignment(centers).log_q(z[::-1])))
    whole, parts = (ClusteringLoss(assignment(centers), 0.3) for _ in range(2))
    whole.set_target(p)
    parts.set_target(p)
    expected = whole(0, z)
    du = np.concatenate([parts(6, z[6:]), parts(0, z[:6])])[[4, 5, 6, 7, 8, 9, 0, 1, 2, 3]]
    np.testing.assert_allclose(du, expected, rtol=EXACT)
    (kl, grads), (expected_kl, expected_grads) = parts.sums(), whole.sums()
    assert kl == pytest.approx(expected_kl, rel=EXACT)
    np.testing.assert_allclose(grads["centers"], expected_grads["centers"], rtol=1e-10)
    parts.set_target(p[:3])  # a smaller batch has fewer ranges
    whole.set_target(p[:3])
    np.testing.assert_array_equal(parts(0, z[:3]), whole(0, z[:3]))
    assert parts.sums()[0] == whole.sums()[0]
