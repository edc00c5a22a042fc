"""Every rung of the implementations table against the reference, on ragged sizes."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import SETS
from l2ae_kernels.cpu.threads import MOST, WORTH_A_THREAD, threads, use_threads
from l2ae_kernels.geometry import Geometry, output_size
from l2ae_kernels.operations import pick
from l2ae_kernels.stages import AdamSettings

from .rungs import assert_agree, forced, normal, rungs

CONVOLUTIONS = [  # N, (H, W), C, K, kernel, stride, padding
    (1, (1, 1), 1, 1, (1, 1), (1, 1), ((0, 0), (0, 0))),
    (3, (5, 7), 2, 3, (3, 2), (1, 2), ((0, 1), (1, 0))),
    (33, (8, 8), 1, 5, (5, 5), (2, 2), ((1, 2), (1, 2))),
    (2, (14, 14), 32, 64, (5, 5), (2, 2), ((1, 2), (1, 2))),
    (9, (7, 7), 6, 8, (3, 3), (2, 2), ((0, 0), (0, 0))),
    (17, (2, 2), 4, 3, (3, 3), (2, 2), ((0, 1), (0, 1))),
    (2, (4, 9), 3, 2, (2, 3), (3, 1), ((3, 4), (5, 6))),  # windows that see nothing but padding
    (2, (9, 4), 2, 2, (1, 1), (3, 2), ((0, 0), (0, 0))),  # pixels that no window sees
    (0, (6, 6), 2, 2, (3, 3), (1, 1), ((1, 1), (1, 1))),  # no samples
    (11, (7, 8), 16, 64, (4, 5), (2, 2), ((2, 1), (1, 1))),
    (9, (8, 7), 16, 16, (6, 5), (2, 2), ((2, 2), (1, 1))),
]
WINOGRAD = {
    CONVOLUTIONS[3]: set(SETS),
    CONVOLUTIONS[9]: set(SETS),
    CONVOLUTIONS[10]: {"neon", "avx2"},
}
PRODUCTS = [(1, 1, 1), (33, 10, 10), (257, 3, 7), (64, 65, 1), (130, 784, 50), (300, 40, 530),
            (0, 4, 3)]  # fmt: skip


def geometry_of(case):
    _, size, C, K, kernel, stride, padding = case
    outputs = output_size(size, kernel, stride, padding)
    return Geometry.of((*size, C), (*outputs, K), kernel, stride, padding)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions(case, dtype, bias):
    N, size, C, K, kernel, stride, padding = case
    rng = np.random.default_rng(0)
    x, W = normal(rng, (N, *size, C), dtype), normal(rng, (*kernel, C, K), dtype)
    b, b_image = (normal(rng, (K,), dtype), normal(rng, (C,), dtype)) if bias else (None, None)
    geometry = {"stride": stride, "padding": padding}
    y = ops.correlate(x, W, b, **geometry, impl="reference")
    for rung in rungs("correlate", dtype, geometry_of(case)):
        assert_agree(forced(ops.correlate, rung, x, W, b, **geometry), y)
    adjoint_x = {"image_size": size, **geometry}
    dx = ops.correlate_adjoint_x(y, W, b_image, **adjoint_x, impl="reference")
    for rung in rungs("correlate_adjoint_x", dtype, geometry_of(case)):
        assert_agree(forced(ops.correlate_adjoint_x, rung, y, W, b_image, **adjoint_x), dx)
    adjoint_W = {"kernel_size": kernel, **geometry}
    dW = ops.correlate_adjoint_W(x, y, **adjoint_W, impl="reference")
    for rung in rungs("correlate_adjoint_W", dtype, geometry_of(case)):
        assert_agree(forced(ops.correlate_adjoint_W, rung, x, y, **adjoint_W), dW)


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_a_rung_runs_what_it_takes_and_refuses_the_rest_by_name(case):
    """Every rung takes every convolution but for Winograd's, which takes those listed above."""
    N, size, C, K, kernel, stride, padding = case
    x, W = np.zeros((N, *size, C), "float32"), np.zeros((*kernel, C, K), "float32")
    y = ops.correlate(x, W, stride=stride, padding=padding)
    geometry = {"stride": stride, "padding": padding}
    for operation, arrays, more in [
        ("correlate", (x, W), {}),
        ("correlate_adjoint_x", (y, W), {"image_size": size}),
        ("correlate_adjoint_W", (x, y), {"kernel_size": kernel}),
    ]:
        taken = rungs(operation, "float32", geometry_of(case))
        every = [("im2col", "none"), ("tiled", "none"), *(("register", v) for v in SETS)]
        assert sorted(taken) == sorted(every + [("winograd", v) for v in WINOGRAD.get(case, set())])
        for v in set(SETS) - WINOGRAD.get(case, set()):
            with pytest.raises(
                ValueError, match=f"^{operation}: no implementation winograd .*it takes"
            ):
                forced(getattr(ops, operation), ("winograd", v), *arrays, **more, **geometry)


@pytest.mark.parametrize("case", [case for case in CONVOLUTIONS if case[0]], ids=str)
def test_reference_correlation_is_the_sum_over_taps(case):
    """Plain loops over every index of the formula, nothing shared with the reference."""
    N, (H, width), C, K, (kh, kw), (sh, sw), ((top, bottom), (left, right)) = case
    N = min(N, 2)
    rng = np.random.default_rng(1)
    x, W = rng.standard_normal((N, H, width, C)), rng.standard_normal((kh, kw, C, K))
    y = ops.correlate(
        x, W, stride=(sh, sw), padding=((top, bottom), (left, right)), impl="reference"
    )
    expected = np.zeros_like(y)
    for n, i, j in np.ndindex(*y.shape[:3]):
        for p, q in np.ndindex(kh, kw):
            h, w = i * sh + p - top, j * sw + q - left
            if 0 <= h < H and 0 <= w < width:
                expected[n, i, j] += x[n, h, w] @ W[p, q]
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in CONVOLUTIONS if case[0]], ids=str)
def test_the_three_products_are_adjoint(case):
    """⟨y, correlate(x, W)⟩ = ⟨adjoint_x(y, W), x⟩ = ⟨adjoint_W(x, y), W⟩."""
    N, size, C, K, kernel, stride, padding = case
    rng = np.random.default_rng(2)
    x, W = rng.standard_normal((N, *size, C)), rng.standard_normal((*kernel, C, K))
    geometry = {"stride": stride, "padding": padding}
    Ax = ops.correlate(x, W, **geometry)
    y = rng.standard_normal(Ax.shape)
    inner = np.vdot(y, Ax)
    scale = np.linalg.norm(y) * np.linalg.norm(Ax)
    dx = ops.correlate_adjoint_x(y, W, image_size=size, **geometry)
    dW = ops.correlate_adjoint_W(x, y, kernel_size=kernel, **geometry)
    assert abs(np.vdot(dx, x) - inner) < 1e-13 * scale
    assert abs(np.vdot(dW, W) - inner) < 1e-13 * scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", PRODUCTS, ids=str)
def test_dense(case, dtype):
    N, inputs, outputs = case
    rng = np.random.default_rng(3)
    x, W = normal(rng, (N, inputs), dtype), normal(rng, (inputs, outputs), dtype)
    b, dy = normal(rng, (outputs,), dtype), normal(rng, (N, outputs), dtype)
    for operation, arguments in [
        ("dense", (x, W, b)),
        ("dense", (x, W)),
        ("dense_adjoint_x", (dy, W)),
        ("dense_adjoint_W", (x, dy)),
        ("bias_adjoint", (dy,)),
        ("leaky_relu", (x, 0.0)),
        ("leaky_relu", (x, 0.3)),
        ("leaky_relu_adjoint", (dy, dy[::-1], 0.3)),
    ]:
        function = getattr(ops, operation)
        for rung in rungs(operation, dtype):
            fast = forced(function, rung, *arguments)
            assert_agree(fast, function(*arguments, impl="reference"))


ROWS = [(1, 1), (3, 32), (257, 10), (1000, 7), (70, 1152), (5000, 3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("case", ROWS, ids=str)
def test_normalizations_and_errors(case, affine, dtype):
    rng = np.random.default_rng(7)
    x, dy = 3 + 2 * normal(rng, case, dtype), normal(rng, case, dtype)
    mean, sigma = normal(rng, case[1:], dtype), 0.5 + rng.random(case[1]).astype(dtype)
    gamma, beta = (normal(rng, case[1:], dtype) if affine else None for _ in range(2))
    for operation, arguments, named in [
        ("l2_normalize", (x,), {"eps": 1e-3}),
        ("l2_normalize_adjoint", (dy, x / 4, 0.5 + rng.random((case[0], 1)).astype(dtype)), {}),
        ("squared_error", (x, dy), {}),
        ("squared_error_adjoint", (x, dy, 0.5), {}),
        ("moments", (x,), {}),
        ("batch_norm", (x, mean, sigma, gamma, beta), {}),
        ("batch_norm_adjoint", (dy, x, mean, sigma, gamma), {"of_batch": True}),
        ("batch_norm_adjoint", (dy, x, mean, sigma, gamma), {"of_batch": False}),
        ("layer_norm", (x, gamma, beta), {"eps": 1e-3}),
        ("layer_norm_adjoint", (dy, x, gamma), {"eps": 1e-3}),
    ]:
        function = getattr(ops, operation)
        for rung in rungs(operation, dtype):
            made, expected = (
                result if isinstance(result, tuple) else (result,)
                for result in (
                    forced(function, rung, *arguments, **named),
                    function(*arguments, **named, impl="reference"),
                )
            )
            for fast, reference in zip(made, expected, strict=True):
                assert_agree(np.asarray(fast, dtype), np.asarray(reference, dtype))


def test_moments_keep_their_digits_far_from_zero():
    """In exact arithmetic the variance is 1.25, at 10⁸ where float64 keeps 10⁻⁸ of each value."""
    x = np.tile(np.array([[0.0], [1], [2], [3]]), (5000, 2)) + 1e8
    mean, variance = ops.moments(x, impl="fused")
    np.testing.assert_array_equal(mean, 1e8 + 1.5)
    np.testing.assert_allclose(variance, 1.25, rtol=1e-7)


def test_a_row_of_layer_norm_knows_no_other():
    rng = np.random.default_rng(8)
    x, dy = normal(rng, (300, 17), "float32"), normal(rng, (300, 17), "float32")
    y, (dx, *_) = ops.layer_norm(x, eps=1e-3), ops.layer_norm_adjoint(dy, x, eps=1e-3)
    alone = ops.layer_norm(x[7:8], eps=1e-3), ops.layer_norm_adjoint(dy[7:8], x[7:8], eps=1e-3)[0]
    assert np.array_equal(alone[0][0], y[7])
    assert np.array_equal(alone[1][0], dx[7])


def test_normalizations_of_no_samples():
    x, vector = np.zeros((0, 4, 4, 3), "float32"), np.ones(3, "float32")
    assert ops.batch_norm(x, vector, vector).shape == x.shape
    for dx, dgamma, dbeta in (
        ops.batch_norm_adjoint(x, x, vector, vector, of_batch=True),
        ops.layer_norm_adjoint(x, x, eps=1e-3),
    ):
        assert dx.shape == x.shape
        assert not dgamma.any()
        assert not dbeta.any()
    with pytest.raises(ValueError, match=r"moments: x has shape \(0, 4, 4, 3\), an empty array"):
        ops.moments(x)


def test_bits_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(5)
    x, W = normal(rng, (137, 14, 14, 8), "float32"), normal(rng, (5, 5, 8, 16), "float32")
    geometry = {"stride": (2, 2), "padding": ((1, 2), (1, 2))}
    features, labels = (
        normal(rng, (50_000, 10), "float32"),
        rng.integers(0, 7, 50_000).astype("int32"),
    )
    results = []
    for count in {1, MOST}:
        with threads(count):
            y = ops.correlate(x, W, **geometry)
            dx = ops.correlate_adjoint_x(y, W, image_size=(14, 14), **geometry)
            dW = ops.correlate_adjoint_W(x, y, kernel_size=(5, 5), **geometry)
            db = ops.bias_adjoint(y)
            d = ops.dense(features, features[:10].T.copy())
            results.append([y, dx, dW, db, d, ops.dense_adjoint_W(features, d)])
            mean, variance = ops.moments(y)
            results[-1] += [mean, variance, ops.batch_norm(y, mean, variance)]
            results[-1] += ops.batch_norm_adjoint(y, y[::-1], mean, variance, of_batch=True)
            results[-1] += [ops.layer_norm(y, eps=1e-3)]
            results[-1] += ops.layer_norm_adjoint(y, y[::-1], eps=1e-3)
            results[-1] += [*ops.assign(features, features[:7]), *ops.update(features, labels, 7)]
    for one in results[1:]:
        for a, b in zip(results[0], one, strict=True):
            assert np.array_equal(a, b)


@pytest.mark.skipif(MOST < 2, reason="one thread only")
def test_threads_are_used_for_large_work_only(monkeypatch):
    calls = []
    region = lambda kernel, arguments, items, count: calls.append((items, count))  # noqa: E731
    monkeypatch.setattr("l2ae_kernels.cpu.threads.run_region", region)
    x = np.ones(WORTH_A_THREAD, "float32")
    ops.leaky_relu(x[:10], 0.0)
    assert calls == []
    with threads(2):
        ops.leaky_relu(x, 0.0)
    assert calls == [(WORTH_A_THREAD, 2)]
    with threads(1):
        ops.leaky_relu(x, 0.0)
    assert len(calls) == 1
    with pytest.raises(ValueError, match="threads: 0 is not between 1 and"):
        use_threads(0)


def test_output_buffers_are_used():
    rng = np.random.default_rng(6)
    x, W = normal(rng, (4, 3), "float32"), normal(rng, (3, 2), "float32")
    out = np.full((4, 2), np.nan, "float32")
    assert ops.dense(x, W, out=out) is out
    assert_agree(out, x @ W)


def test_errors_name_what_does_not_fit():
    x, W = np.zeros((1, 2, 2, 4), "float32"), np.zeros((3, 3, 4, 8), "float32")
    with pytest.raises(ValueError, match=r"does not fit an image of size \(2, 2\)"):
        ops.correlate(x, W, stride=1, padding=0)
    with pytest.raises(ValueError, match="AdamSettings: variant is 'tf' but expected one of"):
        AdamSettings(variant="tf")
    with pytest.raises(ValueError, match="operation 'convolve' is not one of"):
        pick("convolve", x)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "zeros"),
    [
        ((28, 28), (5, 5), 2, ((1, 2), (1, 2))),
        ((7, 6), (3, 3), 2, ((1, 1), (0, 1))),
        ((5, 4), (2, 1), (1, 3), ((0, 1), (0, 0))),
    ],
)
def test_padding_by_name(size, kernel, stride, zeros):
    """TensorFlow's rules: ⌈side/stride⌉ outputs of "same", the odd zero behind; none of "valid"."""
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((2, *size, 3)), rng.standard_normal((*kernel, 3, 4))
    for rule, same in (("same", zeros), ("valid", 0)):
        named, given = ({"stride": stride, "padding": p} for p in (rule, same))
        y = ops.correlate(x, W, **given)
        np.testing.assert_array_equal(ops.correlate(x, W, **named), y)
        np.testing.assert_array_equal(
            ops.correlate_adjoint_x(y, W, image_size=size, **named),
            ops.correlate_adjoint_x(y, W, image_size=size, **given),
        )
        np.testing.assert_array_equal(
            ops.correlate_adjoint_W(x, y, kernel_size=kernel, **named),
            ops.correlate_adjoint_W(x, y, kernel_size=kernel, **given),
        )
