"""What every operation asks of its arguments."""

from l2ae_kernels.arrays import Array, array_module, get_place
from l2ae_kernels.geometry import require_shape


def output(operation: str, out: Array | None, shape: tuple[int, ...], like: Array) -> Array:
    """Return `out`, checked, or a new array of `shape` with the dtype and the place of `like`."""
    if out is None:
        return array_module(like).empty_like(like, order="C", shape=shape)  # type: ignore[no-any-return]
    require_shape(operation, "out", out.shape, shape)
    if out.dtype != like.dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"{operation}: out must be C-contiguous {like.dtype}, it is {out.dtype} with strides "
            f"{out.strides}"
        )
    return out


def same(operation: str, **arrays: Array | None) -> list[Array | None]:
    """Check that all arrays have one dtype and one place, and return them C-contiguous."""
    if len({a.dtype for a in arrays.values() if a is not None}) != 1:
        found = {name: str(a.dtype) for name, a in arrays.items() if a is not None}
        raise ValueError(f"{operation}: arguments must have one dtype, they have {found}")
    if len({get_place(a) for a in arrays.values() if a is not None}) != 1:
        found = {name: get_place(a) for name, a in arrays.items() if a is not None}
        raise ValueError(f"{operation}: arguments must be in one memory, they are on {found}")
    return [None if a is None else contiguous(a) for a in arrays.values()]


def contiguous(a: Array) -> Array:
    """Return a itself where it is C-contiguous, else a copy."""
    return a if a.flags.c_contiguous else a.copy(order="C")


def require_axes(operation: str, **arrays: tuple[Array, int]) -> None:
    """Check how many axes each array has."""
    for name, (a, axes) in arrays.items():
        if a.ndim != axes:
            raise ValueError(f"{operation}: {name} must have {axes} axes, it has shape {a.shape}")
