"""Strided correlation and its two adjoints in NumPy: the specification.

    correlate            y[n,i,j,k] = b[k] + Σ_{p,q,c} x̃[n, i·s+p, j·s+q, c] W[p,q,c,k]
    correlate_adjoint_x  x̃[n,h,w,c] = b[c] + Σ_{i·s+p=h, j·s+q=w, k} y[n,i,j,k] W[p,q,c,k]
    correlate_adjoint_W  W[p,q,c,k] = Σ_{n,i,j} x̃[n, i·s+p, j·s+q, c] y[n,i,j,k]

x̃ is x padded with zeros. The map is linear in x and in W, so these three are all that a
convolution, a transposed convolution and both their backward passes need. Works for every dtype,
complex too (adjoint here means transpose, without conjugation), and wherever the arrays are.
"""

from l2ae_kernels.arrays import Array, array_module
from l2ae_kernels.geometry import Padding, Pair


def _windows(x: Array, kernel_size: Pair, stride: Pair, padding: Padding) -> Array:
    """View of the padded images as (N, OH, OW, C, kh, kw): one window for each output position."""
    (top, bottom), (left, right) = padding
    N, H, width, C = x.shape
    xp = array_module(x)
    padded = xp.zeros_like(x, shape=(N, top + H + bottom, left + width + right, C))
    padded[:, top : top + H, left : left + width] = x
    windows: Array = xp.lib.stride_tricks.sliding_window_view(padded, kernel_size, axis=(1, 2))
    return windows[:, :: stride[0], :: stride[1]]


def correlate(
    x: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding
) -> None:
    """Write y (N, OH, OW, K) for x (N, H, W, C) and W (kh, kw, C, K) to `out`."""
    windows = _windows(x, W.shape[:2], stride, padding)
    out[...] = array_module(x).tensordot(windows, W, axes=([4, 5, 3], [0, 1, 2]))
    if b is not None:
        out += b


def correlate_adjoint_x(
    y: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding
) -> None:
    """Write x (N, H, W, C) for y (N, OH, OW, K) and W (kh, kw, C, K) to `out`."""
    (kh, kw, C, _), (N, OH, OW, _) = W.shape, y.shape
    (top, bottom), (left, right) = padding
    _, H, width, _ = out.shape
    sh, sw = stride
    size = (N, top + H + bottom, left + width + right, C)
    padded = array_module(out).zeros_like(out, shape=size)
    for p in range(kh):
        for q in range(kw):  # an output pixel goes back to the pixel that it saw through tap p, q
            padded[:, p : p + sh * OH : sh, q : q + sw * OW : sw] += y @ W[p, q].T
    out[...] = padded[:, top : top + H, left : left + width]
    if b is not None:
        out += b


def correlate_adjoint_W(x: Array, y: Array, out: Array, stride: Pair, padding: Padding) -> None:
    """Write W (kh, kw, C, K) for x (N, H, W, C) and y (N, OH, OW, K) to `out`."""
    windows = _windows(x, out.shape[:2], stride, padding)
    gradient = array_module(x).tensordot(windows, y, axes=([0, 1, 2], [0, 1, 2]))  # (C, kh, kw, K)
    out[...] = gradient.transpose(1, 2, 0, 3)
