"""The heavy parts of k-means."""

from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import require_shape
from l2ae_kernels.implementations import pick
from l2ae_kernels.ops.checks import require_axes, same
from l2ae_kernels.reference.restarts import Restarts


def assign(x: Array, centers: Array, *, rung: str | None = None) -> tuple[Array, Array]:
    """Nearest centre of each point: labels int32 (n,), squared distances (n,); ties take the first.

    x (n, d), centers (k, d). Raises ValueError when shapes or dtypes do not fit.
    """
    require_axes("assign", x=(x, 2), centers=(centers, 2))
    if x.shape[1] != centers.shape[1]:
        raise ValueError(f"assign: x is {x.shape} but centers are {centers.shape}: features differ")
    x, centers = same("assign", x=x, centers=centers)  # type: ignore[assignment]
    labels, distances = pick("assign", x, rung)(x, centers)
    return labels, distances


def update(x: Array, labels: Array, k: int, *, rung: str | None = None) -> tuple[Array, Array]:
    """Sums of the points of each cluster, float64 (k, d), and their counts, int64 (k,)."""
    require_axes("update", x=(x, 2), labels=(labels, 1))
    require_shape("update", "labels", labels.shape, x.shape[:1])
    (x,) = same("update", x=x)  # type: ignore[assignment]
    sums, counts = pick("update", x, rung)(x, labels, k)
    return sums, counts


def restarts(x: Array, k: int, runs: int, *, rung: str | None = None) -> Restarts:
    """Several Lloyd runs over the points x (n, d) with k centers each, see `Restarts`."""
    require_axes("restarts", x=(x, 2))
    (x,) = same("restarts", x=x)  # type: ignore[assignment]
    made: Restarts = restarts_class(x, rung)(x, k, runs)
    return made


def restarts_class(x: Array, rung: str | None = None) -> type[Restarts]:
    """The class of `restarts(x, …)`: it knows what memory a run takes."""
    picked: type[Restarts] = pick("restarts", x, rung)  # type: ignore[assignment]
    return picked
