"""What every operation asks of its arguments, once, before a kernel sees an address.

The table has the axes of every array argument. A letter is one length wherever it stands, at least
1 unless it is one of EMPTY; a number is that length; `...` is any axes, the same in all arguments
of the operation. An argument with ? may be None.
"""

from itertools import combinations
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array, array_module, device_name
from l2ae_kernels.geometry import require_shape
from l2ae_kernels.stages import REAL

AXES: dict[str, dict[str, str]] = {
    "correlate": {"x": "N H W C", "W": "kh kw C K", "b?": "K"},
    "correlate_adjoint_x": {"y": "N OH OW K", "W": "kh kw C K", "b?": "C"},
    "correlate_adjoint_W": {"x": "N H W C", "y": "N OH OW K"},
    "dense": {"x": "N I", "W": "I O", "b?": "O"},
    "dense_adjoint_x": {"dy": "N O", "W": "I O"},
    "dense_adjoint_W": {"x": "N I", "dy": "N O"},
    "bias_adjoint": {"dy": "... C"},
    "leaky_relu": {"x": "..."},
    "leaky_relu_adjoint": {"y": "...", "dy": "..."},
    "l2_normalize": {"z": "... C"},
    "l2_normalize_adjoint": {"u": "... C", "du": "... C", "n": "... 1"},
    "moments": {"x": "... C"},
    "batch_norm": {"x": "... C", "mean": "C", "sigma": "C", "gamma?": "C", "beta?": "C"},
    "batch_norm_adjoint": {"x": "... C", "dy": "... C", "mean": "C", "sigma": "C", "gamma?": "C"},
    "layer_norm": {"x": "... C", "gamma?": "C", "beta?": "C"},
    "layer_norm_adjoint": {"x": "... C", "dy": "... C", "gamma?": "C"},
    "squared_error": {"y": "...", "x": "..."},
    "squared_error_adjoint": {"y": "...", "x": "..."},
    "adam_step": {"g": "..."},  # p, m and v are written
    "warp": {"x": "N H W C", "maps": "N 2 3"},
    "assign": {"x": "N d", "centers": "k d"},
    "update": {"x": "N d"},
    "restarts": {"x": "n d"},
}
EMPTY = frozenset({"N", "I", "O"})  # samples; a sum over no features is 0
FIXED = {"1": 1, "2": 2, "3": 3}
_ROWS = {
    operation: [(name.rstrip("?"), name[-1] == "?", axes.split()) for name, axes in row.items()]
    for operation, row in AXES.items()
}
MOST = 2**31 - 1  # of a count: labels are int32
LARGEST = float(np.finfo(np.float32).max)


def inputs(operation: str, *arrays: Any) -> list[Any]:
    """Check the arrays of an operation, in the order of the table, and return them for a kernel.

    Arrays of the host come back C-contiguous, aligned and read-only, as plain arrays: copies
    where they are not so. Raises ValueError for what is no array, for axes that do not fit, and
    for more than one dtype or device.
    """
    sizes: dict[str, Any] = dict(FIXED)
    ready: list[Any] = []
    dtype, device = None, None
    for (name, optional, axes), a in zip(_ROWS[operation], arrays, strict=True):
        if a is None and optional:
            ready.append(None)
            continue
        require_array(operation, name, a)
        if not _fits(axes, a.shape, sizes):
            expected = _expected(axes, sizes) + " without an empty axis" * (0 in a.shape)
            raise ValueError(f"{operation}: {name} has shape {a.shape}, expected {expected}")
        if dtype is None:
            dtype, device = a.dtype, device_name(a)
        elif a.dtype != dtype or device_name(a) != device:
            raise _mixed(operation, arrays)
        ready.append(readable(a))
    return ready


def _mixed(operation: str, arrays: tuple[Any, ...]) -> ValueError:
    """The error for arrays that differ in dtype or device."""
    pairs = zip(_ROWS[operation], arrays, strict=True)
    there = {name: a for (name, _, _), a in pairs if a is not None}
    dtypes = {name: str(a.dtype) for name, a in there.items() if hasattr(a, "dtype")}
    if len(set(dtypes.values())) > 1:
        return ValueError(f"{operation}: arguments must have one dtype, they have {dtypes}")
    devices = {name: device_name(a) for name, a in there.items()}
    return ValueError(f"{operation}: arguments must be in one memory, they are on {devices}")


def require_array(operation: str, name: str, a: Any) -> None:
    """Raise ValueError unless a is an array of NumPy or CuPy; one with a mask is none."""
    if type(a) is np.ndarray:
        return
    if isinstance(a, np.ma.MaskedArray):
        raise ValueError(f"{operation}: {name} is a masked array, whose mask would be lost")
    cupys = hasattr(a, "__cuda_array_interface__") and isinstance(a.dtype, np.dtype)
    if not (cupys or isinstance(a, np.ndarray)):
        raise ValueError(f"{operation}: {name} is {type(a).__name__} but expected an array")


def _fits(axes: list[str], shape: tuple[int, ...], sizes: dict[str, Any]) -> bool:
    """Whether the shape has these axes; their lengths are kept in `sizes`."""
    if axes[0] == "...":
        rest = len(shape) - len(axes) + 1
        if rest < 0 or sizes.setdefault("...", shape[:rest]) != shape[:rest]:
            return False
        axes, shape = axes[1:], shape[rest:]
    if len(shape) != len(axes):
        return False
    for axis, length in zip(axes, shape, strict=True):  # a loop: this is in every call
        if sizes.setdefault(axis, length) != length or (length == 0 and axis not in EMPTY):
            return False
    return True


def _expected(axes: list[str], sizes: dict[str, Any]) -> str:
    """The axes in words, with the lengths that other arguments gave them."""
    words: list[str] = []
    for axis in axes:
        known = sizes.get(axis)
        if axis == "..." and known is not None:
            words += map(str, known)
        else:
            words.append(str(known) if known else axis)
    return f"({', '.join(words)}{',' * (len(words) == 1)})"


def readable(a: Array) -> Array:
    """Return a as kernels read it; one kind of array for all, so that Numba compiles once."""
    flags = a.flags
    if type(a) is not np.ndarray and device_name(a) != "cpu":
        return a if flags.c_contiguous else a.copy(order="C")
    a = a.view(np.ndarray) if flags.c_contiguous and flags.aligned else np.array(a, order="C")
    a.setflags(write=False)
    return a


def output(operation: str, out: Array | None, shape: tuple[int, ...], *read: Array | None) -> Array:
    """Return `out`, checked, as a plain array, or a new one with dtype and device of read[0].

    `read` are the inputs, which `out` may not overlap. Raises ValueError.
    """
    like = read[0]
    assert like is not None
    if out is None:
        if device_name(like) == "cuda":
            from l2ae_kernels.cuda.device import device_of  # not where all arrays are the host's

            return device_of(like).empty(shape, like.dtype)
        return array_module(like).empty_like(like, order="C", shape=shape)  # type: ignore[no-any-return]
    target = writable(operation, "out", out, shape, like)
    share = array_module(target).may_share_memory  # bounds: exact for contiguous arrays
    for a in read:
        if a is not None and share(target, a):
            raise ValueError(f"{operation}: out shares memory with an input")
    return target


def writable(operation: str, name: str, a: Any, shape: tuple[int, ...], like: Array) -> Array:
    """Return a as a plain array that a kernel can write to: of the dtype and device of `like`.

    Raises ValueError where a is not so, or not C-contiguous, aligned and writable.
    """
    require_array(operation, name, a)
    require_shape(operation, name, a.shape, shape)
    flags, device = a.flags, device_name(a)
    if a.dtype != like.dtype or not flags.c_contiguous:
        raise ValueError(
            f"{operation}: {name} must be C-contiguous {like.dtype}, it is {a.dtype} with strides "
            f"{a.strides}"
        )
    if device != device_name(like):
        raise ValueError(f"{operation}: {name} is on {device}, the rest on {device_name(like)}")
    if isinstance(a, np.ndarray) and not flags.behaved:
        raise ValueError(f"{operation}: {name} must be writable and aligned")
    writable: Array = a.view(np.ndarray) if device == "cpu" else a
    return writable


def require_apart(operation: str, **arrays: Array) -> None:
    """Raise ValueError when two of the arrays, all C-contiguous, share memory."""
    share = array_module(next(iter(arrays.values()))).may_share_memory
    for (one, a), (other, b) in combinations(arrays.items(), 2):
        if share(a, b):
            raise ValueError(f"{operation}: {one} and {other} share memory")


def number(
    operation: str, name: str, value: Any, *, positive: bool = False, most: float = LARGEST
) -> float:
    """Return a number from 0 to `most`, not 0 itself if `positive`; ValueError for others."""
    real = isinstance(value, REAL) and not isinstance(value, bool)
    if not (real and 0 <= value <= most) or (positive and value == 0):
        limit = f" and ≤ {most:g}" if most < LARGEST or (real and value > most) else ""
        expected = f"a number {'>' if positive else '≥'} 0{limit}"
        raise ValueError(f"{operation}: {name} is {value!r} but expected {expected}")
    return float(value)


def count(operation: str, name: str, value: Any, *, least: int = 1, most: int = MOST) -> int:
    """Return an integer from `least` to `most`; ValueError for anything else."""
    integer = type(value) is int or isinstance(value, np.integer)  # True is no number
    if not (integer and least <= value <= most):
        expected = f"an integer ≤ {most}" if integer and value > most else f"an integer ≥ {least}"
        raise ValueError(f"{operation}: {name} is {value!r} but expected {expected}")
    return int(value)


def pair(operation: str, name: str, value: Any, *, least: int = 1) -> tuple[int, int]:
    """Return two integers ≥ `least`; one stands for both."""
    first, second = value, value
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{operation}: {name} is {value!r} but expected two integers")
        first, second = value
    return (
        count(operation, name, first, least=least),
        count(operation, name, second, least=least),
    )


def zeros(operation: str, padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return padding as ((top, bottom), (left, right)); one integer stands for all four."""
    each = isinstance(padding, (tuple, list))
    pairs = each and len(padding) == 2 and all(isinstance(p, (tuple, list)) for p in padding)
    if isinstance(padding, str) or each != pairs:
        raise ValueError(
            f"{operation}: padding is {padding!r} but expected ((top, bottom), (left, right)), "
            "one integer, 'same' or 'valid'"
        )
    rows, columns = padding if each else (padding, padding)
    return (
        pair(operation, "padding", rows, least=0),
        pair(operation, "padding", columns, least=0),
    )
