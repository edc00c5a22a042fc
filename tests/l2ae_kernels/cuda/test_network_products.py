"""The dense products on every CUDA rung against NumPy, within bounds that follow from rounding."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda import products
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.launch import whole_vectors
from l2ae_kernels.operations import IMPLEMENTATIONS

# What a rung may lose of a product a·b, in shares of |a b|. A factor in TF32 is off by at most
# CUT of itself; in two parts, which leave small·small, by what the tensor core cuts of the second.
CUT = 1.25 * 2.0**-11
TF32 = 2 * CUT + CUT**2
THREE_TF32 = CUT**2 + 2.01 * 2.0**-10 * CUT
LOSS = {"naive": 0.0, "tiled": 0.0, "tensor": THREE_TF32, "tf32": TF32}
CASES = [  # rung, dtype
    *((rung, dtype) for rung in ("naive", "tiled") for dtype in ("float32", "float64")),
    ("tensor", "float32"),
    ("tf32", "float32"),
]
# tf32 is tensor with one product in place of three.
EVERY_DAY = [pytest.param(c, marks=pytest.mark.slow) if c[0] == "tf32" else c for c in CASES]
SHAPES = [  # N, I, O
    (1, 1, 1),
    (33, 10, 10),
    (65, 3, 70),
    (5, 300, 67),  # dense is cut into parts
    (261, 66, 2),  # so is dW
    (65, 100, 36),  # rows of whole vectors, more steps than stages
    (257, 8, 4),
    (0, 4, 3),
    (3, 0, 2),
]


def draw(rng: np.random.Generator, dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def leaky(x: np.ndarray, slope: float, y: np.ndarray | None = None) -> np.ndarray:
    return np.where((x if y is None else y) > 0, x, slope * x)


def additions(rung: str, depth: int) -> int:
    """How many units in the last place a sum of `depth` products may lose, in shares of Σ |a b|.

    A tensor core adds 8 products to a sum at once. However it rounds, each of the 9 terms loses
    less than a unit of the largest, and so does the result.
    """
    return products.TERMS[rung] * 10 * -(-depth // 8) if rung in products.TERMS else depth


def assert_product(found, A, B, rung, *, bias=0.0, slope=1.0, y=None) -> None:
    """Compare with leaky(A B + bias), computed in float64; a slope of at most 1 widens nothing."""
    A, B = A.astype("float64"), B.astype("float64")
    expected = leaky(A @ B + bias, slope, y)
    assert found.shape == expected.shape
    unit = np.finfo(found.dtype).eps
    size = np.abs(A) @ np.abs(B) + np.abs(bias)
    bound = (LOSS[rung] + (additions(rung, A.shape[-1]) + 4) * unit) * size
    assert np.all(np.abs(found - expected) <= bound), np.abs(found - expected).max()


@pytest.mark.everyday("(33, 10, 10)")
@pytest.mark.parametrize(
    ("shape", "case"),
    [
        pytest.param(
            shape, case, id=f"{shape}-{'-'.join(case)}",
            # tf32 is tensor with one product in place of three; float64 the text of float32
            marks=pytest.mark.slow
            if case[0] == "tf32" or (case[1] == "float64" and shape[0] not in (33, 5, 0))
            else [],
        )
        for shape in SHAPES
        for case in CASES
    ],
)  # fmt: skip
def test_one_model_through_ops(shape, case, device):
    (N, I, O), (name, dtype) = shape, case
    rung = f"cuda-{name}"
    x, W, b, dy = draw(np.random.default_rng(0), dtype, (N, I), (I, O), (O,), (N, O))
    on = [device.to_device(a) for a in (x, W, b, dy)]
    y = device.to_host(ops.dense(*on[:3], impl=rung))
    dx = device.to_host(ops.dense_adjoint_x(on[3], on[1], impl=rung))
    dW = device.to_host(ops.dense_adjoint_W(on[0], on[3], impl=rung))
    assert y.dtype == dx.dtype == dW.dtype == dtype
    assert_product(y, x, W, name, bias=b)
    assert_product(device.to_host(ops.dense(*on[:2], impl=rung)), x, W, name)
    assert_product(dx, dy, W.T, name)
    assert_product(dW, x.T, dy, name)


@pytest.mark.parametrize("rung", ["tensor", pytest.param("tf32", marks=pytest.mark.slow)])
def test_rows_that_start_anywhere(rung, device):
    """What lies behind a number or a row of another array is copied 4 bytes at a time."""
    x, W, dy = draw(np.random.default_rng(6), "float32", (9, 68), (68, 36), (9, 36))

    def behind_a_number(a):
        moved = device.to_device(np.concatenate([[np.float32(7)], a.ravel()]))[1:].reshape(a.shape)
        assert not whole_vectors(moved)
        return moved

    on_x, on_W, on_dy = map(device.to_device, (x, W, dy))
    assert all(map(whole_vectors, (on_x, on_W, on_dy)))
    y, dx, dW = (device.empty(s, "float32") for s in ((9, 36), (9, 68), (68, 36)))
    for A, B in ((behind_a_number(x), on_W), (on_x, behind_a_number(W))):
        products.dense(A, B, None, y, impl=rung)
        assert_product(device.to_host(y), x, W, rung)
    products.dense(on_x, on_W, None, moved_y := behind_a_number(y.get()), impl=rung)
    np.testing.assert_array_equal(device.to_host(moved_y), device.to_host(y))
    products.dense_adjoint_x(behind_a_number(dy), on_W, dx, impl=rung)
    assert_product(device.to_host(dx), dy, W.T, rung)
    products.dense_adjoint_W(on_x, behind_a_number(dy), dW, impl=rung)
    assert_product(device.to_host(dW), x.T, dy, rung)


@pytest.mark.parametrize("rung", EVERY_DAY, ids="-".join)
@pytest.mark.parametrize(
    ("shape", "slope"), [((3, 9, 270, 5), 0.3), ((2, 5, 6, 270), 0.0)], ids=str
)
def test_models_side_by_side_with_activations(shape, slope, rung, device):
    """Models that share their images; in one shape dense is cut into parts, in one its adjoint."""
    (name, dtype), (M, N, I, O) = rung, shape
    x, W, b, dy = draw(np.random.default_rng(1), dtype, (N, I), (M, I, O), (M, O), (M, N, O))
    (below,) = draw(np.random.default_rng(2), dtype, (M, N, I))
    on_x, on_W, on_b, on_dy, on_below = (device.to_device(a) for a in (x, W, b, dy, below))
    y, dx, dW = (device.empty(s, dtype) for s in ((M, N, O), (M, N, I), (M, I, O)))
    products.dense(on_x, on_W, on_b, y, slope=slope, impl=name)
    products.dense_adjoint_x(on_dy, on_W, dx, y_below=on_below, slope=slope, impl=name)
    products.dense_adjoint_W(on_x, on_dy, dW, impl=name)
    for m in range(M):
        assert_product(y[m].get(), x, W[m], name, bias=b[m], slope=slope)
        assert_product(dx[m].get(), dy[m], W[m].T, name, slope=slope, y=below[m])
        assert_product(dW[m].get(), x.T, dy[m], name)


@pytest.mark.parametrize("rung", ["tiled", "tensor"])
def test_bits_depend_on_nothing_but_one_model(rung, device, other_order):
    """Not on the order of blocks, not on the run, not on how many models run side by side."""
    x, dy = draw(np.random.default_rng(3), "float32", (2, 300, 5), (2, 300, 3))
    assert products.splits(5, 3, 300)[0] == 2
    results = []
    for target in (device, device, other_order):
        on_x, on_dy = target.to_device(x), target.to_device(dy)
        together = target.empty((2, 5, 3), "float32")
        products.dense_adjoint_W(on_x, on_dy, together, impl=rung)
        alone = target.empty((5, 3), "float32")
        products.dense_adjoint_W(on_x[1], on_dy[1], alone, impl=rung)
        results += [target.to_host(together)[1], target.to_host(alone)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_tf32_rounds_and_is_only_taken_by_name(device):
    x, W = draw(np.random.default_rng(4), "float32", (16, 100), (100, 16))
    on = device.to_device(x), device.to_device(W)
    exact = x.astype("float64") @ W
    error = {
        r: np.abs(ops.dense(*on, impl=f"cuda-{r}").get() - exact).max() for r in ("tensor", "tf32")
    }
    default = np.abs(ops.dense(*on).get() - exact).max()
    assert default == error["tensor"] < 1e-4 < 1e-3 < error["tf32"]


@pytest.mark.parametrize("case", CASES, ids="-".join)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_sample(bad, case, device):
    name, dtype = case
    x, W = draw(np.random.default_rng(5), dtype, (3, 20), (20, 4))
    x[1, 7] = bad
    out = device.empty((3, 4), dtype)
    products.dense(device.to_device(x), device.to_device(W), None, out, slope=0.0, impl=name)
    finite = np.isfinite(device.to_host(out))
    with np.errstate(invalid="ignore"):  # some BLAS kernels compute Inf − Inf, where others do not
        expected = np.isfinite(x @ W)
    np.testing.assert_array_equal(finite, expected)
    assert finite[[0, 2]].all()
    assert not finite[1].all()


@pytest.mark.slow
@pytest.mark.usefixtures("nvrtc")
def test_rows_of_whole_vectors_move_in_the_least_sectors_and_passes():
    """In the PTX that NVRTC makes of all three orders."""
    device = emulate(order="ptx", count=True)
    drawn = draw(np.random.default_rng(7), "float32", (64, 96), (96, 64), (64, 64))
    x, W, dy = map(device.to_device, drawn)
    y, dx, dW = (device.empty(s, "float32") for s in ((64, 64), (64, 96), (96, 64)))
    products.dense(x, W, None, y, impl="tensor")
    products.dense_adjoint_x(dy, W, dx, impl="tensor")
    products.dense_adjoint_W(x, dy, dW, impl="tensor")
    assert len(device.counts) == 3
    for counts in device.counts:
        for traffic in (counts.loads, counts.stores, counts.shared):
            assert traffic.cost == traffic.least > 0


def test_splits_cover_the_depth():
    for rows, columns, depth in [(1, 1, 1), (5, 3, 700), (500, 784, 256), (10, 2000, 70_001)]:
        count, part = products.splits(rows, columns, depth)
        assert part % products.DEPTH == 0
        assert (count - 1) * part < depth <= count * part
    assert products.splits(2000, 2000, 256)[0] == 1


def test_every_cuda_rung_is_tested():
    for operation in ("dense", "dense_adjoint_x", "dense_adjoint_W"):
        rungs = IMPLEMENTATIONS[operation].items()
        takes = {
            (n.removeprefix("cuda-"), d.name) for n, r in rungs if r.on == "cuda" for d in r.dtypes
        }
        assert takes == set(CASES)


def test_errors_name_the_argument(device):
    x, W, out = (device.zeros(s, "float32") for s in ((2, 4, 3), (2, 5, 6), (2, 4, 6)))
    with pytest.raises(ValueError, match=r"dense: W has shape \(2, 5, 6\), expected \(2, 3, 6\)"):
        products.dense(x, W, None, out)
    with pytest.raises(ValueError, match=r"dense: b has shape \(5,\), expected \(6,\)"):
        products.dense(x, W[:, :3].copy(), device.zeros(5, "float32"), out)
    with pytest.raises(ValueError, match="dense: x must be C-contiguous"):
        products.dense(x[:, :, ::-1], W[:, :3].copy(), None, out)
    with pytest.raises(ValueError, match="dense: W must be C-contiguous"):
        products.dense(x, W[:, :3], None, out)
    with pytest.raises(ValueError, match="one memory"):
        ops.dense(np.zeros((4, 3), "float32"), device.zeros((3, 6), "float32"))
