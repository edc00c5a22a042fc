"""Judges 01_the_sphere.py by the library's layers and by derivatives of another kind.

Bounds: sums here have at most 50 terms near 1, so rounding is below 50 ε ≈ 1e-14; 1e-12 leaves a
factor of 100. A wrong factor or a missing term is off by 0.1 and more.
"""

import numpy as np
import pytest

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
H = 1e-5  # of central differences, whose error is then below 1e-8


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def central(f, x):
    """Return the gradient of f at x (...) by central differences."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        e = np.zeros(x.shape)
        e[index] = H
        gradient[index] = (f(x + e) - f(x - e)) / (2 * H)
    return gradient


def test_a_rows_have_length_1_and_keep_their_direction(exercise, rng):
    z = rng.standard_normal((5, 4))
    u, n = exercise.l2_normalize(z)
    assert n.shape == (5, 1)
    np.testing.assert_allclose((u * u).sum(axis=1), 1, **CLOSE)
    np.testing.assert_allclose(n * u, z, **CLOSE)
    assert (n > 0).all()


def test_a_complex_numbers_go_through(exercise):
    u, n = exercise.l2_normalize(np.array([[3, 4 + 1e-20j]]))
    np.testing.assert_allclose([n[0, 0].imag, u[0, 0].imag], [0.8e-20, -0.096e-20], rtol=1e-12)


def test_b_is_the_derivative(exercise, rng):
    z, du = rng.standard_normal((2, 5, 4))
    n = np.linalg.norm(z, axis=1, keepdims=True)
    dz = exercise.l2_normalize_adjoint(du, z / n, n)

    def loss(z):
        return (du * z / np.linalg.norm(z, axis=1, keepdims=True)).sum()

    np.testing.assert_allclose(dz, central(loss, z), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose((dz * z).sum(axis=1), 0, atol=1e-12)


def test_c_is_exact_where_differences_are_not(exercise, rng):
    x = rng.standard_normal((2, 3))
    gradient = exercise.complex_step(lambda x: (np.sin(x) * x).sum(), x)
    np.testing.assert_allclose(gradient, np.cos(x) * x + np.sin(x), **CLOSE)


def test_d_is_the_derivative_of_the_normality(exercise, rng):
    z, centers, dv = rng.standard_normal((6, 4)), rng.standard_normal((3, 4)), rng.random(6)
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)

    def loss(z):
        u = z / np.linalg.norm(z, axis=1, keepdims=True)
        return (dv * (u @ centers.T).max(axis=1)).sum()

    dz = exercise.normality_adjoint(dv, z, centers)
    np.testing.assert_allclose(dz, central(loss, z), rtol=1e-6, atol=1e-7)


def test_e_is_the_derivative_of_layer_norm(exercise, rng):
    z, dy = rng.standard_normal((2, 5, 4))

    def loss(z):
        centred = z - z.mean(axis=1, keepdims=True)
        return (dy * centred / np.sqrt((centred**2).mean(axis=1, keepdims=True))).sum()

    dz = exercise.layer_norm_adjoint(dy, z)
    np.testing.assert_allclose(dz, central(loss, z), rtol=1e-6, atol=1e-7)
