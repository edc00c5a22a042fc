"""Normalizations and the squared error on a device against the references in float64.

Bounds: a sum of R numbers in any order is wrong by at most R units in the last place of the sum of
their sizes, and one in lanes and parts by far fewer; DEEP of these cover every sum here, with the
few roundings around it.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from l2ae_core.gradcheck import check_layer
from l2ae_core.layers import Cache, Layer, Params
from l2ae_kernels import ops
from l2ae_kernels.cuda import loss, normalize
from l2ae_kernels.cuda.emulated import emulate

DEVICE = emulate()  # of the gradient checker
EPS = 0.1  # large enough for a forgotten ε to show
DEEP = 60  # additions in a row: 32 lanes' tree, 36 rows of a thread at most, 8 warps
# rows, channels: below a warp, above one, several parts, several blocks of channels
SHAPES = [(1, 1), (9, 10), (70, 300), (5000, 3), (700, 33)]
TYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
# The same text in float64: every day in a warp and in several blocks.
TYPED = pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        pytest.param(
            shape, dtype, id=f"{shape}-{dtype}",
            marks=[] if dtype == "float32" or shape in ((9, 10), (700, 33)) else pytest.mark.slow,
        )
        for shape in SHAPES
        for dtype in ("float32", "float64")
    ],
)  # fmt: skip


def draw(dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def assert_within(found: np.ndarray, exact: np.ndarray, size: np.ndarray | float) -> None:
    """|found − exact| ≤ DEEP units in the last place of the numbers that are added up."""
    assert found.shape == exact.shape
    assert np.all(np.abs(found - exact) <= DEEP * np.finfo(found.dtype).eps * size)


def wide(*arrays: np.ndarray) -> list[np.ndarray]:
    return [a.astype("float64") for a in arrays]


@pytest.mark.everyday("(9, 10)-float32")
@TYPED
def test_unit_norm(shape, dtype, device):
    z, du = draw(dtype, shape, shape)
    z[0] = 0
    on_z = device.to_device(z)
    u, n = ops.l2_normalize(on_z, eps=EPS)
    exact_u, exact_n = ops.l2_normalize(*wide(z), eps=EPS)
    assert_within(device.to_host(n), exact_n, exact_n)
    assert_within(device.to_host(u), exact_u, 1)
    dz = ops.l2_normalize_adjoint(device.to_device(du), u, n)
    exact = ops.l2_normalize_adjoint(*wide(du), exact_u, exact_n)
    assert_within(device.to_host(dz), exact, (1 + np.linalg.norm(du, axis=-1)[:, None]) / exact_n)


@pytest.mark.everyday("(9, 10)-float32")
@TYPED
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(shape, affine, dtype, device):
    x, dy, gamma, beta = draw(dtype, shape, shape, shape[1:], shape[1:])
    x = 3 + 2 * x
    scales = (gamma, beta) if affine else (None, None)
    on = [None if a is None else device.to_device(a) for a in (x, dy, *scales)]
    y = device.to_host(ops.layer_norm(on[0], *on[2:], eps=EPS))
    exact_scales = wide(*scales) if affine else (None, None)
    exact = ops.layer_norm(*wide(x), *exact_scales, eps=EPS)
    largest = np.sqrt(shape[1]) * (1 + np.abs(gamma).max())  # |x̂| ≤ √C
    condition = 1 + 6 / np.sqrt(EPS + x.var(axis=-1, keepdims=True))  # |x| beside σ
    assert_within(y, exact, 1 + largest * condition)
    made = ops.layer_norm_adjoint(on[1], on[0], on[2], eps=EPS)
    dx, dgamma, dbeta = map(device.to_host, made)
    exact_dx, *exact_grads = ops.layer_norm_adjoint(*wide(dy, x), exact_scales[0], eps=EPS)
    size = largest**2 * np.abs(dy).max() * condition
    assert_within(dx, exact_dx, size / np.sqrt(EPS + x.var(axis=-1, keepdims=True)))
    columns = np.abs(dy).sum(axis=0)
    assert_within(dgamma, exact_grads[0], np.sqrt(shape[1]) * columns * condition.max())
    assert_within(dbeta, exact_grads[1], columns)


@pytest.mark.everyday("(9, 10)-float32")
@TYPED
@pytest.mark.parametrize("of_batch", [True, False])
def test_batch_norm(shape, of_batch, dtype, device):
    x, dy, gamma, beta = draw(dtype, shape, shape, shape[1:], shape[1:])
    x = 3 + 2 * x
    on_x, on_dy, on_gamma, on_beta = map(device.to_device, (x, dy, gamma, beta))
    mean, variance = ops.moments(on_x)
    exact_mean, exact_variance = ops.moments(*wide(x))
    assert_within(device.to_host(mean), exact_mean, np.abs(x).max(axis=0))
    assert_within(device.to_host(variance), exact_variance, exact_variance + 10 * EPS)
    exact_sigma = np.sqrt(exact_variance + EPS)
    sigma = np.sqrt(variance + np.asarray(EPS, dtype)[()])
    y = device.to_host(ops.batch_norm(on_x, mean, sigma, on_gamma, on_beta))
    affine = exact_mean, exact_sigma, gamma.astype("float64")
    exact = ops.batch_norm(*wide(x), *affine, *wide(beta))
    size = (1 + np.abs(gamma)) * (np.abs(x) + np.abs(exact_mean)) / exact_sigma
    assert_within(y, exact, 1 + size)
    made = ops.batch_norm_adjoint(on_dy, on_x, mean, sigma, on_gamma, of_batch=of_batch)
    dx, dgamma, dbeta = map(device.to_host, made)
    exact_dx, *grads = ops.batch_norm_adjoint(*wide(dy, x), *affine, of_batch=of_batch)
    columns = (np.abs(dy) * (1 + np.abs(x) + np.abs(exact_mean)) / exact_sigma).sum(axis=0)
    assert_within(dgamma, grads[0], columns)
    assert_within(dbeta, grads[1], np.abs(dy).sum(axis=0))
    along = (1 + size) * (columns + np.abs(dy).sum(axis=0)) / shape[0]
    assert_within(dx, exact_dx, (1 + np.abs(gamma)) * (np.abs(dy) + along) / exact_sigma)


def test_moments_keep_their_digits_far_from_zero(device):
    """In exact arithmetic the variance is 1.25, at 10⁸ where float64 keeps 10⁻⁸ of each value."""
    x = np.tile(np.array([[0.0], [1], [2], [3]]), (3000, 2)) + 1e8
    mean, variance = map(device.to_host, ops.moments(device.to_device(x)))
    np.testing.assert_allclose(mean, 1e8 + 1.5, rtol=0, atol=2e-8)
    np.testing.assert_allclose(variance, 1.25, rtol=1e-7)


def test_running_statistics_move_towards_the_batch(device):
    (x,) = draw("float32", (2, 40, 3))
    mean, variance, sigma = (device.empty((2, 3), "float32") for _ in range(3))
    running = device.zeros((2, 3), "float32"), device.full((2, 3), 1, "float32")
    y = device.empty(x.shape, "float32")
    normalize.batch_norm_train(
        device.to_device(x), None, None, EPS, y, mean, variance, sigma,
        slope=0.3, running=running, momentum=0.75,
    )  # fmt: skip
    for m, exact in enumerate(wide(*x)):
        mu, v = exact.mean(axis=0), exact.var(axis=0)
        standard = (exact - mu) / np.sqrt(v + EPS)
        found = (device.to_host(a)[m] for a in (y, *running))
        expected = np.where(standard > 0, standard, 0.3 * standard), 0.25 * mu, 0.75 + 0.25 * v
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("operation", ["l2", "layer", "batch"])
def test_an_adjoint_with_that_of_the_activation_below(operation, device):
    """dx is what it is without, times the slope where the output x of that activation is ≤ 0."""
    x, dy, gamma = draw("float32", (300, 17), (300, 17), (17,))
    on_x, on_dy, on_gamma = map(device.to_device, (x, dy, gamma))
    dx = {slope: device.empty(x.shape, "float32") for slope in (1.0, 0.3)}
    columns = [device.empty((17,), "float32") for _ in range(4)]
    for slope, out in dx.items():
        if operation == "l2":
            u, n = ops.l2_normalize(on_x, eps=EPS)
            normalize.l2_normalize_adjoint(on_dy, u, n, out, slope_below=slope)
        elif operation == "layer":
            normalize.layer_norm_adjoint(
                on_dy, on_x, on_gamma, EPS, out, None, None, slope_below=slope
            )
        else:
            normalize.moments(on_x, *columns[:2])
            normalize.batch_norm_adjoint(
                on_dy, on_x, *columns[:2], on_gamma, True, out, *columns[2:], slope_below=slope
            )
    plain, gated = (device.to_host(dx[slope]) for slope in (1.0, 0.3))
    np.testing.assert_array_equal(gated, np.where(x > 0, plain, np.float32(0.3) * plain))


@pytest.mark.everyday("1000-float32")
@TYPES
@pytest.mark.parametrize("elements", [1, 1000, 40_001])
def test_squared_error_and_its_adjoint(elements, dtype, device):
    """Two models that share x; the sum is in float64, of differences in `dtype`."""
    y, x = draw(dtype, (2, elements), (elements,))
    y[:, ::3] = 0  # the kink belongs to the negative side
    on_y, on_x, dy = device.to_device(y), device.to_device(x), device.empty(y.shape, dtype)
    losses = device.to_device(np.array([0.0, 100.0]))
    loss.squared_error(on_y, on_x, 0.25, dy, losses, slope=0.3)
    exact = ((y - x).astype("float64") ** 2).sum(axis=1) + np.array([0.0, 100.0])
    np.testing.assert_allclose(device.to_host(losses), exact, rtol=1e-14 * 80)
    expected = (y - x) * np.asarray(0.5, dtype)
    np.testing.assert_array_equal(
        device.to_host(dy), np.where(y > 0, expected, np.asarray(0.3, dtype) * expected)
    )
    alone = ops.squared_error(on_y[1], on_x)
    assert isinstance(alone, float)
    assert alone + 100 == device.to_host(losses)[1]
    np.testing.assert_array_equal(device.to_host(ops.squared_error_adjoint(on_y[1], on_x, 0.25)),
                                  expected[1])  # fmt: skip


def results(device, models: list[int]) -> list[np.ndarray]:
    """Everything that is summed, of the chosen ones of two models, the last one's.

    Rows of one model are cut into 7.9 parts, rounded down, those of two into 15.9: if M took part
    in the cut, the parts would have other rows. (In 7.3 and 14.6 they would not.)
    """
    rows = 6500
    assert normalize._parts(rows, 5)[0] != normalize._parts(2 * rows, 5)[0]
    x, dy, gamma = (
        device.to_device(a[models]) for a in draw("float32", (2, rows, 5), (2, rows, 5), (2, 5))
    )
    M, shape = len(models), x.shape
    dx = [device.empty(shape, "float32") for _ in range(4)]
    c = [device.empty((M, 5), "float32") for _ in range(7)]
    losses = device.zeros(M, "float64")
    normalize.layer_norm_adjoint(dy, x, gamma, EPS, dx[0], c[0], c[1])
    normalize.batch_norm_train(x, gamma, gamma, EPS, dx[1], c[2], c[3], c[4])
    normalize.batch_norm_adjoint(dy, x, c[2], c[4], gamma, True, dx[2], c[5], c[6])
    loss.squared_error(x, dy, 1.0, dx[3], losses)
    return [device.to_host(a)[-1] for a in (*dx, *c, losses)]


def test_bits_depend_on_nothing_but_one_model(device, other_order, monkeypatch):
    """Not on the order of blocks, not on the run, not on how many models run side by side."""
    monkeypatch.setattr(loss, "MOST_PARTS", 8)  # else their size depends on large models alone
    together = results(device, [0, 1])
    others = results(device, [1]), results(other_order, [0, 1])
    for other in others:
        for a, b in zip(together, other, strict=True):
            np.testing.assert_array_equal(a, b)


@dataclass(eq=False)
class Emulated(Layer):
    """A kernel of norms.cu as a layer, for the gradient checker."""

    kind: str
    gamma: np.ndarray
    beta: np.ndarray

    @property
    def params(self) -> Params:
        return {} if self.kind == "l2" else {"gamma": self.gamma, "beta": self.beta}

    def output_shape(self, input_shape):
        return input_shape

    def forward(self, x: np.ndarray, train: bool = False) -> tuple[np.ndarray, Cache]:
        on_x, gamma, beta = map(DEVICE.to_device, (x, self.gamma, self.beta))
        y, columns = DEVICE.empty(x.shape, x.dtype), None
        if self.kind == "l2":
            y, columns = ops.l2_normalize(on_x, eps=EPS)
        elif self.kind == "layer":
            normalize.layer_norm(on_x, gamma, beta, EPS, y)
        else:
            columns = [DEVICE.empty(x.shape[-1:], x.dtype) for _ in range(3)]
            normalize.batch_norm_train(on_x, gamma, beta, EPS, y, *columns)
        return DEVICE.to_host(y), (on_x, y, columns)

    def backward(self, dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, Params]:
        (x, y, columns), on_dy, gamma = cache, DEVICE.to_device(dy), DEVICE.to_device(self.gamma)
        if self.kind == "l2":
            return DEVICE.to_host(ops.l2_normalize_adjoint(on_dy, y, columns)), {}
        if self.kind == "layer":
            made = ops.layer_norm_adjoint(on_dy, x, gamma, eps=EPS)
        else:
            mean, _, sigma = columns
            made = ops.batch_norm_adjoint(on_dy, x, mean, sigma, gamma, of_batch=True)
        dx, dgamma, dbeta = map(DEVICE.to_host, made)
        return dx, {"gamma": dgamma, "beta": dbeta}


@pytest.mark.usefixtures("cxx")
@pytest.mark.parametrize("kind", ["l2", "layer", "batch"])
def test_gradients_against_differences(kind):
    """The project's own checker on the emulated kernels, float64."""
    x, gamma, beta = draw("float64", (5, 4), (4,), (4,))
    check_layer(Emulated(kind, gamma, beta), x, methods=("central",), rng=0).raise_if_bad()


def test_errors_name_what_does_not_fit():
    device = emulate()
    x, losses = device.zeros((2, 3, 4), "float32"), device.zeros(3, "float64")
    with pytest.raises(ValueError, match=r"layer_norm: beta has shape \(4,\)"):
        normalize.layer_norm(x, device.zeros((2, 4), "f4"), device.zeros(4, "f4"), EPS, x)
    with pytest.raises(ValueError, match=r"batch_norm: x has shape \(2, 3, 4\)"):
        normalize.batch_norm(x, losses, losses, None, None, device.zeros((2, 5, 4), "float32"))
    with pytest.raises(ValueError, match="squared_error: losses"):
        loss.squared_error(x, x, 1.0, None, losses)
