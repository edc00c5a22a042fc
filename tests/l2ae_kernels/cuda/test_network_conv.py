"""The correlation and its adjoints on every CUDA rung against NumPy, in bounds from rounding."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda import conv
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.operations import IMPLEMENTATIONS
from l2ae_kernels.reference import conv as reference

from .convolutions import (
    LOSS,
    OPERATIONS,
    PARTS,
    RAGGED,
    SHAPES,
    THIN,
    assert_sums,
    draw,
    shapes_of,
)

CASES = [  # rung, dtype
    ("naive", "float32"),
    ("naive", "float64"),
    ("tensor", "float32"),
    ("tf32", "float32"),
]
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
