import numpy as np
import pytest

from l2ae_core.training.loss import reconstruction_loss

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
X_HAT = np.array([[2.0, 2.0, 1.0], [4.0, 8.0, 6.0]])  # squared errors 1 + 4 and 9


@pytest.mark.parametrize(("reduction", "expected"), [("sum", 14 / 2), ("mean", 14 / 6)])
def test_loss_by_hand(reduction, expected):
    loss, dx_hat = reconstruction_loss(X_HAT, X, reduction)
    assert isinstance(loss, float)
    assert loss == pytest.approx(expected, rel=1e-15)
    np.testing.assert_allclose(dx_hat, (X_HAT - X) * (1.0 if reduction == "sum" else 1 / 3))


def test_inputs_stay_and_float32_is_kept():
    x, x_hat = X.astype(np.float32), X_HAT.astype(np.float32)
    loss, dx_hat = reconstruction_loss(x_hat, x, "sum")
    assert dx_hat.dtype == np.float32
    assert loss == 7.0
    assert np.array_equal(x_hat, X_HAT)
    assert np.array_equal(x, X)


def test_float32_losses_are_summed_in_float64():
    """In float32 the sum of three million squares is off by 1e-8 or more of itself."""
    x = np.zeros((1, 3_000_001), np.float32)
    loss, _ = reconstruction_loss(x + np.float32(0.1), x, "sum")
    assert loss == pytest.approx(3_000_001 * float(np.float32(0.1) ** 2), rel=1e-12)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"x_hat is \(2, 3\) but x is \(3, 2\)"):
        reconstruction_loss(X, X.reshape(3, 2))
    with pytest.raises(ValueError, match="reduction is 'max' but expected one of"):
        reconstruction_loss(X, X, "max")
    with pytest.raises(ValueError, match="at least one image"):
        reconstruction_loss(X[:0], X[:0])
    with pytest.raises(ValueError, match="x_hat is uint8 but expected real numbers"):
        reconstruction_loss(X.astype("u1"), X.astype("u1"))


def test_float16_does_not_overflow():
    x = np.zeros((1, 4), np.float16)
    loss, dx_hat = reconstruction_loss(x + np.float16(300), x, "sum")
    assert loss == 4 * 300**2
    assert dx_hat.dtype == np.float16
    np.testing.assert_array_equal(dx_hat, np.full((1, 4), 600))
