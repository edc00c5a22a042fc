"""Rows brought to unit length, however long they are."""

import numpy as np
import numpy.typing as npt
import pytest

from l2ae_core.anomaly import cosine_normality, nearest_center
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.directions import unit_rows
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device

# Exponents that let squares of the integers below overflow, vanish, and lose digits.
EXPONENTS = {
    np.float32: (-149, -110, -81, -60, 44, 100),
    np.float64: (-1074, -600, -529, 500, 1000),
}
FLOATS = pytest.mark.parametrize("dtype", EXPONENTS)


def integers(n: int, d: int, dtype: npt.DTypeLike = np.float64, seed: int = 0) -> Array:
    """Rows of integers, of which powers of two have all digits; no row is zero."""
    x = np.random.default_rng(seed).integers(-1_000_000, 1_000_000, (n, d)).astype(dtype)
    x[:, 0] = 1_000_000
    return x


@FLOATS
def test_directions_do_not_depend_on_lengths(dtype: type) -> None:
    x = integers(900, 7, dtype)
    plain = x / np.sqrt((x * x).sum(axis=1, keepdims=True))
    unit, zero = unit_rows(x)
    np.testing.assert_array_equal(unit, plain, strict=True)
    assert zero is None
    for exponent in EXPONENTS[dtype]:
        some = np.arange(900) % 3 == 1
        x[some] = np.ldexp(integers(900, 7, dtype)[some], exponent)
        unit, zero = unit_rows(x)
        np.testing.assert_array_equal(unit, plain, strict=True)
        assert zero is None


@FLOATS
def test_rows_of_zeros_and_rows_that_are_not_finite(dtype: type) -> None:
    x = integers(9, 4, dtype)
    x[2], x[4, 1], x[6, 3] = np.finfo(dtype).tiny, np.nan, np.inf
    unit, zero = unit_rows(x)
    assert zero is None
    np.testing.assert_array_equal(~np.isfinite(unit).all(axis=1), np.isin(np.arange(9), (4, 6)))
    np.testing.assert_array_equal(unit[2], 0.5)
    x[[5, 8]] = 0
    assert unit_rows(x)[1] == 5
    assert unit_rows(x[:, :0])[1] == 0
    assert unit_rows(x[:0])[1] is None


def test_spherical_kmeans_and_normality_take_directions_of_any_length() -> None:
    rng = np.random.default_rng(0)
    means = 9 * np.eye(4, 6)
    z = (means[rng.integers(4, size=400)] + rng.normal(size=(400, 6))).astype(np.float32)
    exponents = rng.choice([-110, -90, 0, 64, 120], (400, 1))
    scaled, init = np.ldexp(z, exponents), means.astype(np.float32)
    plain, other = (
        kmeans(x, 4, init=start, rng=rng, spherical=True)
        for x, start in ((z, init), (scaled, np.ldexp(init, -100)))
    )
    np.testing.assert_array_equal(other.centers, plain.centers)
    np.testing.assert_array_equal(other.predict(scaled), plain.labels)
    v = cosine_normality(z, plain.centers)
    tiny = np.ldexp(plain.centers, -100)
    np.testing.assert_array_equal(cosine_normality(scaled, tiny), v)
    np.testing.assert_array_equal(nearest_center(z, tiny), nearest_center(z, plain.centers))


def test_rows_of_a_device(device: Device) -> None:
    x = integers(60, 7, np.float32)
    x[::3] = np.ldexp(x[::3], -110)
    x[1::3] = np.ldexp(x[1::3], 100)
    unit, zero = unit_rows(device.to_device(x))
    np.testing.assert_allclose(device.to_host(unit), unit_rows(x)[0], rtol=1e-6)
    assert zero is None
    x[[7, 40]] = 0
    assert unit_rows(device.to_device(x))[1] == 7
