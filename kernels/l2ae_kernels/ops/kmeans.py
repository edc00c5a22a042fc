"""The heavy parts of k-means."""

from l2ae_kernels.arrays import Array, device_name, is_dask
from l2ae_kernels.geometry import require_shape
from l2ae_kernels.operations import pick
from l2ae_kernels.ops.checks import count, inputs, readable, require_array
from l2ae_kernels.reference.restarts import Restarts
from l2ae_kernels.samples import PartedSamples


def assign(x: Array, centers: Array, *, impl: str | None = None) -> tuple[Array, Array]:
    """Nearest center of a sample: labels int32 (n,), squared distances (n,); ties take the first.

    x (n, d), centers (k, d). A distance that is NaN counts as infinite: no center is nearest by
    it, and a sample with no other has label 0 and an infinite distance. Raises ValueError when an
    argument does not fit.
    """
    x, centers = inputs("assign", x, centers)
    labels, distances = pick("assign", x, impl, len(centers))(x, centers)
    return labels, distances


def update(x: Array, labels: Array, k: int, *, impl: str | None = None) -> tuple[Array, Array]:
    """Sums of the samples of each cluster, float64 (k, d), and their counts, int64 (k,).

    Raises ValueError when an argument does not fit, or a label is not one of 0 … k − 1.
    """
    (x,) = inputs("update", x)
    require_array("update", "labels", labels)
    require_shape("update", "labels", labels.shape, x.shape[:1])
    if labels.dtype.kind not in "iu" or device_name(labels) != device_name(x):
        found = f"{labels.dtype} on {device_name(labels)}"
        raise ValueError(f"update: labels are {found} but expected integers where x is")
    k, native = count("update", "k", k), labels.astype(labels.dtype.newbyteorder("="), copy=False)
    here = device_name(x) != "cuda"  # a device looks at them itself, with what it reads anyway
    if here and native.size and not 0 <= int(native.min()) <= int(native.max()) < k:
        found = f"{native.min()} to {native.max()}"
        raise ValueError(f"update: labels span {found} but expected 0 to {k - 1}")
    sums, counts = pick("update", x, impl)(x, readable(native), k)
    return sums, counts


def restarts(x: Array, k: int, runs: int, *, impl: str | None = None) -> Restarts:
    """Several Lloyd runs over the samples x (n, d) with k centers each, see `Restarts`.

    x may be a Dask array. Raises ValueError when an argument does not fit.
    """
    if not (isinstance(x, PartedSamples) or is_dask(x)):
        (x,) = inputs("restarts", x)
    k, runs = count("restarts", "k", k), count("restarts", "runs", runs)
    made: Restarts = restarts_class(x, k, impl)(x, k, runs)
    return made


def restarts_class(x: Array, k: int, impl: str | None = None) -> type[Restarts]:
    """The class of `restarts(x, k, …)`: it knows what memory a run takes."""
    if not (isinstance(x, PartedSamples) or is_dask(x)):
        require_array("restarts", "x", x)
    picked: type[Restarts] = pick("restarts", x, impl, k)  # type: ignore[assignment]
    return picked
