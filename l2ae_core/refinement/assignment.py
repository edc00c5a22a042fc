"""Soft assignments q of codes to K centers, their sharpened target p, and KL(P‖Q).

    StudentAssignment     a Student's t around each center: DEC
    SphericalAssignment   a von Mises–Fisher density around each direction, for unit codes

Sources: Xie, Girshick, Farhadi, "Unsupervised Deep Embedding for Clustering Analysis", ICML 2016;
Banerjee, Dhillon, Ghosh, Sra, "Clustering on the Unit Hypersphere using von Mises–Fisher
Distributions", JMLR 6, 2005.
"""

from dataclasses import dataclass

import numpy as np

from l2ae_core.images import parts
from l2ae_core.layers.base import Cache, Layer, Params, Shape
from l2ae_core.layers.normalize import L2Normalize
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, array_module
from l2ae_kernels.ops.checks import number

CHUNK = 4096  # samples whose differences to all centers are held at a time


@dataclass(eq=False)
class Assignment(Layer):
    """Log of the soft assignment q of codes x (N, D) to K centers: y = log q (N, K).

    The loss takes the log: no q is so small that it divides by zero.

    Raises ValueError when the centers are not a matrix, or a code does not fit.
    """

    centers: Array  # (K, D)

    def __post_init__(self) -> None:
        if self.centers.ndim != 2 or not self.centers.size:
            raise ValueError(
                f"{type(self).__name__}: centers is {self.centers.shape} but expected (K, D)"
            )

    @property
    def params(self) -> Params:
        return {"centers": self.centers}

    def output_shape(self, input_shape: Shape) -> Shape:
        K, D = self.centers.shape
        if input_shape != (D,):
            raise ValueError(f"{self}: sample has shape {input_shape}, expected {(D,)}")
        return (K,)

    def log_q(self, x: Array) -> Array:
        """Return log q (N, K) of any number of codes x (N, D), some at a time."""
        parts = [self.forward(x[i : i + CHUNK])[0] for i in range(0, max(len(x), 1), CHUNK)]
        joined: Array = array_module(x).concatenate(parts)
        return joined


@dataclass(eq=False)
class StudentAssignment(Assignment):
    """A Student's t of α degrees of freedom around each center μ; s scales the squared distance.

        w_ij = 1 / (1 + s |z_i − μ_j|²/α)                           z (N, D), μ (K, D), w (N, K)
        q_ij = w_ij^((α+1)/2) / Σ_j' w_ij'^((α+1)/2),  y = log q                        y (N, K)

        c_ij = dy_ij − q_ij Σ_j' dy_ij'
        dz_i = −s (α+1)/α Σ_j w_ij c_ij (z_i − μ_j)
        dμ_j =  s (α+1)/α Σ_i w_ij c_ij (z_i − μ_j)

    Differences are subtracted, not expanded to |z|² − 2zμ + |μ|², which would cancel where a code
    meets a center.

    Raises ValueError as Assignment does, and when α or s is not positive.
    """

    alpha: float = 1.0
    scale: float = 1.0  # s; 1 in DEC

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "scale"):
            number("StudentAssignment", name, getattr(self, name), positive=True)

    def __repr__(self) -> str:
        K, D = self.centers.shape
        return f"{type(self).__qualname__}({D} -> {K}, alpha={self.alpha}, scale={self.scale})"

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        z = x
        self.output_shape(z.shape[1:])
        difference = z[:, None, :] - self.centers  # (N, K, D)
        far = self.scale / self.alpha * (difference * difference).sum(axis=-1)  # (N, K)
        y = _log_softmax(-(self.alpha + 1) / 2 * array_module(z).log1p(far))
        return y, (difference, 1 / (1 + far), y)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        difference, w, y = cache
        c = _log_softmax_adjoint(dy, y)  # (N, K)
        pull = self.scale * (self.alpha + 1) / self.alpha
        attraction = (pull * w * c)[:, :, None] * difference  # (N, K, D)
        return -attraction.sum(axis=1), {"centers": attraction.sum(axis=0)}


@dataclass(eq=False)
class SphericalAssignment(Assignment):
    """A von Mises–Fisher density of one concentration κ around each direction m, equal weights.

        m_j  = c_j / |c_j|                                          u (N, D), c (K, D), m (K, D)
        q_ij = exp(κ u_i·m_j) / Σ_j' exp(κ u_i·m_j'),  y = log q                        y (N, K)

        g_ij = dy_ij − q_ij Σ_j' dy_ij'
        du_i = κ Σ_j g_ij m_j
        dm_j = κ Σ_i g_ij u_i,  dc_j = (dm_j − m_j ⟨m_j, dm_j⟩) / |c_j|                       Eq. 4

    The densities have one normalizing constant, since κ is one number, and it cancels. The codes u
    are taken as they are: of unit length with the constraint of Eq. 4, whose Jacobian is the
    network's. Only the directions of the centers count.

    Raises ValueError as Assignment does, and when κ is not positive.
    """

    concentration: float = 5.0  # κ

    def __post_init__(self) -> None:
        super().__post_init__()
        number("SphericalAssignment", "concentration", self.concentration, positive=True)

    def __repr__(self) -> str:
        K, D = self.centers.shape
        return f"{type(self).__qualname__}({D} -> {K}, concentration={self.concentration})"

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        u = x
        self.output_shape(u.shape[1:])
        m, normalize_cache = L2Normalize().forward(self.centers)  # (K, D)
        W = self.concentration * m.T  # (D, K)
        y = _log_softmax(ops.dense(u, W))  # (N, K)
        return y, (u, W, normalize_cache, y)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        u, W, normalize_cache, y = cache
        g = _log_softmax_adjoint(dy, y)  # (N, K)
        dm = self.concentration * ops.dense_adjoint_W(u, g).T  # (K, D)
        dc, _ = L2Normalize().backward(dm, normalize_cache)
        return ops.dense_adjoint_x(g, W), {"centers": dc}


def _log_softmax(s: Array) -> Array:
    """Return s − log Σ_j exp(s_j) of every row of s (N, K); the largest real part is taken off."""
    xp = array_module(s)
    s = s - s.real.max(axis=1, keepdims=True)
    y: Array = s - xp.log(xp.exp(s).sum(axis=1, keepdims=True))
    return y


def _log_softmax_adjoint(dy: Array, y: Array) -> Array:
    """Return ds = dy − exp(y) Σ_j dy_j, for y (N, K) of `_log_softmax`."""
    ds: Array = dy - array_module(y).exp(y) * dy.sum(axis=1, keepdims=True)
    return ds


def target_distribution(q: Array, out: Array | None = None) -> Array:
    """Return the target p (N, K) of soft assignments q (N, K) of ALL the data.

        f_j = Σ_i q_ij,   p_ij = (q_ij²/f_j) / Σ_j' (q_ij'²/f_j')

    The square trusts confident assignments more; f_j keeps large clusters from growing at the cost
    of small ones. The sums f_j are over the data set: those of a mini-batch are another target.
    Computed in float64 of some samples at a time, returned in the dtype of q, in `out`, which may
    be q itself. An empty cluster, f_j = 0, has p_ij = 0.

    Raises ValueError when q is not (N, K) with N, K ≥ 1.
    """
    if q.ndim != 2 or not q.size:
        raise ValueError(f"target_distribution: q is {q.shape} but expected (N, K), N and K ≥ 1")
    xp = array_module(q)
    f = q[:0].sum(axis=0, dtype=np.float64)  # (K,)
    for part in parts(len(q)):  # row after row, as in one sum
        f = xp.concatenate([f[None], q[part].astype(np.float64)]).sum(axis=0)
    p: Array = xp.empty_like(q) if out is None else out
    for part in parts(len(q)):
        wide = q[part].astype(np.float64)
        weight = wide * (wide / xp.where(f > 0, f, 1))
        p[part] = weight / weight.sum(axis=1, keepdims=True)
    return p


def kl_divergence(log_q: Array, p: Array) -> tuple[float, Array]:
    """Return KL(P‖Q) a sample, for log q (N, K) and a fixed target p (N, K), and dlog_q.

        loss = 1/N Σ_ij p_ij (log p_ij − log q_ij)        0 log 0 = 0          dlog_q = −p / N

    With StudentAssignment behind it, whose c is (q − p)/N then, this is, for s = 1, DEC's gradient

        dz_i = (α+1)/(α N) Σ_j w_ij (p_ij − q_ij) (z_i − μ_j)

    and dμ_j the same with −Σ_i. Keras's `kld` means the same N; the paper's sum over all samples
    has no 1/N. Summed in float64; complex where log_q is complex.

    Raises ValueError when the shapes differ or N is 0.
    """
    return divergence(log_q, p), (-p / len(p)).astype(log_q.dtype, copy=False)


def divergence(log_q: Array, p: Array, terms: Array | None = None) -> float:
    """Return KL(P‖Q) as `kl_divergence` does; its terms are left in `terms`, which may be log_q."""
    if log_q.shape != p.shape or not p.size:
        raise ValueError(
            f"kl_divergence: log_q is {log_q.shape} and p is {p.shape} but expected one (N, K), "
            "N and K ≥ 1"
        )
    xp = array_module(log_q)
    if terms is None:
        terms = xp.empty(p.shape, xp.result_type(p, log_q))
    for part in parts(len(p)):
        log_p = xp.log(xp.where(p[part] > 0, p[part], 1))
        terms[part] = p[part] * (log_p - log_q[part])
    wide = np.complex128 if np.iscomplexobj(log_q) else np.float64
    loss: float = terms.sum(dtype=wide).item() / len(p)
    return loss
