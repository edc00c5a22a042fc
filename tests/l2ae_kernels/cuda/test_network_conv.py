"""The correlation and its adjoints on every CUDA rung against NumPy, in bounds from rounding."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda import conv, conv_thin, conv_tiles
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.geometry import Geometry, output_size
from l2ae_kernels.operations import IMPLEMENTATIONS
from l2ae_kernels.reference import conv as reference

OPERATIONS = ("correlate", "correlate_adjoint_x", "correlate_adjoint_W")
# What a rung may lose of a product a·b, in shares of |a b|: near_tf32 is off by 1.25 · 2^-11 of a
# number, and split by 1.25 · 2^-21; small · small, up to 1.57 · 2^-22, is left out.
LOSS = {"naive": 0.0, "tensor": 2.5 * 2.0**-21 + 1.6 * 2.0**-22, "tf32": 1.26 * 2.0**-10}
# And what it may lose of a sum, in units in the last place for each product: a tensor core adds 8
# of them to a sum, and may cut each of the 9 terms and the result; it does so once or three times.
UNITS = {"naive": 1.0, "tensor": 3 * 10 / 8, "tf32": 10 / 8}
CASES = [  # rung, dtype
    ("naive", "float32"),
    ("naive", "float64"),
    ("tensor", "float32"),
    ("tf32", "float32"),
]
SHAPES = [  # N, (H, W), C, K, kernel, stride, padding
    (1, (1, 1), 1, 1, (1, 1), (1, 1), ((0, 0), (0, 0))),
    (3, (5, 7), 2, 3, (3, 2), (1, 2), ((0, 1), (1, 0))),
    (5, (8, 8), 1, 5, (5, 5), (2, 2), ((1, 2), (1, 2))),
    (9, (7, 7), 6, 8, (3, 3), (2, 2), ((0, 0), (0, 0))),
    (7, (2, 2), 4, 3, (3, 3), (2, 2), ((0, 1), (0, 1))),
    (2, (4, 9), 3, 2, (2, 3), (3, 1), ((3, 4), (5, 6))),  # windows that see nothing but padding
    (2, (9, 4), 2, 2, (1, 1), (3, 2), ((0, 0), (0, 0))),  # pixels that no window sees
    (2, (7, 8), 5, 66, (4, 5), (1, 3), ((2, 1), (1, 1))),
    (0, (6, 6), 2, 2, (3, 3), (1, 1), ((1, 1), (1, 1))),  # no samples
    (70, (6, 7), 1, 36, (3, 5), (2, 2), ((1, 1), (1, 2))),  # one channel, and parts
    (29, (5, 5), 32, 12, (3, 3), (2, 2), ((1, 1), (1, 1))),  # depths are cut into parts
]
PARTS, THIN, RAGGED = SHAPES[-1], SHAPES[-2], SHAPES[7]
# A geometry is compiled in on tensor cores, and tf32 is tensor with one product in place of three.
EVERY_DAY = [
    pytest.param(
        shape,
        case,
        id=f"{shape}-{'-'.join(case)}",
        marks=[] if case[0] == "naive" or (case[0] == "tensor" and shape in (PARTS, THIN, RAGGED))
        else pytest.mark.slow,
    )
    for shape in SHAPES
    for case in CASES
]  # fmt: skip


def draw(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def leaky(x: np.ndarray, slope: float, y: np.ndarray | None = None) -> np.ndarray:
    return np.where((x if y is None else y) > 0, x, slope * x)


def shapes_of(case) -> tuple[tuple[int, ...], ...]:
    """The shapes of x, W and y."""
    N, size, C, K, kernel, stride, padding = case
    return (N, *size, C), (*kernel, C, K), (N, *output_size(size, kernel, stride, padding), K)


def assert_sums(operation, found, A, B, case, rung, *, bias=None, slope=1.0, y=None) -> None:
    """Compare with the reference in float64; a slope of at most 1 widens nothing."""
    stride, padding = case[-2:]
    A, B = A.astype("float64"), B.astype("float64")
    expected, size = np.empty(found.shape), np.empty(found.shape)
    b = () if operation == "correlate_adjoint_W" else (bias,)
    getattr(reference, operation)(A, B, *b, expected, stride, padding)
    b = tuple(None if one is None else np.abs(one) for one in b)
    getattr(reference, operation)(np.abs(A), np.abs(B), *b, size, stride, padding)
    depth = {  # products of a sum
        "correlate": int(np.prod(B.shape[:3])),
        "correlate_adjoint_x": int(np.prod(B.shape[:2])) * B.shape[3],
        "correlate_adjoint_W": int(np.prod(B.shape[:3])),
    }[operation]
    unit = np.finfo(found.dtype).eps
    bound = (LOSS[rung] + (UNITS[rung] * depth + 4) * unit) * size
    error = np.abs(found - leaky(expected, slope, y))
    assert np.all(error <= bound), (operation, error.max())


@pytest.mark.everyday("(29, (5, 5), 32", "(70, (6, 7), 1")
@pytest.mark.parametrize(("shape", "case"), EVERY_DAY)
def test_one_model_through_ops(shape, case, device):
    (name, dtype), (stride, padding) = case, shape[-2:]
    x, W, y, b, b_image = draw(0, dtype, *shapes_of(shape), (shape[3],), (shape[2],))
    on_x, on_W, on_y, on_b, on_b_image = (device.to_device(a) for a in (x, W, y, b, b_image))
    how = {"stride": stride, "padding": padding, "impl": f"cuda-{name}"}
    image, kernel = x.shape[1:3], W.shape[:2]
    for bias, on_bias in ((None, None), (b, on_b)):
        found = ops.correlate(on_x, on_W, on_bias, **how)
        assert found.dtype == dtype
        assert_sums("correlate", device.to_host(found), x, W, shape, name, bias=bias)
    for bias, on_bias in ((None, None), (b_image, on_b_image)):
        found = ops.correlate_adjoint_x(on_y, on_W, on_bias, image_size=image, **how)
        assert_sums("correlate_adjoint_x", device.to_host(found), y, W, shape, name, bias=bias)
    found = ops.correlate_adjoint_W(on_x, on_y, kernel_size=kernel, **how)
    assert_sums("correlate_adjoint_W", device.to_host(found), x, y, shape, name)


@pytest.mark.parametrize(("shape", "case"), [e for e in EVERY_DAY if e.values[0] in (PARTS, THIN)])
def test_models_side_by_side_with_activations(shape, case, device):
    """Two models, each array shared by them in one of the operations."""
    (name, dtype), (C, K), M, slope = case, shape[2:4], 2, 0.3
    shapes = shapes_of(shape)
    x, W, y, b, b_image = draw(1, dtype, *shapes, (M, K), (C,))
    xs, Ws, ys = draw(2, dtype, *((M, *s) for s in shapes))

    def run(operation, *arrays, out, **how):
        """Check an operation of the models against the models one by one."""
        on = [a if a is None else device.to_device(a) for a in arrays]
        found = device.empty((M, *out), dtype)
        on_how = {n: device.to_device(a) if n == "y_below" else a for n, a in how.items()}
        getattr(conv, operation)(*on, found, *shape[-2:], **on_how, impl=name)
        for m in range(M):
            axes = (4, 4, 1)
            A, B, *bias = (
                a if a is None or a.ndim == n else a[m] for a, n in zip(arrays, axes, strict=False)
            )
            below = how["y_below"][m] if "y_below" in how else None
            more = {"bias": bias[0] if bias else None, "slope": how.get("slope", 1.0), "y": below}
            assert_sums(operation, device.to_host(found)[m], A, B, shape, name, **more)

    image, kernel, outputs = shapes
    run("correlate", x, Ws, b, out=outputs, slope=slope)
    run("correlate", xs, W, None, out=outputs, slope=slope, y_below=ys)
    run("correlate_adjoint_x", ys, W, b_image, out=image, slope=slope)
    run("correlate_adjoint_x", y, Ws, None, out=image, slope=0.0, y_below=xs)
    run("correlate_adjoint_W", xs, y, out=kernel)
    run("correlate_adjoint_W", x, ys, out=kernel)


@pytest.mark.parametrize(("shape", "case"), [e for e in EVERY_DAY if e.values[0] in (PARTS, THIN)])
def test_the_gradient_of_the_bias_comes_with_that_of_the_weights(shape, case, device):
    (name, dtype), M = case, 2
    image, kernel, outputs = shapes_of(shape)
    x, y = draw(3, dtype, image, (M, *outputs))
    dW, db = device.empty((M, *kernel), dtype), device.empty((M, shape[3]), dtype)
    on = device.to_device(x), device.to_device(y)
    conv.correlate_adjoint_W(*on, dW, *shape[-2:], db=db, impl=name)
    for m in range(M):
        assert_sums("correlate_adjoint_W", device.to_host(dW)[m], x, y[m], shape, name)
        rows = y[m].reshape(-1, shape[3]).astype("float64")
        bound = (LOSS[name] + (len(rows) + 4) * np.finfo(dtype).eps) * np.abs(rows).sum(axis=0)
        assert np.all(np.abs(device.to_host(db)[m] - rows.sum(axis=0)) <= bound)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_bits_depend_on_nothing_but_one_model(operation, device, other_order):
    """Not on the order of blocks, not on the run, not on how many models run side by side."""
    image, kernel, outputs = shapes_of(PARTS)
    of = {
        "correlate": (image, kernel, outputs),
        "correlate_adjoint_x": (outputs, kernel, image),
        "correlate_adjoint_W": (image, outputs, kernel),
    }[operation]
    *operands, out = ((2, *shape) for shape in of)
    A, B = draw(6, "float32", *operands)
    bias = () if operation == "correlate_adjoint_W" else (None,)
    results = []
    for target in (device, *([] if device.emulated else [device]), other_order):
        on_A, on_B = target.to_device(A), target.to_device(B)
        together, alone = target.empty(out, "float32"), target.empty(out[1:], "float32")
        run = getattr(conv, operation)
        run(on_A, on_B, *bias, together, *PARTS[-2:])
        run(on_A[1], on_B[1], *bias, alone, *PARTS[-2:])
        results += [target.to_host(together)[1], target.to_host(alone)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("shared", [True, False])
def test_the_error_of_a_reconstruction_comes_with_it(shared, device):
    """Two models on the same images, or on their own; blocks have some rows of an image."""
    N, _, C, *_ = THIN
    M, factor, slope = 2, 0.25, 0.3
    image, kernel, outputs = shapes_of(THIN)
    y, W, b = draw(11, "float32", (M, *outputs), (M, *kernel), (M, C))
    images = draw(12, "float32", image if shared else (M, *image))[0]
    on_y, on_W, on_b, on_images = (device.to_device(a) for a in (y, W, b, images))
    x, d = (device.empty((M, *image), "float32") for _ in range(2))
    g = Geometry.of(image, outputs, kernel[:2], *THIN[-2:])
    errors = device.full((conv.loss_parts(g, N, "tensor"), M), np.nan, np.float64)
    conv.correlate_adjoint_x(on_y, on_W, on_b, x, *THIN[-2:], slope=slope)
    target = conv_thin.Target(on_images, factor, errors)
    conv.correlate_adjoint_x(on_y, on_W, on_b, d, *THIN[-2:], slope=slope, target=target)
    made = device.to_host(x)
    away = made - images
    gated = np.where(made > 0, 1, np.float32(slope)) * (away * np.float32(2 * factor))
    np.testing.assert_array_equal(device.to_host(d), gated)
    expected = (away.astype("float64") ** 2).sum(axis=(1, 2, 3, 4))
    np.testing.assert_allclose(device.to_host(errors).sum(axis=0), expected, rtol=1e-13)
    assert conv.loss_parts(g, N, "naive") == 0
    with pytest.raises(ValueError, match="target is given but naive makes no error"):
        conv.correlate_adjoint_x(on_y, on_W, on_b, d, *THIN[-2:], target=target, impl="naive")


def test_a_workspace_serves_many_launches(device, other_order):
    """The last part of a tile to arrive leaves it as it was; two models are apart in it."""
    image, kernel, outputs = shapes_of(PARTS)
    x, W = draw(10, "float32", (2, 2, *image), (2, *kernel))
    g = Geometry.of(image, outputs, kernel[:2], *PARTS[-2:])
    found = []
    for on in (device, other_order):
        y = on.full((2, *outputs), np.nan, "float32")
        workspace = conv.workspace_of(y, g, "tensor")
        assert workspace is not None
        assert len(workspace.parts) > 1
        for i in range(2):
            args = on.to_device(x[:, i]), on.to_device(W), None, y, *PARTS[-2:]
            conv.correlate(*args, workspace=workspace)
            assert not on.to_host(workspace.arrived).any()
        found.append(on.to_host(y))
        for m in range(2):
            assert_sums("correlate", found[-1][m], x[m, 1], W[m], PARTS, "tensor")
    np.testing.assert_array_equal(*found)


def test_a_tile_in_parts_has_one_end(device):
    """The last block to arrive ends it, no other: a second end would see what the first one wrote.

    y is its own gate, open before the launch. Results alone do not tell: blocks run one after the
    other, so that the end of the last one to arrive replaces those before it.
    """
    image, kernel, outputs = shapes_of(PARTS)
    x, W = (device.to_device(a) for a in draw(11, "float32", (2, *image), (2, *kernel)))
    y, plain = (device.full((2, *outputs), fill, "float32") for fill in (1, np.nan))
    conv.correlate(x, W, None, plain, *PARTS[-2:])
    conv.correlate(x, W, None, y, *PARTS[-2:], y_below=y, slope=0.5)
    assert (device.to_host(plain) < 0).any()
    np.testing.assert_array_equal(device.to_host(y), device.to_host(plain))


@pytest.mark.parametrize("shape", [RAGGED, THIN], ids=str)
def test_what_is_not_finite_stays_in_its_windows(shape, device):
    """A pixel that is not a number is in the sums of the windows that see it, and in no other."""
    x, W, y = draw(9, "float32", *shapes_of(shape))
    x[1, 2, 3, 0] = y[0, 1, 1, 2] = np.nan
    on_x, on_W, on_y = (device.to_device(a) for a in (x, W, y))
    for operation, A, on_A, out in (
        ("correlate", x, on_x, y),
        ("correlate_adjoint_x", y, on_y, x),
    ):
        found, expected = device.empty(out.shape, "float32"), np.empty(out.shape)
        getattr(conv, operation)(on_A, on_W, None, found, *shape[-2:])
        getattr(reference, operation)(A.astype("float64"), W, None, expected, *shape[-2:])
        np.testing.assert_array_equal(np.isnan(device.to_host(found)), np.isnan(expected))
        assert np.isnan(expected).any()
        assert not np.isnan(expected).all()


def test_a_block_has_the_rows_that_fit(device, monkeypatch):
    """Images of one channel whose rows do not fit shared memory together."""
    _, _, C, K, *_ = THIN
    monkeypatch.setattr(conv_thin, "MOST_NUMBERS", 130)
    x, W, y, b, b_image = draw(8, "float32", *shapes_of(THIN), (K,), (C,))
    on = [device.to_device(a) for a in (x, W, y, b, b_image)]
    out, dx, dW, db = (device.empty(a.shape, "float32") for a in (y, x, W, b))
    conv.correlate(on[0], on[1], on[3], out, *THIN[-2:])
    conv.correlate_adjoint_x(on[2], on[1], on[4], dx, *THIN[-2:])
    conv.correlate_adjoint_W(on[0], on[2], dW, *THIN[-2:], db=db)
    assert_sums("correlate", device.to_host(out), x, W, THIN, "naive", bias=b)
    assert_sums("correlate_adjoint_x", device.to_host(dx), y, W, THIN, "naive", bias=b_image)
    assert_sums("correlate_adjoint_W", device.to_host(dW), x, y, THIN, "naive")


def test_rows_of_a_block():
    """All of conv1 of the paper's network, a part of large images, none of what is too wide."""

    def rows(size, K, kernel):
        outputs = output_size(size, kernel, (2, 2), ((1, 2), (1, 2)))
        g = Geometry.of((*size, 1), (*outputs, K), kernel, (2, 2), ((1, 2), (1, 2)))
        return [conv_thin.rows_of_block(operation, g) for operation in OPERATIONS]

    assert rows((28, 28), 32, (5, 5)) == [14, 28, 14]
    assert rows((200, 100), 32, (5, 5)) == [27, 4, 27]
    assert rows((28, 9_000), 32, (5, 5)) == [0, 0, 0]
    assert rows((28, 28), 1_000, (5, 5)) == [0, 0, 0]
    assert rows((28, 28), 32, (7, 7)) == [13, 0, 13]


@pytest.mark.slow
def test_arrays_that_begin_anywhere(device):
    """Copies of 16 bytes are for arrays that begin at multiples of them."""
    x, W, y, b = draw(7, "float32", *shapes_of(PARTS), (PARTS[3],))

    def on(a):
        """An array 4 bytes behind such a multiple."""
        buffer = device.to_device(np.concatenate([[0.0], a.ravel()]).astype("float32"))
        return buffer[1:].reshape(a.shape)

    out, dx, dW = (on(np.zeros_like(a)) for a in (y, x, W))
    conv.correlate(on(x), on(W), on(b), out, *PARTS[-2:])
    conv.correlate_adjoint_x(on(y), on(W), None, dx, *PARTS[-2:])
    conv.correlate_adjoint_W(on(x), on(y), dW, *PARTS[-2:])
    assert_sums("correlate", device.to_host(out), x, W, PARTS, "tensor", bias=b)
    assert_sums("correlate_adjoint_x", device.to_host(dx), y, W, PARTS, "tensor")
    assert_sums("correlate_adjoint_W", device.to_host(dW), x, y, PARTS, "tensor")


def test_splits_cover_the_depth():
    for rows, columns, depth in [(1, 1, 1), (5, 3, 700), (800, 64, 12_544), (10, 2000, 70_001)]:
        for count, part in (f(rows, columns, depth) for f in (conv_tiles.splits, conv_tiles.cut)):
            assert part % conv_tiles.DEPTH == 0
            assert (count - 1) * part < depth <= count * part
    # conv2 of the paper's network: dW, and y, of 196 tiles, which would be two rounds of 132
    assert conv_tiles.splits(800, 64, 256 * 49)[0] == 20
    assert conv_tiles.cut(256 * 49, 64, 800)[0] == 2
    assert conv_tiles.cut(128 * 66, 64, 800)[0] == 1  # all of one round


def test_every_cuda_rung_is_tested():
    for operation in OPERATIONS:
        rungs = IMPLEMENTATIONS[operation].items()
        takes = {
            (n.removeprefix("cuda-"), d.name) for n, r in rungs if r.on == "cuda" for d in r.dtypes
        }
        assert takes == set(CASES)


def test_errors_name_the_argument():
    device = emulate()
    x, W, y = (device.zeros(s, "float32") for s in ((2, 5, 5, 3), (3, 3, 3, 4), (2, 3, 3, 4)))
    b, how = device.zeros(5, "float32"), ((1, 1), ((0, 0), (0, 0)))
    with pytest.raises(ValueError, match=r"correlate: b has shape \(5,\), expected \(4,\)"):
        conv.correlate(x, W, b, y, *how)
    with pytest.raises(ValueError, match=r"correlate: out has shape \(2, 3, 3, 4\), expected"):
        conv.correlate(x, W, None, y, (1, 1), ((1, 0), (0, 0)))
    with pytest.raises(ValueError, match=r"correlate: kernel \(3, 3\) does not fit an image"):
        conv.correlate(x[:, :2], W, None, y, *how)
    with pytest.raises(ValueError, match="correlate_adjoint_x: y_below has shape"):
        conv.correlate_adjoint_x(y, W, None, x, *how, y_below=y)
    with pytest.raises(ValueError, match="correlate_adjoint_x: y has shape"):
        conv.correlate_adjoint_x(y[:, :2], W, None, x, *how)
    with pytest.raises(ValueError, match="correlate_adjoint_x: y must be C-contiguous"):
        conv.correlate_adjoint_x(y[:, ::-1], W, None, x, *how)
    with pytest.raises(ValueError, match=r"correlate_adjoint_W: y has shape \(3, 3, 4\) but"):
        conv.correlate_adjoint_W(x, y[0], W, *how)
    with pytest.raises(ValueError, match=r"correlate_adjoint_W: db has shape \(5,\), expected"):
        conv.correlate_adjoint_W(x, y, W, *how, db=b)
