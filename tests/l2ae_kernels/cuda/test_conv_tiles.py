"""Convolutions in tiles: depths in parts, their workspace, and where arrays begin."""

import numpy as np
import pytest

from l2ae_kernels.cuda import conv, conv_tiles
from l2ae_kernels.geometry import Geometry

from .convolutions import PARTS, assert_sums, draw, shapes_of


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
