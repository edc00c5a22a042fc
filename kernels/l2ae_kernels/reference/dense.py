"""Dense products, activations and sums in NumPy, or where the arrays are: the specification.

dense            y = x W + b                    (N, O)
dense_adjoint_x  dx = dy Wᵀ                     (N, I)
dense_adjoint_W  dW = xᵀ dy                     (I, O)
bias_adjoint     db = Σ over all but the last axis of dy
leaky_relu       y = x where Re x > 0, else slope · x
its adjoint      dx = dy where Re y > 0, else slope · dy     (slope ≥ 0: y and x agree in sign)
"""

from l2ae_kernels.arrays import Array, array_module


def dense(x: Array, W: Array, b: Array | None, out: Array) -> None:
    """Write x (N, I) @ W (I, O) + b (O,) to `out` (N, O)."""
    array_module(out).matmul(x, W, out=out)
    if b is not None:
        out += b


def dense_adjoint_x(dy: Array, W: Array, out: Array) -> None:
    """Write dy (N, O) @ Wᵀ to `out` (N, I)."""
    array_module(out).matmul(dy, W.T, out=out)


def dense_adjoint_W(x: Array, dy: Array, out: Array) -> None:
    """Write xᵀ @ dy to `out` (I, O)."""
    array_module(out).matmul(x.T, dy, out=out)


def bias_adjoint(dy: Array, out: Array) -> None:
    """Write the sum of dy (R, C) over its rows to `out` (C,)."""
    dy.sum(axis=0, out=out)


def leaky_relu(x: Array, slope: float, out: Array) -> None:
    """Write the leaky rectifier of x to `out`; the real part decides, so complex steps work."""
    out[...] = array_module(out).where(x.real > 0, x, slope * x)


def leaky_relu_adjoint(dy: Array, y: Array, slope: float, out: Array) -> None:
    """Write dy, times `slope` where the output y was not positive, to `out`."""
    out[...] = array_module(out).where(y.real > 0, dy, slope * dy)
