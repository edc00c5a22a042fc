"""Normalizations of the rows or columns of (R, C) in NumPy, or where x is: the specification.

Eq. 4 of the paper, with a guard ε that keeps it smooth and finite at z = 0; n is (R, 1):

    l2_normalize          n = √(|z|² + ε²),  u = z / n
    l2_normalize_adjoint  dz = (du − u ⟨u, du⟩) / n

It is computed by these functions for any array, by `normalize` and `normalize_adjoint` of
cpu/microkernels/elementwise.py (rung `register`, and the compiled training step), and by
cuda/bottleneck.py between the two dense products around the code.

Means and sums over rows, so that μ, σ, γ and β are (C,):

    moments             μ = mean(x), v = mean((x − μ)²)
    batch_norm          y = γ x̂ + β,  x̂ = (x − μ)/σ
    batch_norm_adjoint  dβ = Σ dy,  dγ = Σ x̂ dy
                        dx = γ (dy − dβ/R − x̂ dγ/R)/σ          μ and σ are those of x
                        dx = γ dy/σ                            μ and σ are constants

Means along each row, so that μ and σ are (R, 1):

    layer_norm          y = γ x̂ + β,  x̂ = (x − μ)/σ,  σ = √(v + ε)
    layer_norm_adjoint  dx = (dx̂ − mean(dx̂) − x̂ mean(x̂ dx̂))/σ,  dx̂ = γ dy;  dβ and dγ as above

The first dx is the last one too, with means over rows: mean(γ dy) = γ dβ/R.
"""

from l2ae_kernels.arrays import Array, array_module


def l2_normalize(z: Array, eps: float, u: Array, n: Array) -> None:
    """Write z / n to `u` (R, C), and n (R, 1); the sum is of z², not |z|²: complex steps work."""
    n[...] = array_module(z).sqrt((z * z).sum(axis=-1, keepdims=True) + eps**2)
    u[...] = z / n


def l2_normalize_adjoint(du: Array, u: Array, n: Array, dz: Array) -> None:
    """Write (du − u ⟨u, du⟩) / n to `dz` (R, C)."""
    dz[...] = (du - u * (u * du).sum(axis=-1, keepdims=True)) / n


def moments(x: Array, mean: Array, variance: Array) -> None:
    """Write mean and biased variance (C,) of each column of x (R, C), R > 0."""
    x.mean(axis=0, out=mean)
    ((x - mean) ** 2).mean(axis=0, out=variance)


def batch_norm(x: Array, mean: Array, sigma: Array, gamma: Array, beta: Array, out: Array) -> None:
    """Write γ (x − μ)/σ + β to `out` (R, C)."""
    out[...] = gamma * ((x - mean) / sigma) + beta


def batch_norm_adjoint(
    dy: Array, x: Array, mean: Array, sigma: Array, gamma: Array, of_batch: bool,
    dx: Array, dgamma: Array, dbeta: Array,
) -> None:  # fmt: skip
    """Write dx (R, C), dγ and dβ (C,); `of_batch`: whether μ and σ are those of x."""
    x_hat = (x - mean) / sigma
    dy.sum(axis=0, out=dbeta)
    (dy * x_hat).sum(axis=0, out=dgamma)
    along = (dbeta + x_hat * dgamma) / len(x) if of_batch else 0  # what no row can change
    dx[...] = gamma * (dy - along) / sigma


def layer_norm(x: Array, gamma: Array, beta: Array, eps: float, out: Array) -> None:
    """Write γ (x − μ)/σ + β to `out` (R, C), with μ and σ of each row."""
    x_hat, _ = _by_rows(x, eps)
    out[...] = gamma * x_hat + beta


def layer_norm_adjoint(
    dy: Array, x: Array, gamma: Array, eps: float, dx: Array, dgamma: Array, dbeta: Array
) -> None:
    """Write dx (R, C), dγ and dβ (C,)."""
    x_hat, sigma = _by_rows(x, eps)
    dy.sum(axis=0, out=dbeta)
    (dy * x_hat).sum(axis=0, out=dgamma)
    dx_hat = gamma * dy
    along = dx_hat.mean(axis=-1, keepdims=True)
    along = along + x_hat * (x_hat * dx_hat).mean(axis=-1, keepdims=True)
    dx[...] = (dx_hat - along) / sigma


def _by_rows(x: Array, eps: float) -> tuple[Array, Array]:
    """Return x̂ (R, C) and σ (R, 1)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    sigma = array_module(x).sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return centred / sigma, sigma
