"""Soft assignments, target and KL against loops over scalars, and what the target is made of."""

import math

import numpy as np
import pytest

from l2ae_core.refinement import (
    SphericalAssignment,
    StudentAssignment,
    kl_divergence,
    target_distribution,
)

EXACT = 1e-12  # float64: the same few operations in another order
SINGLE = 2e-6  # float32: the same, of numbers of order one


def points(N=7, K=4, D=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, D)), rng.standard_normal((K, D))


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def soft(z, centers, alpha=1.0):
    return np.exp(StudentAssignment(centers, alpha).log_q(z))


def literal_weight(z, center, alpha, scale=1.0):
    return 1 / (1 + scale * sum((a - b) ** 2 for a, b in zip(z, center, strict=True)) / alpha)


def literal_q(z, centers, alpha, scale=1.0):
    rows = []
    for point in z:
        powers = [literal_weight(point, c, alpha, scale) ** ((alpha + 1) / 2) for c in centers]
        rows.append([power / sum(powers) for power in powers])
    return rows


def literal_directions(centers):
    lengths = [math.sqrt(sum(a * a for a in c)) for c in centers]
    return [[a / n for a in c] for c, n in zip(centers, lengths, strict=True)], lengths


def literal_spherical_q(u, centers, kappa):
    m, _ = literal_directions(centers)
    rows = []
    for code in u:
        powers = [math.exp(kappa * sum(a * b for a, b in zip(code, d, strict=True))) for d in m]
        rows.append([power / sum(powers) for power in powers])
    return rows


def literal_p(q):
    frequency = [sum(row[j] for row in q) for j in range(len(q[0]))]
    weights = [[v**2 / f for v, f in zip(row, frequency, strict=True)] for row in q]
    return [[w / sum(row) for w in row] for row in weights]


@pytest.mark.parametrize(
    ("layer", "literal"),
    [
        (lambda c: StudentAssignment(c), lambda z, c: literal_q(z, c, 1.0)),
        (lambda c: StudentAssignment(c, 2.5), lambda z, c: literal_q(z, c, 2.5)),
        (lambda c: StudentAssignment(c, 0.4, 7.0), lambda z, c: literal_q(z, c, 0.4, 7.0)),
        (lambda c: SphericalAssignment(c), lambda z, c: literal_spherical_q(z, c, 5.0)),
        (lambda c: SphericalAssignment(c, 0.3), lambda z, c: literal_spherical_q(z, c, 0.3)),
        (lambda c: SphericalAssignment(c, 20.0), lambda z, c: literal_spherical_q(z, c, 20.0)),
    ],
)
def test_q_p_and_kl_are_the_formulas(layer, literal):
    z, centers = points()
    z = unit(z)
    q, p = literal(z, centers), literal_p(literal(z, centers))
    found = np.exp(layer(centers).log_q(z))
    np.testing.assert_allclose(found, q, rtol=1e2 * EXACT)  # exp of up to ±20: 20 times the error
    np.testing.assert_allclose(target_distribution(found), p, rtol=1e3 * EXACT)
    np.testing.assert_allclose(target_distribution(np.array(q)), p, rtol=EXACT)
    kl = sum(
        a * math.log(a / b)
        for one, other in zip(p, q, strict=True)
        for a, b in zip(one, other, strict=True)
    )
    assert kl_divergence(np.log(q), np.array(p))[0] == pytest.approx(kl / len(z), rel=EXACT)


@pytest.mark.parametrize(("alpha", "scale"), [(1.0, 1.0), (2.5, 1.0), (1.0, 10.0), (0.4, 7.0)])
def test_gradients_of_student_are_the_closed_form_of_the_paper(alpha, scale):
    z, centers = points()
    q = np.array(literal_q(z, centers, alpha, scale))
    p = np.array(literal_p(literal_q(z[::-1], centers, alpha)))  # not the target of q itself
    dz, dcenters = np.zeros_like(z), np.zeros_like(centers)
    for i in range(len(z)):
        for j in range(len(centers)):
            w = scale * literal_weight(z[i], centers[j], alpha, scale)
            pull = (alpha + 1) / alpha * w * (p[i, j] - q[i, j]) * (z[i] - centers[j]) / len(z)
            dz[i] += pull
            dcenters[j] -= pull
    du, dc = gradients(StudentAssignment(centers, alpha, scale), z, p)
    np.testing.assert_allclose(du, dz, atol=scale * EXACT)
    np.testing.assert_allclose(dc, dcenters, atol=scale * EXACT)


@pytest.mark.parametrize("kappa", [0.3, 5.0, 20.0])
def test_gradients_of_the_sphere_go_through_the_length_of_the_centers(kappa):
    """du_i = κ/N Σ_j (q − p)_ij m_j; dc_j is κ/N Σ_i (q − p)_ij u_i without its part along m_j."""
    u, centers = points()
    u = unit(u)
    q = literal_spherical_q(u, centers, kappa)
    p = literal_p(literal_spherical_q(u[::-1], centers, kappa))  # not the target of q itself
    m, lengths = literal_directions(centers)
    N, K, D = len(u), len(centers), len(u[0])
    expected_du, expected_dc = np.zeros((N, D)), np.zeros((K, D))
    for i in range(N):
        for d in range(D):
            expected_du[i, d] = sum(kappa / N * (q[i][j] - p[i][j]) * m[j][d] for j in range(K))
    for j in range(K):
        dm = [sum(kappa / N * (q[i][j] - p[i][j]) * u[i][d] for i in range(N)) for d in range(D)]
        along = sum(a * b for a, b in zip(m[j], dm, strict=True))
        expected_dc[j] = [(dm[d] - m[j][d] * along) / lengths[j] for d in range(D)]
    du, dc = gradients(SphericalAssignment(centers, kappa), u, np.array(p))
    bound = kappa * 1e3 * EXACT
    np.testing.assert_allclose(du, expected_du, atol=bound)
    np.testing.assert_allclose(dc, expected_dc, atol=bound / min(lengths))


def gradients(layer, x, p):
    """Of KL(P‖Q), by codes and centers."""
    log_q, cache = layer.forward(x)
    dx, grads = layer.backward(kl_divergence(log_q, p)[1], cache)
    return dx, grads["centers"]


def test_only_the_directions_of_the_centers_count():
    u, centers = points()
    u, factors = unit(u), np.array([[0.01], [1.0], [3.0], [100.0]])
    p = target_distribution(soft(u, centers))
    one, other = (SphericalAssignment(c, 5.0) for c in (centers, factors * centers))
    np.testing.assert_allclose(one.log_q(u), other.log_q(u), atol=1e2 * EXACT)
    (du, dc), (du_other, dc_other) = (gradients(layer, u, p) for layer in (one, other))
    np.testing.assert_allclose(du, du_other, atol=1e2 * EXACT)
    np.testing.assert_allclose(dc, factors * dc_other, atol=1e2 * EXACT)
    along = (dc * unit(centers)).sum(axis=1)
    np.testing.assert_allclose(along, 0, atol=1e2 * EXACT)
    assert np.abs(dc).max() > 1e-3


def test_a_higher_concentration_is_sharper():
    u, centers = points(N=50)
    u = unit(u)
    nearest = (u @ unit(centers).T).argmax(axis=1)
    sure = []
    for kappa in (1e-9, 0.5, 2.0, 5.0, 20.0, 1e6):
        q = np.exp(SphericalAssignment(centers, kappa).log_q(u))
        np.testing.assert_array_equal(q.argmax(axis=1)[kappa > 1e-6 :], nearest[kappa > 1e-6 :])
        sure.append(q.max(axis=1).mean())
    assert sure == sorted(sure)
    assert sure[0] == pytest.approx(1 / 4)
    assert sure[-1] > 0.99


def test_on_the_sphere_it_is_a_scaled_t_of_many_degrees_of_freedom():
    """|u − m|² = 2 − 2 u·m, and (1 + s d/α)^(−(α+1)/2) → exp(−s d/2) as α → ∞."""
    u, centers = (unit(x) for x in points())
    sphere = SphericalAssignment(centers, 5.0).log_q(u)
    np.testing.assert_allclose(StudentAssignment(centers, 1e8, 5.0).log_q(u), sphere, atol=1e-5)


def test_the_scale_is_that_of_the_squared_distance():
    z, centers = points()
    scaled, stretched = StudentAssignment(centers, scale=4.0), StudentAssignment(2 * centers)
    np.testing.assert_array_equal(scaled.log_q(z), stretched.log_q(2 * z))  # exact: powers of 2
    assert np.abs(scaled.log_q(z) - StudentAssignment(centers).log_q(z)).max() > 0.1


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


def test_extremes_of_the_sphere():
    """Codes on a center and opposite to it, equal centers, one without a direction: all finite."""
    centers = np.array([[1, 0, 0], [1e-10, 0, 0], [0, 1e10, 0], [0, 0, 0]], np.float32)
    u = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    for kappa in (1e-3, 5.0, 1e4):  # the last makes some q underflow to 0
        layer = SphericalAssignment(centers, kappa)
        log_q = layer.log_q(u)
        p = target_distribution(np.exp(log_q))
        du, dc = gradients(layer, u, p)
        for a in (log_q, p, du, dc):
            assert a.dtype == np.float32
            assert np.isfinite(a).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=SINGLE)


@pytest.mark.parametrize("kind", [StudentAssignment, SphericalAssignment])
def test_many_samples_go_in_chunks(kind, monkeypatch):
    z, centers = points(N=25)
    whole = kind(centers).log_q(z)
    monkeypatch.setattr("l2ae_core.refinement.assignment.CHUNK", 8)
    np.testing.assert_allclose(kind(centers).log_q(z), whole, atol=EXACT)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StudentAssignment(np.zeros(3)), r"centers is \(3,\) but expected \(K, D\)"),
        (lambda: StudentAssignment(np.zeros((2, 3)), 0.0), "alpha is 0.0 but expected"),
        (lambda: StudentAssignment(np.zeros((2, 3)), scale=-1.0), "scale is -1.0 but expected"),
        (lambda: SphericalAssignment(np.zeros((0, 3))), r"centers is \(0, 3\) but expected"),
        (lambda: SphericalAssignment(np.eye(3), 0.0), "concentration is 0.0 but expected"),
        (lambda: SphericalAssignment(np.eye(3), math.inf), "concentration is inf but expected"),
        (lambda: soft(np.zeros((4, 2)), np.zeros((2, 3))), r"sample has shape \(2,\), expected"),
        (lambda: SphericalAssignment(np.eye(3)).log_q(np.eye(2)), r"sample has shape \(2,\)"),
        (lambda: target_distribution(np.zeros((0, 3))), r"q is \(0, 3\) but expected \(N, K\)"),
        (lambda: kl_divergence(np.zeros((2, 3)), np.zeros((3, 3))), r"log_q is \(2, 3\) and p is"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
