"""Calls drawn by chance: arguments that fit, and in most calls one or two things that are odd."""

from typing import Any

import numpy as np
from calls import NO_BUFFER, Call
from guarded import LAYOUTS, Array, Memory

from l2ae_kernels.cpu.codegen.vectors import SETS
from l2ae_kernels.operations import IMPLEMENTATIONS
from l2ae_kernels.ops.checks import AXES, FIXED
from l2ae_kernels.stages import AdamSettings

SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 33)
DTYPES = ("float32",) * 8 + ("float64",) * 3 + ("complex128",)
NO_NUMBERS: tuple[Any, ...] = (
    -1, 0, 1, 2, 3, -2.5, 0.5, 1.0, True, None, "same", "", b"1", 1j, np.nan, np.inf, 2**31, 2**63,
    -(2**63), 10**400, 1e300, (1,), (1, 2, 3), (0, 1), (2, 1), [1, 2], (-1, 2), (1.0, 1),
    ((1, 1), (0, 0)), ((0, -1), (0, 0)), ((1, 2), (3,)), ((2**31, 0), (0, 0)), ((1.5, 0), (0, 0)),
    np.int64(2), np.float32(1), {}, object, np.zeros(2), np.array(1), AdamSettings(), AdamSettings,
)  # fmt: skip
NO_ARRAYS: tuple[Any, ...] = (
    None, 0, 1.5, "x", b"", [], [[1.0, 2.0]], (), {}, object(), np.float32(1), np.ma.ones((2, 3)),
    np.array(3.0), np.zeros(0), np.zeros((0, 0, 0, 0), "f4"), np.array([["a"]]), np.ma.masked,
)  # fmt: skip
OTHER_DTYPES = ("f2", "f4", "f8", ">f4", "g", "c8", "c16", "i1", "i4", "u8", ">i4", "?", "O", "U2",
                "M8[s]", "f4,i4")  # fmt: skip
EXTREMES = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0)
RUNGS = (3, "", "fastest", ["reference"], None, b"tiled")


def draw(rng: np.random.Generator, threads: int) -> Call:
    """Draw a call of one of the operations."""
    operation = str(rng.choice(sorted(AXES)))
    arrays, numbers = fitting(operation, rng, str(rng.choice(DTYPES)))
    rungs = IMPLEMENTATIONS[operation]
    named = {} if rng.random() < 0.3 else {"impl": str(rng.choice(list(rungs)))}
    rung = rungs.get(named.get("impl", list(rungs)[-1]))
    if rung is not None and rung.on != "cpu" and rng.random() < 0.9:
        named = {}
    vectors = str(rng.choice([*SETS, "none"]))
    call = Call(operation, {}, vectors, int(rng.integers(1, threads + 1)), Memory(), [])
    values = arrays | numbers | named
    for _ in range(rng.choice([0, 0, 1, 2])):
        _spoil(call, values, list(arrays), rng)
    written = ("p", "m", "v")
    for name, value in values.items():
        if type(value) is np.ndarray and value.dtype.kind in "fciub":
            layout = (
                "plain" if name in written or rng.random() < 0.6 else str(rng.choice(list(LAYOUTS)))
            )
            value = call.memory.copy(value, layout, keep=name not in written)
        call.arguments[name] = value
    if operation not in NO_BUFFER and rng.random() < 0.4:
        _give_buffer(call, rng)
    if rng.random() < 0.06:
        _overlap(call, rng)
    return call


def fitting(
    operation: str, rng: np.random.Generator, dtype: str
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays and numbers that belong together."""
    lengths: dict[str, Any] = FIXED | {
        axis: int(rng.choice(SIZES)) for axis in ("N", "C", "K", "I", "O", "n", "k", "d")
    }
    if rng.random() < 0.05:
        lengths["N"] = 0
    if rng.random() < 0.3:
        lengths |= {axis: int(rng.choice((48, 64, 65, 100, 130))) for axis in ("I", "O", "d")}
    numbers: dict[str, Any] = _geometry(rng, lengths) if operation.startswith("corr") else {}
    if operation == "correlate_adjoint_x":
        numbers["image_size"] = (lengths["H"], lengths["W"])
    if operation == "correlate_adjoint_W":
        numbers["kernel_size"] = (lengths["kh"], lengths["kw"])
    if "leaky" in operation:
        numbers["slope"] = float(rng.choice([0, 0.3, 1, 2]))
    if operation == "squared_error_adjoint":
        numbers["dE"] = float(rng.choice([0, 0.3, 1]))
    if operation == "l2_normalize":
        numbers["eps"] = float(rng.choice([1e-6, 0.1]))
    if operation.startswith("layer"):
        numbers["eps"] = float(rng.choice([0.0, 1e-3, 0.1, 1.0]))
    if operation == "batch_norm_adjoint":
        numbers["of_batch"] = bool(rng.integers(2))
    if operation == "warp":
        lengths |= {axis: int(rng.choice(SIZES)) for axis in "HW"}
    if operation in ("update", "restarts"):
        numbers["k"] = lengths["k"]
    if operation == "restarts":
        numbers["runs"] = int(rng.integers(1, 4))
    if operation == "adam_step":
        betas = float(rng.choice([0, 0.5, 0.9])), float(rng.choice([0, 0.9, 0.999, 1 - 1e-9]))
        numbers["settings"] = AdamSettings(
            10.0 ** rng.integers(-5, 1),
            *betas,
            float(rng.choice([1e-8, 0.1])),
            str(rng.choice(["keras", "torch"])),
        )
        numbers["step"] = int(rng.choice([1, 2, 1000, 10**9]))
    leading = tuple(int(n) for n in rng.choice(SIZES, rng.integers(0, 4)))[:2]
    if rng.random() < 0.05:
        leading = (*leading, 0)
    arrays: dict[str, Array] = {}
    names = AXES[operation] | (
        {"p": "...", "m": "...", "v": "..."} if operation == "adam_step" else {}
    )
    for name, axes in names.items():
        if name[-1] == "?" and rng.random() < 0.3:
            continue
        shape = [n for a in axes.split() for n in (leading if a == "..." else (lengths[a],))]
        arrays[name.rstrip("?")] = draw_numbers(rng, shape, dtype)
    for name in {"sigma", "v", "n"} & set(arrays):
        arrays[name] = np.abs(arrays[name]).astype(dtype) + np.dtype(dtype).type(0.01)
    if operation == "warp" and rng.random() < 0.7:  # most places are inside
        arrays["maps"] = (np.eye(2, 3) + arrays["maps"] / 8).astype(dtype)
    if operation == "update":
        kind = str(rng.choice(["i4", "i8", "u1", ">i4"]))
        arrays["labels"] = rng.integers(0, lengths["k"], lengths["N"]).astype(kind)
    return arrays, numbers


def _geometry(rng: np.random.Generator, lengths: dict[str, Any]) -> dict[str, Any]:
    """Strides and padding, with lengths that they fit; a quarter are layers for Winograd."""
    if rng.random() < 0.25:
        side = int(rng.choice([8, 12, 14, 16]))
        lengths |= {"H": side, "W": side, "kh": 5, "kw": 5, "OH": side // 2, "OW": side // 2,
                    "C": int(rng.choice([16, 32])), "K": int(rng.choice([16, 32, 64])),
                    "N": int(rng.integers(0, 20))}  # fmt: skip
        return {"stride": (2, 2), "padding": ((1, 2), (1, 2))}
    stride, padding = [], []
    for image, kernel, out in (("H", "kh", "OH"), ("W", "kw", "OW")):
        k, s = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        before, after = (int(n) for n in rng.choice([0, 0, 1, 2, 6], 2))
        length = int(rng.integers(max(1, k - before - after), 15))
        lengths |= {image: length, kernel: k, out: (length + before + after - k) // s + 1}
        stride.append(s)
        padding.append((before, after))
    return {"stride": tuple(stride), "padding": tuple(padding)}


def draw_numbers(rng: np.random.Generator, shape: Any, dtype: str) -> Array:
    a = np.asarray(rng.standard_normal(shape), dtype)
    if np.dtype(dtype).kind == "c":
        a = a + np.asarray(1j * rng.standard_normal(shape), dtype)
    if rng.random() < 0.05 and a.size:
        a.reshape(-1)[rng.integers(a.size)] = rng.choice(EXTREMES)
    return a


def _spoil(call: Call, values: dict[str, Any], arrays: list[str], rng: np.random.Generator) -> None:
    """Change one thing."""
    numbers = [name for name in values if name not in arrays and name != "impl"]
    kind = rng.choice(["shape", "shape", "shape", "dtype", "no array", "impl", *["number"] * 3])
    name = str(rng.choice(numbers if kind == "number" and numbers else arrays))
    value = values.get(name)
    call.odd.append(f"{kind} of {name}")
    if kind == "impl":
        values["impl"] = RUNGS[rng.integers(len(RUNGS))]
    elif kind == "number" and numbers:
        values[name] = NO_NUMBERS[rng.integers(len(NO_NUMBERS))]
    elif kind == "no array":
        values[name] = NO_ARRAYS[rng.integers(len(NO_ARRAYS))]
    elif kind == "dtype" and isinstance(value, np.ndarray):
        values[name] = cast(value, str(rng.choice(OTHER_DTYPES)))
    elif isinstance(value, np.ndarray):
        values[name] = another_shape(value, rng)


def cast(a: Array, dtype: str) -> Array:
    """Return a in another dtype, or zeros where it has none of its numbers there."""
    if a.dtype.kind not in "fiub" or "," in dtype or "M" in dtype:
        return np.zeros(a.shape, dtype)
    with np.errstate(all="ignore"):
        return a.astype(dtype)


def another_shape(a: Array, rng: np.random.Generator) -> Array:
    if not a.ndim or rng.random() < 0.2:
        return a[None] if rng.random() < 0.5 or not a.ndim else a.reshape(-1)
    axis = int(rng.integers(a.ndim))
    length = int(rng.choice([0, 1, 2, 3, a.shape[axis] - 1, a.shape[axis] + 1, 2 * a.shape[axis]]))
    return np.take(a, np.arange(max(0, length)), axis=axis, mode="wrap") if a.size else a[None]


def _give_buffer(call: Call, rng: np.random.Generator) -> None:
    """Add `out`: in most cases one that fits."""
    try:
        found = call.make()  # the result says what fits
    except ValueError:
        found = np.zeros((3, 4), "f4")
    result = found[0] if isinstance(found, tuple) else found
    out = np.zeros(result.shape, result.dtype)
    if rng.random() < 0.25:
        call.odd.append("shape of out")
        out = another_shape(out, rng)
    if rng.random() < 0.1:
        call.odd.append("dtype of out")
        out = out.astype(str(rng.choice(["f4", "f8", ">f4", "i4"])))
    layout = "plain" if rng.random() < 0.7 else str(rng.choice(list(LAYOUTS)))
    call.arguments["out"] = call.memory.copy(out, layout, keep=False)


def _overlap(call: Call, rng: np.random.Generator) -> None:
    """Let two arrays share memory."""
    arrays = [
        n for n, a in call.arguments.items() if type(a) is np.ndarray and a.flags.c_contiguous
    ]
    if len(arrays) < 2:
        return
    one, other = (str(name) for name in rng.choice(arrays, 2, replace=False))
    a, b = call.arguments[one], call.arguments[other]
    if a.dtype == b.dtype and a.size >= b.size and b.size:
        first = int(rng.integers(a.size - b.size + 1))
        call.arguments[other] = a.reshape(-1)[first : first + b.size].reshape(b.shape)
        call.odd.append(f"{other} is a part of {one}")
        if other in ("out", "p", "m", "v") or one in ("out", "p", "m", "v"):
            call.memory.read.clear()  # one of them may be written to
