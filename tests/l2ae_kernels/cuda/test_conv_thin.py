"""Convolutions of images of one channel: the rows of a block, and the error of a reconstruction."""

import numpy as np
import pytest

from l2ae_kernels.cuda import conv, conv_thin
from l2ae_kernels.geometry import Geometry, output_size

from .convolutions import OPERATIONS, THIN, assert_sums, draw, shapes_of


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
