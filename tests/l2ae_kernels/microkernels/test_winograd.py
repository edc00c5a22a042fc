"""Winograd's algorithm against the reference in float64, for every kind of geometry it takes."""

from itertools import pairwise, product

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import AVX2, SETS
from l2ae_kernels.cpu.microkernels.ops import ONE_AT, run
from l2ae_kernels.cpu.microkernels.program import address
from l2ae_kernels.cpu.microkernels.winograd import A_T, B_T, OUTPUTS, G, points
from l2ae_kernels.cpu.microkernels.winograd_calls import Winograd
from l2ae_kernels.cpu.microkernels.winograd_layouts import groups_of, panel_vectors, tiles_of
from l2ae_kernels.geometry import Geometry

# Its points 0, ±1, ±2 make sums of numbers up to eight times larger than what is left of them in
# the end; direct sums of float32 reach 3e-7 of the norm.
ERROR = 6e-6
SIZES = [(7, 9), (14, 14), (8, 15), (5, 6), (16, 3), (1, 12), (21, 10)]
PADDINGS = [(1, 2), (2, 2), (0, 0), (1, 1), (2, 1), (3, 0), (0, 3)]
KERNELS = [(4, 4), (5, 5), (6, 6), (5, 4), (4, 6), (6, 5)]
STEPS = 2  # micro-batches that are added up in a gradient
SLOPE = np.array([0.25], np.float32)


def geometries(vectors, rng):
    """Every combination of kernel, size and padding that `fits`, with random channels."""
    lanes, panel = vectors.lanes, vectors.lanes * panel_vectors(vectors).columns
    for kh, kw in KERNELS:
        for H, W in SIZES:
            for before, after in PADDINGS:
                OH, OW = ((n + before + after - k) // 2 + 1 for n, k in ((H, kh), (W, kw)))
                if OH < 1 or OW < 1:
                    continue
                C, K = int(rng.choice([lanes, 3 * lanes, panel])), panel * int(rng.integers(1, 3))
                g = Geometry(H, W, C, OH, OW, K, kh, kw, 2, 2, before, before)
                if Winograd.fits(g, vectors):
                    yield g, {"stride": (2, 2), "padding": ((before, after),) * 2}


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("vectors", SETS.values(), ids=list(SETS))
def test_the_three_products(vectors):
    rng = np.random.default_rng(0)
    found = [errors(g, padding, vectors, rng) for g, padding in geometries(vectors, rng)]
    assert len(found) > 20
    assert np.max(found) < ERROR


def errors(g, geometry, vectors, rng):
    """Errors of y, dx and dW of one geometry, all buffers being NaN before."""

    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    samples = int(rng.integers(1, 5))
    x, y = normal(STEPS, samples, g.H, g.W, g.C), normal(STEPS, samples, g.OH, g.OW, g.K)
    W, b, b_x = normal(g.kh, g.kw, g.C, g.K), normal(g.K), normal(g.C)
    gated = bool(rng.integers(2))
    gate_y, gate_x = normal(*y.shape[1:]), normal(*x.shape[1:])
    found = products(g, samples, vectors, x, y, W, b, b_x, gate_y if gated else None, gate_x)

    def finish(sums, gate):
        sums = sums.reshape(STEPS, samples, *sums.shape[1:])
        return np.where((gate if gated else sums) > 0, sums, SLOPE * sums)

    flat_x, flat_y = (a.reshape(-1, *a.shape[2:]).astype(np.float64) for a in (x, y))
    wide = W.astype(np.float64)
    kernel, size = (g.kh, g.kw), (g.H, g.W)
    Ax = ops.correlate(flat_x, wide, b.astype(np.float64), **geometry)
    back = ops.correlate_adjoint_x(
        flat_y, wide, b_x.astype(np.float64), image_size=size, **geometry
    )
    dW = ops.correlate_adjoint_W(flat_x, flat_y, kernel_size=kernel, **geometry)
    expected = (finish(Ax, gate_y), finish(back, gate_x), dW)
    return [error(*pair) for pair in zip(found, expected, strict=True)]


def products(g, samples, vectors, x, y, W, b, b_x, gate_y, gate_x):
    """y, dx and dW by Winograd's algorithm; gates only where gate_y is one."""
    zeros = np.zeros(max(g.W * g.C, g.OW * g.K), np.float32)
    f = Winograd(g, samples, vectors, address(zeros), ONE_AT)

    def nan(size):
        return np.full(size, np.nan, np.float32)

    x_side, y_side, dU = map(nan, f.sizes())
    correlation, adjoint = map(nan, f.packed_floats())
    workspace, out, dx = nan(W.size), np.full_like(y, np.nan), np.full_like(x, np.nan)
    dW = np.zeros_like(W)
    gates = (0, 0) if gate_y is None else (address(gate_y), address(gate_x))
    run(vectors, f.pack_correlate(address(W), address(correlation)))
    run(vectors, f.pack_adjoint_x(address(W), address(workspace), address(adjoint)))
    run(vectors, [f.clear(address(dU))])
    for m in range(STEPS):
        x_m, y_m = g.x_images(address(x[m])), g.y_images(address(y[m]))
        run(vectors, f.transform_x(x_m, address(x_side)))
        run(vectors, f.correlate(
            address(x_side), address(correlation), address(y_side), address(b),
            g.y_images(address(out[m])), slope=address(SLOPE), gate=gates[0],
        ))  # fmt: skip
        run(vectors, f.adjoint_W(address(x_side), y_m, address(y_side), address(dU)))
        run(vectors, f.adjoint_x(
            y_m, address(y_side), address(adjoint), address(x_side), address(b_x),
            g.x_images(address(dx[m])), slope=address(SLOPE), gate=gates[1],
        ))  # fmt: skip
    run(vectors, f.finish_W(address(dU), address(dW)))
    return out, dx, dW


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("taps", [2, 3])
def test_the_matrices_make_a_filter(taps, outputs):
    """Aᵀ [(G g) ⊙ (Bᵀ d)] is the correlation of values with 2 or 3 taps, exactly."""
    rng = np.random.default_rng(1)
    d, g = rng.standard_normal(outputs + taps - 1), rng.standard_normal(taps)
    at = points(taps, outputs)
    B, A = np.array(B_T[outputs]), np.array(A_T[outputs])
    filtered = np.array(G)[at, :taps] @ g
    y = A[:, : len(at)] @ (filtered * (B[: len(at), : len(d)] @ d))
    np.testing.assert_allclose(y, np.correlate(d, g), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("outputs", "tiles"), [
    (1, [(3, 0, 1)]), (3, [(3, 0, 1)]), (4, [(4, 0, 1)]), (6, [(3, 0, 2)]),
    (7, [(4, 0, 1), (3, 4, 1)]), (8, [(4, 0, 2)]), (9, [(3, 0, 3)]), (13, [(4, 0, 1), (3, 4, 3)]),
])  # fmt: skip
def test_an_axis_is_cut_into_the_tiles_with_the_fewest_points(outputs, tiles):
    assert tiles_of(outputs) == tiles


def test_the_tiles_that_have_a_point_are_neighbours():
    for shape in product((2, 4, 6, 7, 13), repeat=2):
        groups = groups_of(5, *shape)
        for point in range(36):
            having = [group for group in groups if group.has(point)]
            for a, b in pairwise(having):
                assert a.first + a.rows == b.first


def test_it_is_taken_where_it_pays():
    def geometry(H, O, C, K, k, s, top):
        return Geometry(H, H, C, O, O, K, k, k, s, s, top, top)

    assert Winograd.fits(geometry(14, 7, 32, 64, 5, 2, 1), AVX2)  # the paper's second layer
    assert Winograd.fits(geometry(8, 4, 32, 64, 5, 2, 1), AVX2)
    assert not Winograd.fits(geometry(7, 3, 64, 128, 3, 2, 0), AVX2)  # 3×3: nothing to save
    assert not Winograd.fits(geometry(28, 14, 1, 32, 5, 2, 1), AVX2)  # one channel
    assert not Winograd.fits(geometry(14, 7, 32, 64, 5, 3, 1), AVX2)
    assert not Winograd.fits(geometry(4, 2, 32, 64, 5, 2, 1), AVX2)  # a tile has 3 × 3 outputs
    assert not Winograd.fits(geometry(9, 4, 32, 64, 5, 2, 1), AVX2)  # tiles beyond y
