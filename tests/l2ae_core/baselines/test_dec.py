"""DEC's formulas against loops over scalars, its gradients, and what the target is made of."""

import math

import numpy as np
import pytest

from l2ae_core.baselines.dec import DecSettings
from l2ae_core.gradcheck import check_function
from l2ae_core.networks import Architecture, build
from l2ae_core.refinement import StudentAssignment, kl_divergence, target_distribution
from l2ae_core.refinement.step import ClusteringLoss, JointStep, encoder_params
from l2ae_core.training.loss import reconstruction_loss
from l2ae_core.training.optim import SGD
from l2ae_core.training.step import CompiledStep, LayerwiseStep
from l2ae_kernels.cpu.codegen.vectors import best, vectors

EXACT = 1e-12  # float64: the same few operations in another order
SINGLE = 2e-6  # float32: the same, of numbers of order one


def points(N=7, K=4, D=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, D)), rng.standard_normal((K, D))


def soft(z, centers, alpha=1.0):
    return np.exp(StudentAssignment(centers, alpha).log_q(z))


def literal_weight(z, center, alpha):
    return 1 / (1 + sum((a - b) ** 2 for a, b in zip(z, center, strict=True)) / alpha)


def literal_q(z, centers, alpha):
    rows = []
    for point in z:
        powers = [literal_weight(point, c, alpha) ** ((alpha + 1) / 2) for c in centers]
        rows.append([power / sum(powers) for power in powers])
    return rows


def literal_p(q):
    frequency = [sum(row[j] for row in q) for j in range(len(q[0]))]
    weights = [[v**2 / f for v, f in zip(row, frequency, strict=True)] for row in q]
    return [[w / sum(row) for w in row] for row in weights]


@pytest.mark.parametrize("alpha", [1.0, 2.5, 0.4])
def test_q_p_and_kl_are_those_of_the_paper(alpha):
    z, centers = points()
    q, p = literal_q(z, centers, alpha), literal_p(literal_q(z, centers, alpha))
    np.testing.assert_allclose(soft(z, centers, alpha), q, rtol=EXACT)
    np.testing.assert_allclose(target_distribution(soft(z, centers, alpha)), p, rtol=EXACT)
    kl = sum(
        a * math.log(a / b)
        for one, other in zip(p, q, strict=True)
        for a, b in zip(one, other, strict=True)
    )
    assert kl_divergence(np.log(q), np.array(p))[0] == pytest.approx(kl / len(z), rel=EXACT)


@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_gradients_are_the_closed_form_of_the_paper(alpha):
    z, centers = points()
    q = np.array(literal_q(z, centers, alpha))
    p = np.array(literal_p(literal_q(z[::-1], centers, alpha)))  # not the target of q itself
    dz, dcenters = np.zeros_like(z), np.zeros_like(centers)
    for i in range(len(z)):
        for j in range(len(centers)):
            w = literal_weight(z[i], centers[j], alpha)
            pull = (alpha + 1) / alpha * w * (p[i, j] - q[i, j]) * (z[i] - centers[j]) / len(z)
            dz[i] += pull
            dcenters[j] -= pull
    layer = StudentAssignment(centers, alpha)
    log_q, cache = layer.forward(z)
    dx, grads = layer.backward(kl_divergence(log_q, p)[1], cache)
    np.testing.assert_allclose(dx, dz, atol=EXACT)
    np.testing.assert_allclose(grads["centers"], dcenters, atol=EXACT)


def test_rows_are_distributions_and_p_is_the_sharper_one():
    z, centers = points(N=200, K=10, D=10)
    q = soft(z.astype(np.float32), centers.astype(np.float32))
    p = target_distribution(q)
    for rows in (q, p):
        assert rows.dtype == np.float32
        assert rows.min() >= 0
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=SINGLE)
    entropy_q, entropy_p = (-(rows * np.log(rows)).sum(axis=1) for rows in (q, p))
    assert entropy_p.mean() < entropy_q.mean()
    balanced = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.3, 0.2, 0.5]])  # all f_j are equal
    squares = balanced**2
    np.testing.assert_allclose(
        target_distribution(balanced), squares / squares.sum(axis=1, keepdims=True), rtol=EXACT
    )


def test_a_large_cluster_is_held_back():
    """Between equally likely clusters p prefers the one that has fewer samples."""
    q = np.array([[0.5, 0.5], [0.9, 0.1], [0.9, 0.1]])
    p = target_distribution(q)
    f = q.sum(axis=0)
    assert p[0, 1] / p[0, 0] == pytest.approx(f[0] / f[1], rel=EXACT)


def test_extremes():
    """Far points, points on a center, a cluster that no sample reaches: all stay finite."""
    centers = np.array([[0, 0], [1, 0], [1e18, 0]], np.float32)
    z = np.array([[0, 0], [1e15, 0], [1e-20, 0]], np.float32)
    for alpha in (1.0, 30.0):  # the second makes some q underflow to 0
        layer = StudentAssignment(centers, alpha)
        log_q, cache = layer.forward(z)
        q = np.exp(log_q)
        p = target_distribution(q)
        loss, dlog_q = kl_divergence(log_q, p)
        dx, grads = layer.backward(dlog_q, cache)
        for a in (log_q, p, loss, dx, grads["centers"]):
            assert np.isfinite(a).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=SINGLE)
    assert q[:, 2].min() == 0


def test_many_samples_go_in_chunks_with_the_same_bits(monkeypatch):
    z, centers = points(N=25)
    whole = StudentAssignment(centers).log_q(z)
    monkeypatch.setattr("l2ae_core.refinement.assignment.CHUNK", 8)
    assert StudentAssignment(centers).log_q(z).tobytes() == whole.tobytes()


def network(kind="dense", norm="none", dtype=np.float64):
    sizes = {"latent_dim": 3, "hidden": (6, 5), "filters": (2, 3, 4)}
    rng = np.random.default_rng(1)
    model = build(Architecture(kind, (8, 8, 1), norm=norm, **sizes), rng, dtype)
    for a in model.params.values():  # zero biases would leave units on their kink
        a += 0.3 * rng.uniform(-1, 1, a.shape)
    return model


def joint_step(model, centers, gamma):
    return JointStep.make(model, StudentAssignment(centers), SGD(0.1), SGD(0.1), gamma)


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
    ("kind", "norm", "gamma"),
    [
        ("dense", "none", None),
        ("dense", "l2", None),
        ("dense", "none", 0.7),
        ("dense", "l2", 0.7),
        ("cae", "l2", 0.7),
    ],
)
def test_gradients_of_the_whole_loss(kind, norm, gamma):
    """SGD moves by −0.1 times the gradient, which is read back from one step of each method."""
    model = network(kind, norm)
    x, p, centers = batch(model)

    def loss(arrays):
        for name, a in model.params.items():
            a[...] = arrays.get(name, a)
        u = model.encode(x)
        kl = kl_divergence(StudentAssignment(arrays["centers"]).log_q(u), p)[0]
        return kl if gamma is None else reconstruction_loss(model.reconstruct(x), x)[0] + gamma * kl

    def gradient(arrays):
        loss(arrays)
        step = joint_step(model, arrays["centers"].copy(), gamma)
        before = {**{k: a.copy() for k, a in model.params.items()}, "centers": arrays["centers"]}
        take(step, x, p)
        after = {**model.params, "centers": step.loss.assignment.centers}
        return {name: (before[name] - after[name]) / 0.1 for name in arrays}

    params = model.params if gamma is not None else encoder_params(model)
    arrays = {**{name: a.copy() for name, a in params.items()}, "centers": centers}
    report = check_function(loss, gradient, arrays, methods=["central"], entries=40)
    assert report.ok, f"{report}"


def test_dec_leaves_the_decoder_alone():
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
def test_compiled_and_layer_by_layer_agree(kind):
    ends = []
    for name in (best(), "none"):
        model = network(kind, dtype=np.float32)
        x, p, centers = batch(model, N=40)
        with vectors(name):
            step = joint_step(model, centers, 0.5)
            assert isinstance(step.network, LayerwiseStep if name == "none" else CompiledStep)
            losses = [take(step, x, p) for _ in range(5)]
        ends.append((np.array(losses), {**model.params, "centers": centers}))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-5)
    for name, a in ends[1][1].items():
        np.testing.assert_allclose(ends[0][1][name], a, atol=1e-5, err_msg=name)


def test_ranges_of_a_batch_add_up_to_the_batch():
    z, centers = points(N=10)
    p = target_distribution(soft(z[::-1], centers))
    whole, parts = (ClusteringLoss(StudentAssignment(centers), 0.3) for _ in range(2))
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StudentAssignment(np.zeros(3)), r"centers is \(3,\) but expected \(K, D\)"),
        (lambda: StudentAssignment(np.zeros((2, 3)), 0.0), "alpha is 0.0 but expected"),
        (lambda: soft(np.zeros((4, 2)), np.zeros((2, 3))), r"sample has shape \(2,\), expected"),
        (lambda: target_distribution(np.zeros((0, 3))), r"q is \(0, 3\) but expected \(N, K\)"),
        (lambda: kl_divergence(np.zeros((2, 3)), np.zeros((3, 3))), r"log_q is \(2, 3\) and p is"),
        (lambda: DecSettings("idec2"), "method is 'idec2' but expected one of"),
        (lambda: DecSettings("dec", optimizer="rms"), "optimizer is 'rms' but expected one of"),
        (lambda: DecSettings("dec", update_interval=0), "update_interval is 0 but expected"),
        (lambda: DecSettings("dec", batch_size=2.5), "batch_size is 2.5 but expected"),
        (lambda: DecSettings("dec", gamma=float("nan")), "gamma is nan but expected"),
        (lambda: DecSettings("dec", tol=1.0), "tol is 1.0 but expected"),
        (lambda: DecSettings("dec", learning_rate=-1.0), "learning_rate is -1.0 but expected"),
        (lambda: DecSettings.reference("dec", "cifar"), "none of 'dec' on 'cifar'"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_reference_settings():
    """What the authors' code does, as far as it differs from method to method."""
    dec, idec = DecSettings.reference("dec"), DecSettings.reference("idec", "usps")
    assert (dec.optimizer, dec.learning_rate, dec.momentum) == ("sgd", 0.01, 0.9)
    assert (dec.update_interval, dec.tol, dec.max_iter) == (140, 1e-3, 20_000)
    assert (idec.optimizer, idec.learning_rate, idec.momentum) == ("sgd", 0.1, 0.99)
    assert DecSettings.reference("dec", "usps").update_interval == idec.update_interval == 30
    for data in ("mnist", "usps"):
        dcec = DecSettings.reference("dcec", data)
        assert (dcec.update_interval, dcec.gamma, dcec.optimizer) == (140, 0.1, "adam")
        assert (dcec.learning_rate, dcec.batch_size, dcec.n_init) == (1e-3, 256, 20)
