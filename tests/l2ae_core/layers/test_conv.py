"""Conv2d and ConvTranspose2d against plain loops, small numbers by hand, and each other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2ae_core.layers import Conv2d, ConvTranspose2d
from l2ae_kernels.arrays import Array

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
ROUNDING = 1e-12  # float64 sums of fewer than 200 products of order one


def _zeros_before(rule, length: int, kernel: int, stride: int) -> int:
    """Zeros in front of a side of `length` that is convolved."""
    if rule == "same":
        return max((math.ceil(length / stride) - 1) * stride + kernel - length, 0) // 2
    return 0 if rule == "valid" else rule[0]


def _loops(image: Array, W: Array, small: Array, stride, rules):
    """Yield (image index, small index, W index) of every product of a convolution."""
    (N, H, width, _), (kh, kw, _, _), (_, h, w, _) = image.shape, W.shape, small.shape
    top = _zeros_before(rules[0], H, kh, stride[0])
    left = _zeros_before(rules[1], width, kw, stride[1])
    for n in range(N):
        for i in range(h):
            for j in range(w):
                for p in range(kh):
                    for q in range(kw):
                        row, column = i * stride[0] + p - top, j * stride[1] + q - left
                        if 0 <= row < H and 0 <= column < width:
                            yield (n, row, column), (n, i, j), (p, q)


def naive_conv(x: Array, layer: Conv2d, y: Array, stride, rules) -> Array:
    out = np.zeros_like(y) + layer.b
    for pixel, position, tap in _loops(x, layer.W, y, stride, rules):
        out[position] += x[pixel] @ layer.W[tap]
    return out


def naive_deconv(x: Array, layer: ConvTranspose2d, y: Array, stride, rules) -> Array:
    out = np.zeros_like(y) + layer.b
    for pixel, position, tap in _loops(y, layer.W, x, stride, rules):
        out[pixel] += layer.W[tap] @ x[position]
    return out


rule = st.sampled_from(["same", "valid", (0, 1), (2, 0), (1, 2)])
stride_of_axis = st.integers(1, 3)
kernel_of_axis = st.integers(1, 5)


@st.composite
def problems(draw: st.DrawFn):
    """Return a generator, (N, H, W, C), filters, kernel, stride, rules."""
    shape = tuple(draw(st.integers(1, high)) for high in (2, 7, 7, 3))
    pair = [draw(st.tuples(s, s)) for s in (kernel_of_axis, stride_of_axis, rule)]
    return np.random.default_rng(draw(st.integers(0, 99))), shape, draw(st.integers(1, 3)), *pair


@EXAMPLES
@given(problems())
def test_conv_equals_loops(problem) -> None:
    rng, shape, filters, kernel, stride, rules = problem
    layer = Conv2d(
        rng.normal(size=(*kernel, shape[3], filters)), rng.normal(size=filters), stride, rules
    )
    x = rng.normal(size=shape)
    padded = [n + (k if r == "same" else 0 if r == "valid" else sum(r))
              for n, k, r in zip(shape[1:3], kernel, rules, strict=True)]  # fmt: skip
    if any(n < k for n, k in zip(padded, kernel, strict=True)):
        with pytest.raises(ValueError, match=r"Conv2d.*too small"):
            layer.forward(x)
        return
    y, _ = layer.forward(x)
    for n, out, s, r in zip(shape[1:3], y.shape[1:3], stride, rules, strict=True):
        assert r != "same" or out == math.ceil(n / s)
    np.testing.assert_allclose(y, naive_conv(x, layer, y, stride, rules), atol=ROUNDING)


@EXAMPLES
@given(problems())
def test_deconv_equals_loops_and_is_the_adjoint_of_conv(problem) -> None:
    rng, shape, filters, kernel, stride, rules = problem
    W = rng.normal(size=(*kernel, filters, shape[3]))
    layer = ConvTranspose2d(W, rng.normal(size=filters), stride, rules)
    x = rng.normal(size=shape)
    sides = zip(shape[1:3], kernel, stride, rules, strict=True)
    if any((n - 1) * s + k <= sum(r) for n, k, s, r in sides if not isinstance(r, str)):
        with pytest.raises(ValueError, match=r"ConvTranspose2d.*too small"):
            layer.forward(x)
        return
    y, _ = layer.forward(x)
    np.testing.assert_allclose(y, naive_deconv(x, layer, y, stride, rules), atol=ROUNDING)

    image = rng.normal(size=y.shape)  # ⟨image, Aᵀx⟩ = ⟨A image, x⟩
    conv = Conv2d(W, np.zeros(shape[3]), stride, rules)
    left, right = (image * (y - layer.b)).sum(), (conv.forward(image)[0] * x).sum()
    assert left == pytest.approx(right, abs=ROUNDING * image.size)


@EXAMPLES
@given(problems())
def test_backward_is_the_adjoint_of_forward(problem) -> None:
    """⟨dy, A x⟩ = ⟨Aᵀ dy, x⟩, and linear in W too: = ⟨dW, W⟩."""
    rng, (N, H, W, C), filters, kernel, stride, rules = problem
    shape = (N, H + 5, W + 5, C)  # no kernel is too large
    conv = Conv2d(rng.normal(size=(*kernel, C, filters)), np.zeros(filters), stride, rules)
    deconv = ConvTranspose2d(
        rng.normal(size=(*kernel, filters, C)), np.zeros(filters), stride, rules
    )
    x = rng.normal(size=shape)
    for layer in (conv, deconv):
        y, cache = layer.forward(x)
        dy = rng.normal(size=y.shape)
        dx, grads = layer.backward(dy, cache)
        product = (dy * y).sum()
        assert (dx * x).sum() == pytest.approx(product, rel=1e-9, abs=1e-9)
        assert (grads["W"] * layer.W).sum() == pytest.approx(product, rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(grads["b"], dy.sum(axis=(0, 1, 2)), atol=ROUNDING)


def test_conv_by_hand() -> None:
    x = np.array([1.0, 2, 3, 4]).reshape(1, 1, 4, 1)
    W = np.array([1.0, 10]).reshape(1, 2, 1, 1)
    y, _ = Conv2d(W, np.array([0.5]), stride=(1, 2), padding="valid").forward(x)
    np.testing.assert_array_equal(
        y.ravel(), [21.5, 43.5]
    )  # a correlation: the kernel is not flipped
    y, _ = Conv2d(W, np.array([0.0]), stride=1, padding="same").forward(x)
    np.testing.assert_array_equal(y.ravel(), [21, 32, 43, 4])  # the zero goes behind


def test_deconv_by_hand() -> None:
    x = np.array([1.0, 2]).reshape(1, 1, 2, 1)
    W = np.array([1.0, 10, 100]).reshape(1, 3, 1, 1)
    for padding, expected in {
        "valid": [1, 10, 102, 20, 200],
        "same": [1, 10, 102, 20],
        ((0, 0), (1, 1)): [10, 102, 20],
    }.items():
        y, _ = ConvTranspose2d(W, np.array([0.5]), stride=(1, 2), padding=padding).forward(x)
        np.testing.assert_array_equal(y.ravel(), np.array(expected) + 0.5)


@pytest.mark.parametrize(("kernel", "before", "after"), [(5, 1, 2), (3, 0, 1)])
def test_tensorflow_same_deconv_is_the_full_one_cropped(
    kernel: int, before: int, after: int
) -> None:
    rng = np.random.default_rng(0)
    W, b, x = (
        rng.normal(size=(kernel, kernel, 2, 3)),
        rng.normal(size=2),
        rng.normal(size=(2, 4, 7, 3)),
    )
    full, _ = ConvTranspose2d(W, b, 2, "valid").forward(x)
    same, _ = ConvTranspose2d(W, b, 2, "same").forward(x)
    np.testing.assert_allclose(same, full[:, before:-after, before:-after], atol=ROUNDING)
    assert same.shape == (2, 8, 14, 2)


def test_even_padding_shifts_the_image_of_same_by_a_pixel() -> None:
    """PyTorch's padding=2 gives "same" its size for k = 5, s = 2, but not its values."""
    rng = np.random.default_rng(0)
    W, b, x = rng.normal(size=(5, 5, 1, 2)), np.zeros(2), np.zeros((1, 28, 28, 1))
    x[:, 4:-4, 4:-4] = rng.normal(size=(1, 20, 20, 1))
    same, _ = Conv2d(W, b, 2, "same").forward(x)
    even = Conv2d(W, b, 2, (2, 2))
    assert np.abs(even.forward(x)[0] - same).max() > 1
    shifted = np.roll(x, (-1, -1), axis=(1, 2))
    np.testing.assert_allclose(even.forward(shifted)[0], same, atol=ROUNDING)


def test_glorot_limits_and_zero_bias() -> None:
    rng = np.random.default_rng(0)
    conv = Conv2d.glorot(32, 64, 5, rng, stride=2)
    deconv = ConvTranspose2d.glorot(64, 32, (5, 5), rng, stride=2)
    assert conv.W.shape == deconv.W.shape == (5, 5, 32, 64)
    for layer in (conv, deconv):
        limit = math.sqrt(6 / (25 * (32 + 64)))
        assert 0.999 * limit < np.abs(layer.W).max() <= limit * (1 + 1e-6)  # float32 rounding
        assert abs(layer.W.mean()) < 0.01 * limit
        assert layer.W.dtype == layer.b.dtype == np.float32
        assert not layer.b.any()


@pytest.mark.parametrize("layer", [Conv2d, ConvTranspose2d])
def test_parameters_that_do_not_fit_are_refused(layer: type) -> None:
    name = layer.__name__
    with pytest.raises(ValueError, match=f"{name}: W has shape"):
        layer(np.zeros((3, 3, 2)), np.zeros(2))
    with pytest.raises(ValueError, match=f"{name}: b has shape"):
        layer(np.zeros((3, 3, 2, 4)), np.zeros(3))
    with pytest.raises(ValueError, match=f"{name}: stride is 0"):
        layer(np.zeros((3, 3, 4, 4)), np.zeros(4), stride=0)


def test_names() -> None:
    conv = Conv2d(np.zeros((5, 3, 1, 32)), np.zeros(32), 2, "same")
    assert str(conv) == "Conv2d(1 -> 32, 5x3, stride=2, padding='same')"
    deconv = ConvTranspose2d(np.zeros((3, 3, 1, 32)), np.zeros(1), (1, 2), (0, 1))
    assert str(deconv) == "ConvTranspose2d(32 -> 1, 3x3, stride=(1, 2), padding=(0, 1))"
