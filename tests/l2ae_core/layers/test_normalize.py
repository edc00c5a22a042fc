"""L2Normalize (Eq. 4), BatchNorm and LayerNorm: facts beyond the table of gradients."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2ae_core.layers import BatchNorm, L2Normalize, LayerNorm

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
ROUNDING = 1e-12  # float64, values of order one divided by norms of 0.1 or more


def test_l2_by_hand() -> None:
    u, cache = L2Normalize(eps=1e-9).forward(np.array([[3.0, 4.0]]))
    np.testing.assert_allclose(u, [[0.6, 0.8]], rtol=1e-15)
    dz, grads = L2Normalize(eps=1e-9).backward(np.array([[1.0, 0.0]]), cache)
    np.testing.assert_allclose(dz, [[0.128, -0.096]], rtol=1e-14)  # ((1, 0) − 0.6 u)/5
    assert grads == {}


def test_l2_with_a_large_guard_by_hand() -> None:
    """‖z‖² = 3, ε² = 1: n = 2, so nothing hides in a small ε."""
    z = np.ones((1, 3))
    u, cache = L2Normalize(eps=1.0).forward(z)
    np.testing.assert_allclose(u, z / 2, rtol=1e-15)
    dz, _ = L2Normalize(eps=1.0).backward(np.array([[1.0, 0, 0]]), cache)
    np.testing.assert_allclose(dz, [[0.375, -0.125, -0.125]], rtol=1e-15)


def test_l2_of_a_zero_row_is_finite_and_linear() -> None:
    layer = L2Normalize(eps=0.1)
    z = np.array([[0.0, 0, 0], [1, 2, 2]])
    u, cache = layer.forward(z)
    np.testing.assert_array_equal(u[0], 0)
    dz, _ = layer.backward(np.array([[1.0, -2, 3], [0, 0, 0]]), cache)
    np.testing.assert_allclose(dz, [[10, -20, 30], [0, 0, 0]])  # du/ε, and no leak between rows
    np.testing.assert_allclose(layer.jacobian(z)[0], np.eye(3) / 0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_l2_of_zero_at_the_default_guard(dtype: type) -> None:
    u, cache = L2Normalize().forward(np.zeros((2, 3), dtype))
    dz, _ = L2Normalize().backward(np.ones((2, 3), dtype), cache)
    np.testing.assert_array_equal(u, 0)
    np.testing.assert_allclose(dz, 1e6, rtol=1e-6)  # float32 rounding of ε


@EXAMPLES
@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from([1e-6, 0.1, 1.0]), st.integers(0, 99))
def test_l2_vjp_equals_the_explicit_jacobian(N: int, D: int, eps: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, du = rng.normal(size=(2, N, D))
    layer = L2Normalize(eps)
    _, cache = layer.forward(z)
    J = layer.jacobian(z)
    assert J.shape == (N, D, D)
    n = np.sqrt((z**2).sum(1) + eps**2)
    for row in range(N):  # ∂(z_i/n)/∂z_j = δ_ij/n − z_i z_j/n³
        expected = np.eye(D) / n[row] - np.outer(z[row], z[row]) / n[row] ** 3
        np.testing.assert_allclose(J[row], expected, atol=ROUNDING * (1 + 1 / n[row]))
    dz, _ = layer.backward(du, cache)
    np.testing.assert_allclose(
        dz, np.einsum("nij,ni->nj", J, du), atol=ROUNDING * (1 + 1 / n.min())
    )


@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_l2_radial_gradient(eps: float) -> None:
    """⟨u, dz⟩ = ⟨u, du⟩ ε²/n³: zero but for the guard."""
    rng = np.random.default_rng(0)
    z, du = rng.normal(size=(2, 20, 10))
    u, cache = L2Normalize(eps).forward(z)
    dz, _ = L2Normalize(eps).backward(du, cache)
    n = np.sqrt((z**2).sum(1) + eps**2)
    radial = (u * du).sum(1) * eps**2 / n**3
    np.testing.assert_allclose((u * dz).sum(1), radial, atol=1e-15)
    assert eps > 1e-6 or np.abs((u * dz).sum(1)).max() < 1e-11


def test_l2_gives_unit_rows_and_ignores_their_scale() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 10))
    u, _ = L2Normalize().forward(z)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1, rtol=1e-11)
    scaled, _ = L2Normalize().forward(z * rng.uniform(0.5, 2, (50, 1)))
    np.testing.assert_allclose(scaled, u, rtol=1e-10)


@pytest.mark.parametrize("eps", [0.0, -1.0, math.nan])
def test_l2_refuses_a_guard_that_does_not_guard(eps: float) -> None:
    with pytest.raises(ValueError, match="L2Normalize: eps is"):
        L2Normalize(eps)


def test_layer_norm_without_affine_is_l2_of_the_centred_vector() -> None:
    """LayerNorm(z) = √D · L2Normalize(z − mean(z)); exactly so when ε_l2 = √(D ε_LN)."""
    rng = np.random.default_rng(0)
    z, dy = rng.normal(size=(2, 30, 10))
    norm, l2 = LayerNorm(None, None, eps=1e-3), L2Normalize(eps=math.sqrt(10 * 1e-3))
    y, cache = norm.forward(z)
    u, l2_cache = l2.forward(z - z.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(y, math.sqrt(10) * u, rtol=1e-12)
    dz, _ = l2.backward(math.sqrt(10) * dy, l2_cache)
    dz -= dz.mean(axis=1, keepdims=True)  # adjoint of the centring
    np.testing.assert_allclose(norm.backward(dy, cache)[0], dz, atol=ROUNDING)


def test_layer_norm_by_hand_and_its_invariance() -> None:
    layer = LayerNorm(np.array([1.0, 2.0]), np.array([10.0, 20.0]), eps=0.0)
    np.testing.assert_allclose(layer.forward(np.array([[1.0, 3.0]]))[0], [[9, 22]])
    z = np.random.default_rng(0).normal(size=(20, 10))
    free = LayerNorm(None, None, eps=1e-12)
    np.testing.assert_allclose(free.forward(3 * z + 5)[0], free.forward(z)[0], atol=1e-10)


def test_layer_norm_has_no_modes() -> None:
    z = np.random.default_rng(0).normal(size=(4, 3))
    layer = LayerNorm.create(3, dtype=np.float64)
    np.testing.assert_array_equal(layer.forward(z, train=True)[0], layer.forward(z)[0])
    assert layer.state == {}


def test_batch_norm_in_training_standardizes_and_moves_the_running_statistics() -> None:
    layer = BatchNorm.create(2, affine=False, dtype=np.float64)
    mean, var = layer.state["running_mean"], layer.state["running_var"]
    x = np.array([[1.0, 10], [3, 30]])
    y, _ = layer.forward(x, train=True)
    root = np.sqrt(np.array([1, 100]) + 1e-3)
    np.testing.assert_allclose(y, [[-1, -10], [1, 10]] / root)
    np.testing.assert_allclose(mean, [0.02, 0.2])  # 0.99 · 0 + 0.01 · (2, 20), in place
    np.testing.assert_allclose(var, [1.0, 1.99])  # 0.99 · 1 + 0.01 · (1, 100): biased variance
    layer.forward(x, train=True)
    np.testing.assert_allclose(mean, [0.0398, 0.398])


def test_batch_norm_outside_training_uses_the_running_statistics_alone() -> None:
    layer = BatchNorm(np.array([2.0]), np.array([1.0]), np.array([5.0]), np.array([4.0]), eps=0.0)
    x = np.array([[7.0], [5.0], [9.0]])
    y, _ = layer.forward(x)
    np.testing.assert_allclose(y, [[3], [1], [5]])
    np.testing.assert_allclose(layer.forward(x[:1])[0], y[:1])  # no sample looks at another
    np.testing.assert_array_equal(layer.running_mean, [5])
    np.testing.assert_array_equal(layer.running_var, [4])


def test_batch_norm_in_training_ignores_the_running_statistics() -> None:
    x = np.random.default_rng(0).normal(size=(6, 3))
    fresh, moved = (BatchNorm.create(3, dtype=np.float64) for _ in range(2))
    moved.forward(100 * x, train=True)
    np.testing.assert_array_equal(fresh.forward(x, train=True)[0], moved.forward(x, train=True)[0])


def test_batch_norm_of_maps_counts_every_pixel_as_a_sample() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    maps, rows = (BatchNorm.create(5, dtype=np.float64) for _ in range(2))
    y, _ = maps.forward(x, train=True)
    flat, _ = rows.forward(x.reshape(24, 5), train=True)
    np.testing.assert_allclose(y.reshape(24, 5), flat, rtol=1e-12)
    np.testing.assert_allclose(maps.running_var, rows.running_var, rtol=1e-12)


def test_batch_norm_of_one_row_is_finite() -> None:
    layer = BatchNorm.create(3, dtype=np.float64)
    y, cache = layer.forward(np.array([[1.0, -2, 3]]), train=True)
    dx, grads = layer.backward(np.ones((1, 3)), cache)
    for array in (y, dx, grads["gamma"]):
        np.testing.assert_array_equal(array, np.zeros_like(array))
    np.testing.assert_array_equal(grads["beta"], [1, 1, 1])


def test_batch_norm_refuses_an_empty_batch_in_training_and_keeps_its_statistics() -> None:
    layer = BatchNorm.create(3)
    with pytest.raises(ValueError, match=r"BatchNorm\(3, affine=True\).*empty batch"):
        layer.forward(np.zeros((0, 3), np.float32), train=True)
    np.testing.assert_array_equal(layer.running_var, 1)


def test_astype_copies_the_running_statistics() -> None:
    layer = BatchNorm.create(3, dtype=np.float64)
    copy = layer.astype(np.float64)
    copy.forward(np.random.default_rng(0).normal(size=(6, 3)), train=True)
    np.testing.assert_array_equal(layer.running_mean, 0)


@pytest.mark.parametrize("layer", [BatchNorm, LayerNorm])
def test_affine_parameters_come_in_pairs(layer: type) -> None:
    assert set(layer.create(3).params) == {"gamma", "beta"}
    assert layer.create(3, affine=False).params == {}
    state = (np.zeros(3), np.ones(3)) if layer is BatchNorm else ()
    for gamma, beta in [(np.ones(3), None), (None, np.ones(3)), (np.ones(3), np.ones(2))]:
        with pytest.raises(ValueError, match=f"{layer.__name__}: gamma and beta have shapes"):
            layer(gamma, beta, *state)


def test_batch_norm_refuses_statistics_of_another_length() -> None:
    with pytest.raises(ValueError, match="BatchNorm: running_mean, running_var and gamma"):
        BatchNorm(np.ones(3), np.ones(3), np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match="BatchNorm: running_mean, running_var and gamma"):
        BatchNorm(None, None, np.zeros(3), np.ones(2))
