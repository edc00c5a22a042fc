"""Judges 02_correlation.py by small cases worked out by hand and by NumPy's own correlation.

Inputs are small integers where a result is compared with ==: their sums are exact.
"""

import numpy as np
import pytest

PADS = [(0, 0), (1, 2), (3, 0)]


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def integers(rng, size):
    return rng.integers(-9, 10, size).astype(float)


def by_numpy(x, w, stride, pad):
    return np.correlate(np.pad(x, pad), w, "valid")[::stride]


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "pad", "expected"),
    [(5, 3, 1, (0, 0), 3), (5, 3, 1, (1, 1), 5), (28, 5, 2, (1, 2), 14), (7, 3, 2, (0, 0), 3),
     (6, 3, 2, (0, 0), 2), (3, 3, 4, (0, 0), 1)],
)  # fmt: skip
def test_a_outputs(exercise, length, kernel, stride, pad, expected):
    assert exercise.outputs(length, kernel, stride, pad) == expected


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "expected"),
    [
        (28, 5, 2, (1, 2)),
        (7, 3, 2, (1, 1)),
        (8, 3, 1, (1, 1)),
        (8, 2, 1, (0, 1)),
        (9, 1, 3, (0, 0)),
    ],
)
def test_a_same_padding(exercise, length, kernel, stride, expected):
    assert tuple(exercise.same_padding(length, kernel, stride)) == expected


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_b_is_what_numpy_has(exercise, rng, stride, pad):
    x, w = integers(rng, 11), integers(rng, 4)
    np.testing.assert_array_equal(
        exercise.correlate(x, w, stride, pad), by_numpy(x, w, stride, pad)
    )


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_c_is_the_transpose_in_x(exercise, rng, stride, pad):
    w = integers(rng, 4)
    A = np.stack([by_numpy(e, w, stride, pad) for e in np.eye(11)], axis=1)  # (OH, 11)
    dy = integers(rng, len(A))
    dx = exercise.correlate_adjoint_x(dy, w, 11, stride, pad)
    np.testing.assert_array_equal(dx, A.T @ dy)


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_c_is_the_transpose_in_w(exercise, rng, stride, pad):
    x = integers(rng, 11)
    B = np.stack([by_numpy(x, e, stride, pad) for e in np.eye(4)], axis=1)  # (OH, 4)
    dy = integers(rng, len(B))
    dw = exercise.correlate_adjoint_w(x, dy, 4, stride, pad)
    np.testing.assert_array_equal(dw, B.T @ dy)


def test_d_tells_a_transpose_from_another_map(exercise, rng):
    A = rng.standard_normal((3, 5))
    left, right = exercise.dot_products(lambda x: A @ x, lambda y: A.T @ y, (5,), (3,), rng)
    assert left == pytest.approx(right, rel=1e-12, abs=1e-12)
    left, right = exercise.dot_products(lambda x: A @ x, lambda y: -A.T @ y, (5,), (3,), rng)
    assert left == pytest.approx(-right, rel=1e-12, abs=1e-12)
    assert abs(left) > 1e-3


def test_e_upsampling_and_its_adjoint(exercise, rng):
    x, dy = integers(rng, (2, 3)), integers(rng, (6, 9))
    y = exercise.upsample(x, 3)
    np.testing.assert_array_equal(y, np.kron(x, np.ones((3, 3))))
    dx = exercise.upsample_adjoint(dy, 3)
    assert dx.shape == (2, 3)
    assert (y * dy).sum() == (x * dx).sum()
    assert dx[1, 2] == dy[3:6, 6:9].sum()
