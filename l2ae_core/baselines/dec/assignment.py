"""DEC's clustering loss: soft assignments q, their sharpened target p, and KL(P‖Q).

Source: Xie, Girshick, Farhadi, "Unsupervised Deep Embedding for Clustering Analysis", ICML 2016.
"""

from dataclasses import dataclass

import numpy as np

from l2ae_core.layers.base import Cache, Layer, Params, Shape
from l2ae_kernels.arrays import Array, array_module

CHUNK = 4096  # samples whose differences to all centers are held at a time


@dataclass(eq=False)
class StudentAssignment(Layer):
    """Log of the soft assignment to K centers, by a Student's t of α degrees of freedom.

        w_ij = 1 / (1 + |z_i − μ_j|²/α)                             z (N, D), μ (K, D), w (N, K)
        q_ij = w_ij^((α+1)/2) / Σ_j' w_ij'^((α+1)/2),  y = log q                        y (N, K)

        c_ij = dy_ij − q_ij Σ_j' dy_ij'
        dz_i = −(α+1)/α Σ_j w_ij c_ij (z_i − μ_j)
        dμ_j =  (α+1)/α Σ_i w_ij c_ij (z_i − μ_j)

    The loss takes the log: no q is so small that it divides by zero. Differences are
    subtracted, not expanded to |z|² − 2zμ + |μ|², which would cancel where a point meets a center.

    Raises ValueError when the centers are not a matrix, α is not positive, or z does not fit.
    """

    centers: Array  # (K, D)
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.centers.ndim != 2 or not self.centers.size:
            raise ValueError(
                f"StudentAssignment: centers is {self.centers.shape} but expected (K, D)"
            )
        if not 0 < self.alpha < np.inf:
            raise ValueError(f"StudentAssignment: alpha is {self.alpha} but expected a number > 0")

    def __repr__(self) -> str:
        K, D = self.centers.shape
        return f"{type(self).__qualname__}({D} -> {K}, alpha={self.alpha})"

    @property
    def params(self) -> Params:
        return {"centers": self.centers}

    def output_shape(self, input_shape: Shape) -> Shape:
        K, D = self.centers.shape
        if input_shape != (D,):
            raise ValueError(f"{self}: sample has shape {input_shape}, expected {(D,)}")
        return (K,)

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        z = x
        self.output_shape(z.shape[1:])
        xp = array_module(z)
        difference = z[:, None, :] - self.centers  # (N, K, D)
        far = (difference * difference).sum(axis=-1) / self.alpha  # (N, K)
        y = -(self.alpha + 1) / 2 * xp.log1p(far)
        y = y - y.real.max(axis=1, keepdims=True)
        y = y - xp.log(xp.exp(y).sum(axis=1, keepdims=True))
        return y, (difference, 1 / (1 + far), y)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        difference, w, y = cache
        c = dy - array_module(y).exp(y) * dy.sum(axis=1, keepdims=True)  # (N, K)
        attraction = ((self.alpha + 1) / self.alpha * w * c)[:, :, None] * difference  # (N, K, D)
        return -attraction.sum(axis=1), {"centers": attraction.sum(axis=0)}

    def log_q(self, z: Array) -> Array:
        """Return log q (N, K) of any number of samples z (N, D), some at a time."""
        parts = [self.forward(z[i : i + CHUNK])[0] for i in range(0, max(len(z), 1), CHUNK)]
        joined: Array = array_module(z).concatenate(parts)
        return joined


def target_distribution(q: Array) -> Array:
    """Return the target p (N, K) of soft assignments q (N, K) of ALL the data.

        f_j = Σ_i q_ij,   p_ij = (q_ij²/f_j) / Σ_j' (q_ij'²/f_j')

    The square trusts confident assignments more; f_j keeps large clusters from growing at the cost
    of small ones. The sums f_j are over the data set: those of a mini-batch are another target.
    Computed in float64, returned in the dtype of q. An empty cluster, f_j = 0, has p_ij = 0.

    Raises ValueError when q is not (N, K) with N, K ≥ 1.
    """
    if q.ndim != 2 or not q.size:
        raise ValueError(f"target_distribution: q is {q.shape} but expected (N, K), N and K ≥ 1")
    wide = q.astype(np.float64)
    f = wide.sum(axis=0)  # (K,)
    weight = wide * (wide / array_module(q).where(f > 0, f, 1))
    p: Array = (weight / weight.sum(axis=1, keepdims=True)).astype(q.dtype)
    return p


def kl_divergence(log_q: Array, p: Array) -> tuple[float, Array]:
    """Return KL(P‖Q) a sample, for log q (N, K) and a fixed target p (N, K), and dlog_q.

        loss = 1/N Σ_ij p_ij (log p_ij − log q_ij)        0 log 0 = 0          dlog_q = −p / N

    With StudentAssignment behind it, whose c is (q − p)/N then, this is DEC's gradient

        dz_i = (α+1)/(α N) Σ_j w_ij (p_ij − q_ij) (z_i − μ_j)

    and dμ_j the same with −Σ_i. Keras's `kld` means the same N; the paper's sum over all samples
    has no 1/N. Summed in float64; complex where log_q is complex.

    Raises ValueError when the shapes differ or N is 0.
    """
    if log_q.shape != p.shape or not p.size:
        raise ValueError(
            f"kl_divergence: log_q is {log_q.shape} and p is {p.shape} but expected one (N, K), "
            "N and K ≥ 1"
        )
    xp = array_module(log_q)
    log_p = xp.log(xp.where(p > 0, p, 1))
    wide = np.complex128 if np.iscomplexobj(log_q) else np.float64
    loss = (p * (log_p - log_q)).sum(dtype=wide).item() / len(p)
    return loss, (-p / len(p)).astype(log_q.dtype, copy=False)
