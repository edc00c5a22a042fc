"""Warps: exact cases, and maps of any size, on the reference and every rung."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.threads import MOST, threads
from l2ae_kernels.operations import IMPLEMENTATIONS

from .rungs import assert_agree, forced, rungs

RUNGS = [name for name, rung in IMPLEMENTATIONS["warp"].items() if rung.on in (None, "cpu")]
SHAPES = [(1, 1, 1, 1), (3, 1, 9, 2), (2, 7, 1, 3), (5, 8, 11, 1), (4, 16, 13, 17), (0, 4, 4, 1)]
IDENTITY = [[1.0, 0, 0], [0, 1, 0]]
every_rung = pytest.mark.parametrize("rung", RUNGS)


def same_map(x: Array, rows: list[list[float]]) -> Array:
    """One map for all images."""
    return np.tile(np.array(rows, x.dtype), (len(x), 1, 1))


def images(shape: tuple[int, ...], dtype: str = "float32") -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def plain(x: Array, M: Array) -> Array:
    """Loops over every index of the formula, in float64."""
    y = np.zeros(x.shape)
    for n, i, j in np.ndindex(*x.shape[:3]):
        r, s = M[n].astype("f8") @ (i, j, 1)
        for h, w in np.ndindex(*x.shape[1:3]):
            y[n, i, j] += max(0, 1 - abs(r - h)) * max(0, 1 - abs(s - w)) * x[n, h, w]
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", [0.1, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rungs_agree_with_the_reference_and_that_with_the_formula(
    shape: tuple[int, ...], spread: float, dtype: str
) -> None:
    x, rng = images(shape, dtype), np.random.default_rng(1)
    maps = (IDENTITY + spread * rng.standard_normal((shape[0], 2, 3))).astype(dtype)
    y = ops.warp(x, maps, impl="reference")
    assert_agree(y, plain(x, maps).astype(dtype))
    for rung in rungs("warp", dtype):
        assert_agree(forced(ops.warp, rung, x, maps), y)


@every_rung
def test_the_identity_gives_the_bits_of_the_images(rung: str) -> None:
    x = images((3, 5, 6, 2))
    x[0, 0, 0, 0], x[1, 2, 3, 1], x[2, 4, 5, 0] = -0.0, np.nan, np.nan
    y = ops.warp(x, same_map(x, IDENTITY), impl=rung)
    np.testing.assert_array_equal(y.view("u4"), x.view("u4"))


@every_rung
@pytest.mark.parametrize(("rows", "columns"), [(2, -1), (-3, 0), (0, 5), (4, 6), (-5, 2)])
def test_a_shift_by_whole_pixels_is_exact_and_brings_zeros(
    rows: int, columns: int, rung: str
) -> None:
    x, H, W = images((2, 5, 6, 3)), 5, 6
    y = ops.warp(x, same_map(x, [[1, 0, rows], [0, 1, columns]]), impl=rung)
    expected = np.zeros_like(x)
    for i, j in np.ndindex(H, W):
        if 0 <= i + rows < H and 0 <= j + columns < W:
            expected[:, i, j] = x[:, i + rows, j + columns]
    np.testing.assert_array_equal(y, expected)


@every_rung
@pytest.mark.parametrize("size", [1, 4, 7])
def test_flips_and_quarter_turns_are_exact(size: int, rung: str) -> None:
    x, last = images((2, size, size, 2)), size - 1
    cases = {
        "turn": ([[0, 1, 0], [-1, 0, last]], np.rot90(x, axes=(1, 2))),
        "flip": ([[1, 0, 0], [0, -1, last]], x[:, :, ::-1]),
        "transpose": ([[0, 1, 0], [1, 0, 0]], x.transpose(0, 2, 1, 3)),
    }
    for name, (rows, expected) in cases.items():
        y = ops.warp(x, same_map(x, rows), impl=rung)
        np.testing.assert_array_equal(y, expected, err_msg=name)


@every_rung
@pytest.mark.parametrize(("axis", "edge", "sign"), [(0, 0, -1), (0, 2, 1), (1, 0, -1), (1, 3, 1)])
def test_the_border_falls_to_zero_over_a_pixel(axis: int, edge: int, sign: int, rung: str) -> None:
    """All rows, or all columns, of image n read n/8 of a pixel outside the edge."""
    x, outside = np.ones((11, 3, 4, 1), "float32"), np.arange(11) / 8
    maps = same_map(x, IDENTITY)
    maps[:, axis] = 0
    maps[:, axis, 2] = edge + sign * outside
    expected = np.maximum(0, 1 - outside)[:, None, None, None]
    y = ops.warp(x, maps, impl=rung)
    np.testing.assert_array_equal(y, np.broadcast_to(expected, y.shape))


@every_rung
def test_channels_and_images_know_no_other(rung: str) -> None:
    x, rng = images((4, 9, 8, 5)), np.random.default_rng(2)
    maps = (IDENTITY + 0.2 * rng.standard_normal((4, 2, 3))).astype("f4")
    y = ops.warp(x, maps, impl=rung)
    x[:, :, :, 3] = np.nan
    x[2] = np.nan
    changed = ops.warp(x, maps, impl=rung)
    others = np.arange(5) != 3
    for n in (0, 1, 3):
        np.testing.assert_array_equal(changed[n][..., others], y[n][..., others])


@every_rung
def test_nan_stays_where_a_weight_reaches_it(rung: str) -> None:
    """Rows are read half a pixel lower, columns as they are."""
    x = images((1, 6, 6, 1))
    x[0, 3, 2] = np.nan
    y = ops.warp(x, same_map(x, [[1, 0, 0.5], [0, 1, 0]]), impl=rung)
    assert [tuple(at[1:3]) for at in np.argwhere(np.isnan(y))] == [(2, 2), (3, 2)]


@every_rung
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_places_far_outside_are_zero(rung: str, dtype: str) -> None:
    """Those that no integer holds, 1e308 + 1e308, and inf − inf too."""
    largest = np.finfo(dtype).max
    numbers = [1e5, -1e5, 2.0**31, 2.0**32, -(2.0**32), 2.0**63, -(2.0**63), 2.0**64, largest]
    extreme = [
        *([[1, 0, n], [0, 1, 0]] for n in numbers),
        *([[1, 0, 0], [0, 1, n]] for n in numbers),
        [[largest, largest, largest], [0, 0, 0]],
        [[largest, -largest, largest], [largest, -largest, -largest]],  # one of the two may be 0
        [[-largest, -largest, -largest], [-largest, -largest, -largest]],
    ]
    x = np.ones((len(extreme), 6, 7, 2), dtype)
    y = ops.warp(x, np.array(extreme, dtype), impl=rung)
    assert not y.any()


@every_rung
def test_maps_that_are_not_finite_are_refused_before_anything_is_written(rung: str) -> None:
    x = images((3, 4, 4, 1))
    for bad in (np.nan, np.inf, -np.inf):
        maps, out = same_map(x, IDENTITY), np.full_like(x, 7)
        maps[1, 0, 2] = bad
        with pytest.raises(ValueError, match="warp: maps holds NaN or Inf, first in map 1"):
            ops.warp(x, maps, out=out, impl=rung)
        assert (out == 7).all()


def test_small_changes_of_the_maps_change_little() -> None:
    """No jump: |Δy| ≤ (|Δr| + |Δs|) · the largest difference of two pixels."""
    x, rng = images((64, 9, 9, 1), "float64"), np.random.default_rng(3)
    maps = IDENTITY + 0.3 * rng.standard_normal((64, 2, 3))
    step = 1e-7 * rng.standard_normal((64, 2, 3))
    change = np.abs(ops.warp(x, maps + step) - ops.warp(x, maps)).max(axis=(1, 2, 3))
    reach = (np.abs(step) @ [9, 9, 1]).sum(axis=1)
    assert (change <= 2 * np.abs(x).max() * reach).all()


@pytest.mark.parametrize("rung", [None, *RUNGS])
def test_bits_do_not_depend_on_threads(rung: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l2ae_kernels.cpu.threads.WORTH_A_THREAD", 1)
    x, rng = images((13, 12, 10, 3)), np.random.default_rng(4)
    maps = (IDENTITY + 0.2 * rng.standard_normal((13, 2, 3))).astype("f4")
    with threads(1):
        one = ops.warp(x, maps, impl=rung)
    with threads(MOST):
        np.testing.assert_array_equal(ops.warp(x, maps, impl=rung), one)
