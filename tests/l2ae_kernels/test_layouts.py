"""Inputs of any strides, no samples, NaN and infinity: every rung that takes the data."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, to_host
from l2ae_kernels.cpu.codegen.vectors import SETS, vectors
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.geometry import Geometry
from l2ae_kernels.operations import IMPLEMENTATIONS
from l2ae_kernels.ops.checks import AXES

from .arguments import NUMBERS, draw_arrays, results
from .rungs import rungs as rungs_that_take

OPERATIONS = sorted(AXES)
SIMULATED = {("assign", "cuda-naive"), ("assign", "cuda-shared")}  # by Numba, not by our emulator


def rungs(operation: str, place: str = "cpu") -> list[tuple[str, str]]:
    """Every rung above the reference that takes any float32 there, with the vectors to force."""
    return [
        (name, forced)
        for name, rung in IMPLEMENTATIONS[operation].items()
        if rung.on == place and rung.limit is None
        if name != "reference" and (operation, name) not in SIMULATED
        for forced in (SETS if rung.emitted else ["none"])
    ]


def called(operation: str, rung: tuple[str, str], arguments: dict[str, Any]) -> list[Array]:
    with vectors(rung[1]), np.errstate(all="ignore"):
        return results(getattr(ops, operation), arguments | {"impl": rung[0]})


def memory_map(a: Array, tmp_path: Any) -> Array:
    np.save(tmp_path / "a.npy", a)
    return np.load(tmp_path / "a.npy", mmap_mode="r")


def odd_address(a: Array) -> Array:
    memory = np.zeros(a.nbytes + 1, "u1")
    view = memory[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "gaps": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "odd address": odd_address,
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "matrix": lambda a: np.matrix(a) if a.ndim == 2 else a,
}


@pytest.mark.filterwarnings("ignore:.*matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_layouts_of_inputs(operation: str, layout: str) -> None:
    arrays, numbers = draw_arrays(operation), NUMBERS.get(operation, {})
    written = {name: a.copy() for name, a in arrays.items() if name in "pmv"}
    expected = called(operation, (None, "none"), arrays | numbers | written)
    odd = {name: LAYOUTS[layout](a) for name, a in arrays.items() if name not in "pmv"}
    found = called(operation, (None, "none"), arrays | odd | numbers)
    for a, b in zip(found, expected, strict=True):
        assert type(a) is np.ndarray
        np.testing.assert_array_equal(a, b)
    for name, a in odd.items():
        np.testing.assert_array_equal(np.asarray(a), arrays[name])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_row_many_times(operation: str) -> None:
    """Views whose stride is 0."""
    arrays, numbers = draw_arrays(operation), NUMBERS.get(operation, {})
    views = {n: np.broadcast_to(a[:1], a.shape) for n, a in arrays.items() if n not in "pmv"}
    copies = {name: np.array(a) for name, a in (arrays | views).items()}
    found = called(operation, (None, "none"), arrays | views | numbers)
    for a, b in zip(found, called(operation, (None, "none"), copies | numbers), strict=True):
        np.testing.assert_array_equal(a, b)


def check_no_samples(operation: str, device: Device | None) -> None:
    arrays, numbers = draw_arrays(operation, samples=0), NUMBERS.get(operation, {})
    expected = called(operation, ("reference", "none"), arrays | numbers)
    if device:
        arrays = {name: device.to_device(a) for name, a in arrays.items()}
    for rung in rungs(operation, "cuda" if device else "cpu"):
        found = called(operation, rung, arrays | numbers)
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(to_host(a), b)


@pytest.mark.parametrize("operation", sorted(set(AXES) - {"moments", "restarts"}))
def test_no_samples(operation: str) -> None:
    check_no_samples(operation, None)


@pytest.mark.parametrize("operation", sorted(set(AXES) - {"moments", "restarts", "update"}))
def test_no_samples_on_a_device(operation: str, device: Device) -> None:
    check_no_samples(operation, device)


CONVOLUTIONS = [  # N, (H, W), C, K, kernel, stride, padding; the first is one of Winograd's
    (3, (14, 14), 32, 64, (5, 5), (2, 2), ((1, 2), (1, 2))),
    (9, (6, 7), 3, 5, (3, 3), (2, 1), ((1, 1), (2, 0))),
    (3, (6, 7), 1, 1, (3, 3), (1, 1), ((1, 1), (2, 3))),
]
PRODUCTS: dict[str, tuple[str, str]] = {
    "correlate": ("x", "W"),
    "correlate_adjoint_x": ("y", "W"),
    "correlate_adjoint_W": ("x", "y"),
}


def without_padding(operation: str, arrays: dict[str, Array], numbers: dict[str, Any]) -> Array:
    """Where the operation has a product with a number that is not finite, padding left out."""
    bad = {name: (~np.isfinite(a)).astype("f8") for name, a in arrays.items()}
    ones = {name: np.ones(a.shape) for name, a in arrays.items()}
    (one, other), function = PRODUCTS[operation], getattr(ops, operation)
    return (
        function(**{one: bad[one], other: ones[other]}, **numbers, impl="reference")
        + function(**{one: ones[one], other: bad[other]}, **numbers, impl="reference")
    ) > 0.5


@pytest.mark.parametrize("forced", [*SETS, "none"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("operation", PRODUCTS)
def test_what_is_not_finite_in_convolutions(
    operation: str, case: Any, bad: float, forced: str
) -> None:
    """It gets where it meets a number, and at most to where it meets padding; `winograd` may take
    it to other pixels.
    """
    N, size, C, K, kernel, stride, padding = case
    rng = np.random.default_rng(0)
    x, W = (rng.uniform(1, 2, s).astype("f4") for s in ((N, *size, C), (*kernel, C, K)))
    geometry = {"stride": stride, "padding": padding}
    y = ops.correlate(x, W, **geometry)
    g = Geometry.of(x.shape, y.shape, kernel, stride, padding)
    numbers = geometry | {
        "correlate": {}, "correlate_adjoint_x": {"image_size": size},
        "correlate_adjoint_W": {"kernel_size": kernel},
    }[operation]  # fmt: skip
    for name in PRODUCTS[operation]:
        arrays = {n: {"x": x, "W": W, "y": y}[n].copy() for n in PRODUCTS[operation]}
        arrays[name].reshape(-1)[7] = bad
        needed = without_padding(operation, arrays, numbers)
        (spec,) = called(operation, ("reference", "none"), arrays | numbers)
        for rung in rungs_that_take(operation, "float32", g):
            if rung[1] != forced:
                continue
            (found,) = called(operation, rung, arrays | numbers)
            lost, may = ~np.isfinite(found), ~np.isfinite(spec)
            if rung[0] == "winograd":
                pixels = (0, 1) if operation == "correlate_adjoint_W" else (1, 2)
                may = np.broadcast_to(may.any(axis=pixels, keepdims=True), may.shape)
            assert lost[needed].all(), rung
            assert may[lost].all(), rung


ELSEWHERE = sorted(set(AXES) - {*PRODUCTS, "adam_step", "assign", "restarts", "update"})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("operation", ELSEWHERE)
def test_what_is_not_finite_elsewhere(operation: str, bad: float) -> None:
    """In the same places as in the reference."""
    numbers = NUMBERS.get(operation, {})
    for name in sorted(set(draw_arrays(operation)) - {"maps"}):  # refused: test_warp.py
        arrays = draw_arrays(operation, samples=40)
        arrays[name].reshape(-1)[-1] = bad
        expected = called(operation, ("reference", "none"), arrays | numbers)
        for rung in rungs(operation):
            for a, b in zip(called(operation, rung, arrays | numbers), expected, strict=True):
                np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))


SHAPES = [(70, 3, 5), (300, 16, 40), (70, 130, 9), (95, 90, 45)]  # short points, long points


def check_assign_where_distances_are_nan(n: int, d: int, k: int, device: Device | None) -> None:
    rng = np.random.default_rng(0)
    x, centers = (rng.standard_normal(s).astype("f4") for s in ((n, d), (k, d)))
    x[[3, 50], [0, d - 1]] = np.nan, np.inf
    centers[[0, 2], [d - 1, 0]] = np.nan, np.inf
    with np.errstate(all="ignore"):
        squares = ((x[:, None].astype("f8") - centers) ** 2).sum(axis=2)
    exact = np.where(np.isnan(squares), np.inf, squares)
    arrays: dict[str, Any] = {"x": x, "centers": centers}
    names = [("reference", "none"), *rungs("assign", "cpu")]
    if device:
        arrays = {name: device.to_device(a) for name, a in arrays.items()}
        names = rungs("assign", "cuda")
    for rung in names:
        labels, distances = map(to_host, called("assign", rung, arrays))
        np.testing.assert_array_equal(labels, exact.argmin(axis=1))
        np.testing.assert_allclose(distances, exact.min(axis=1), rtol=1e-5)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_assign_where_distances_are_nan(n: int, d: int, k: int) -> None:
    check_assign_where_distances_are_nan(n, d, k, None)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_assign_on_a_device_where_distances_are_nan(n: int, d: int, k: int, device: Device) -> None:
    check_assign_where_distances_are_nan(n, d, k, device)
