"""What an operation refuses: by name, before anything is written, on every device."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.operations import IMPLEMENTATIONS
from l2ae_kernels.ops.checks import AXES, EMPTY
from l2ae_kernels.samples import PartedSamples
from l2ae_kernels.stages import AdamSettings

from .arguments import NUMBERS, READ, WITH_OUT, draw_arrays

OPERATIONS = sorted(AXES)
NO_ARRAYS = [None, 3, "x", [[1.0, 2.0]], np.float32(1)]


def refused(operation: str, name: str, **arguments: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{operation}: .*\b{re.escape(name)}\b"):
        getattr(ops, operation)(**arguments)


def not_so_long(a: Array) -> Iterator[Array]:
    """Arrays that lack an axis or have one too many."""
    yield a[0]
    yield a[None]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_axes(operation: str) -> None:
    arrays, numbers = draw_arrays(operation), NUMBERS.get(operation, {})
    for name, axes in AXES[operation].items():
        if "..." in axes:
            continue
        for a in not_so_long(arrays[name.rstrip("?")]):
            refused(operation, name.rstrip("?"), **arrays | {name.rstrip("?"): a}, **numbers)


@pytest.mark.parametrize(
    "operation", sorted(set(OPERATIONS) - {"leaky_relu", "leaky_relu_adjoint"})
)
def test_empty_axes(operation: str) -> None:
    arrays, numbers = draw_arrays(operation), NUMBERS.get(operation, {})
    for name, axes in AXES[operation].items():
        for i, axis in enumerate(axes.split()):
            if axis not in (*EMPTY, "..."):
                a = arrays[name.rstrip("?")]
                none = np.take(a, [], axis=i - len(axes.split()))
                refused(operation, name.rstrip("?"), **arrays | {name.rstrip("?"): none}, **numbers)


@pytest.mark.parametrize("size", [0, 1, 3, 6])
@pytest.mark.parametrize("operation", [o for o, row in AXES.items() if len(row) > 1])
def test_vectors_of_another_length(operation: str, size: int) -> None:
    arrays, numbers = draw_arrays(operation), NUMBERS.get(operation, {})
    for name, axes in AXES[operation].items():
        if len(axes.split()) == 1 and axes != "..." and len(arrays[name.rstrip("?")]) != size:
            vector = np.ones(size, "float32")
            refused(operation, name.rstrip("?"), **arrays | {name.rstrip("?"): vector}, **numbers)


@pytest.mark.parametrize("operation", ["dense", "correlate", "layer_norm", "adam_step", "assign"])
def test_the_same_on_a_device(operation: str, device: Device) -> None:
    numbers = NUMBERS.get(operation, {})
    host = draw_arrays(operation)
    arrays = {name: device.to_device(a) for name, a in host.items()}
    name = {"adam_step": "m", "assign": "centers"}.get(operation, READ[operation][-1])
    for size in (0, 1, 3):
        wrong = device.to_device(np.ones((*host[name].shape[:-1], size), "float32"))
        if wrong.shape != host[name].shape:
            refused(operation, name, **arrays | {name: wrong}, **numbers)
    refused(operation, name, **arrays | {name: host[name]}, **numbers)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_no_array_of_numbers(operation: str) -> None:
    arrays, numbers = draw_arrays(operation), NUMBERS.get(operation, {})
    for name, a in arrays.items():
        optional = f"{name}?" in AXES[operation]
        for value in NO_ARRAYS[1 if optional else 0 :]:
            refused(operation, name, **arrays | {name: value}, **numbers)
        refused(operation, name, **arrays | {name: np.ma.array(a)}, **numbers)
        changed = arrays | {name: a.astype("O")}
        with pytest.raises(ValueError, match=operation):
            getattr(ops, operation)(**changed, **numbers)


@pytest.mark.parametrize("dtype", ["O", "f2", ">f4", "?", "U3", "i4", "M8[s]"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_dtypes_that_no_rung_takes(operation: str, dtype: str) -> None:
    arrays = {
        name: np.ones(a.shape, "f4").astype(dtype) for name, a in draw_arrays(operation).items()
    }
    with pytest.raises(ValueError, match=f"{operation}: "):
        getattr(ops, operation)(**arrays, **NUMBERS.get(operation, {}))


def views(good: Array) -> dict[str, Callable[[], Array]]:
    """Buffers like a good one but for one property."""
    memory = np.zeros(good.nbytes + 1, "u1")
    locked = np.zeros_like(good)
    locked.flags.writeable = False
    return {
        "shape": lambda: np.zeros((*good.shape, 1), good.dtype),
        "dtype": lambda: np.zeros(good.shape, "float64"),
        "order": lambda: np.zeros((*good.shape[:-1], 2 * good.shape[-1]), good.dtype)[..., ::2],
        "reversed": lambda: np.zeros_like(good)[..., ::-1],
        "byte order": lambda: good.astype(good.dtype.newbyteorder()),
        "locked": lambda: locked,
        "odd address": lambda: memory[1:].view(good.dtype).reshape(good.shape),
        "masked": lambda: np.ma.array(good),
        "list": lambda: good.tolist(),
    }


@pytest.mark.parametrize("operation", WITH_OUT)
def test_buffers_that_cannot_be_written_to(operation: str) -> None:
    arguments = draw_arrays(operation) | NUMBERS.get(operation, {})
    found = getattr(ops, operation)(**arguments)
    good = found[0] if isinstance(found, tuple) else found
    for make in views(good).values():
        out = make()
        before = np.array(out)
        refused(operation, "out", **arguments, out=out)
        np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("operation", WITH_OUT)
def test_a_buffer_may_not_be_an_input(operation: str) -> None:
    """It starts at the last number of an input, or the input is a part of it."""
    arguments = draw_arrays(operation) | NUMBERS.get(operation, {})
    found = getattr(ops, operation)(**arguments)
    shape = found[0].shape if isinstance(found, tuple) else found.shape
    size = int(np.prod(shape))
    for name in READ[operation]:
        a = arguments[name]
        memory = np.ones(a.size + size, "float32")
        read, out = memory[: a.size].reshape(a.shape), memory[a.size - 1 : -1].reshape(shape)
        before = memory.copy()
        refused(operation, "out", **arguments | {name: read}, out=out)
        np.testing.assert_array_equal(memory, before)
        refused(operation, "out", **arguments | {name: read}, out=memory[:size].reshape(shape))


@pytest.mark.parametrize("operation", ["adam_step"])
def test_arrays_that_change_in_place(operation: str) -> None:
    arrays, numbers = draw_arrays(operation), NUMBERS[operation]
    for name in ("p", "m", "v"):
        for make in views(arrays[name]).values():
            refused(operation, name, **arrays | {name: make()}, **numbers)
        for other in ("p", "m", "v", "g"):
            if other != name:
                refused(operation, name, **arrays | {name: arrays[other]}, **numbers)


HUGE = [2**31, 2**63, 10**400]
BAD_COUNTS = [0, -1, 1.0, "2", None, True, np.nan, *HUGE]
BAD_PAIRS = [*BAD_COUNTS, (1,), (1, 2, 3), (0, 1), (1, -2), (1, 1.5), [2, None], "same"]
BAD_NUMBERS = [-1e-9, np.nan, np.inf, -np.inf, "0", None, 1j, True, 1e300, np.ones(2)]
BAD: dict[str, list[Any]] = {
    "stride": BAD_PAIRS,
    "kernel_size": BAD_PAIRS,
    "image_size": BAD_PAIRS,
    "padding": [-1, 1.0, "full", "", "ab", None, (1, 1), ((1, 1),), ((1, 1), (0, -1)),
                ((1, 1), (0, 2**40)), ((1, 1), 0), ((1, 1), (0, 0), (0, 0)), ((1, 1), (0, 0.5)),
                True],
    "slope": BAD_NUMBERS,
    "dE": BAD_NUMBERS,
    "eps": BAD_NUMBERS,
    "of_batch": [0, 1, None, "yes", np.ones(3)],
    "step": BAD_COUNTS,
    "settings": [None, {}, 1e-3, AdamSettings],
    "k": BAD_COUNTS,
    "runs": BAD_COUNTS,
}  # fmt: skip


@pytest.mark.parametrize(("operation", "name"), [(o, n) for o, row in NUMBERS.items() for n in row])
def test_numbers(operation: str, name: str) -> None:
    arguments = draw_arrays(operation) | NUMBERS[operation]
    for bad in BAD[name]:
        refused(operation, name, **arguments | {name: bad})


@pytest.mark.parametrize("name", ["learning_rate", "beta1", "beta2", "eps"])
def test_settings_of_adam(name: str) -> None:
    for bad in (-1e-9, np.nan, np.inf, "0", None, 1j, *([1.0, 1] if "beta" in name else [])):
        with pytest.raises(ValueError, match=f"AdamSettings: {name} is "):
            AdamSettings(**{name: bad})


@pytest.mark.parametrize("rung", [3, ["reference"], "", "cuda-naive", b"reference"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_rungs_that_are_none(operation: str, rung: Any) -> None:
    arguments = draw_arrays(operation) | NUMBERS.get(operation, {})
    with pytest.raises(ValueError, match=f"{operation}: (no )?implementation"):
        getattr(ops, operation)(**arguments, impl=rung)


@pytest.mark.parametrize("rung", ["reference", "blocked"])
@pytest.mark.parametrize(
    "labels",
    [
        [0, 2, 1],
        [0, -1, 1],
        [0.0, 1.0, 0.0],
        [True, False, True],
        [[0, 1, 0]],
        [0, 1],
        [2**63, 0, 0],
    ],
    ids=str,
)
def test_labels_of_update(labels: list[Any], rung: str) -> None:
    with pytest.raises(ValueError, match=r"^update: labels"):
        ops.update(np.zeros((3, 2)), np.array(labels), 2, impl=rung)


# The emitted rung is what None stands for on the host, where there are vectors.
RESTARTS = [(n, rung.on) for n, rung in IMPLEMENTATIONS["restarts"].items() if not rung.emitted]


RESTARTS_OF_THE_CPU = [*(name for name, place in RESTARTS if place == "cpu"), None]
RESTARTS_OF_A_DEVICE = [
    *(r for r in RESTARTS if r[1] in ("cuda", "streamed")), (None, "cuda"), (None, "streamed")
]  # fmt: skip


@pytest.mark.parametrize("rung", RESTARTS_OF_THE_CPU)
def test_restarts_that_do_not_exist(rung: str | None) -> None:
    check_restarts_that_do_not_exist(rung, np.asarray, np.asarray)


@pytest.mark.parametrize("rung", ["parted-blocked", None])
def test_restarts_of_parts_that_do_not_exist(rung: str | None) -> None:
    check_restarts_that_do_not_exist(rung, np.asarray, PartedSamples)


@pytest.mark.parametrize(("rung", "place"), RESTARTS_OF_A_DEVICE)
def test_restarts_of_a_device_that_do_not_exist(
    rung: str | None, place: str, device: Device
) -> None:
    there = device.to_device if place == "cuda" else device.stream
    check_restarts_that_do_not_exist(rung, device.to_device, there)


def check_restarts_that_do_not_exist(
    rung: str | None, put: Callable[[Array], Array], there: Callable[[Array], Any]
) -> None:
    x = np.zeros((40, 3), "float32")
    restarts = ops.restarts(there(x), 2, 2, impl=rung)
    labels, distances = put(np.zeros(40, "int32")), put(np.zeros(40, "float32"))
    for which in ([2], [-1], [0, 0], []):
        with pytest.raises(ValueError, match="Restarts: runs"):
            restarts.assign(which)
    for bad in (labels + 2, labels - 1, labels[:3], labels.astype("int64")):
        with pytest.raises(ValueError, match="Restarts: labels"):
            restarts.apply_assignment(0, bad, distances)
    with pytest.raises(ValueError, match="Restarts: runs"):
        restarts.apply_assignment(2, labels, distances)
    for candidates, nearest in (
        (x[:2], x[:2, :1]),
        (x[None, :2, :2], x[None, :, 0]),
        (x[None, :2].astype("float64"), x[None, :, 0]),
        (x[None, :2], np.zeros((2, 40), "float32")),
    ):
        with pytest.raises(ValueError, match="Restarts: (candidates|nearest)"):
            restarts.min_sq_distances(candidates, nearest, keep=True)
