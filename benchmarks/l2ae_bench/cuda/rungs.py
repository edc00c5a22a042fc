"""Every rung of the implementations table that runs on a device, at the shapes of the networks.

The rows are those of `../operations.py`: a rung beside the rungs before it. Each is compared with
what NumPy computes of the same numbers in float64. CALLS calls are queued before one wait;
times are of a call. They are a graph, unless the host takes part in the operation (WITH_HOST), or
Numba launches it: these are queued by Python, call by call.

The peer of a product is "cublas", CuPy's product in float32 of matrices of the same sizes, all
windows unrolled beforehand (NumPy's in the emulator).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from l2ae_bench.case import ROUNDING, Case
from l2ae_bench.choice import Choice
from l2ae_bench.comparison import OURS, Contender, Measurement, make_row, measure, require_agreement
from l2ae_bench.cuda.network import ALLOWED
from l2ae_kernels.arrays import Array, to_host
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.operations import IMPLEMENTATIONS

CALLS = 20
WITH_HOST = {
    "adam_step", "squared_error", "update", "restarts", "batch_norm_adjoint", "layer_norm_adjoint",
}  # fmt: skip
OTHERS = {"training_step"}  # in the part `step`
CUBLAS = "cublas"
Call = Callable[..., Any]


class Rung(NamedTuple):
    """One rung of an operation on arrays of a device."""

    case: Case
    name: str
    call: Call
    changes: tuple[Array, ...]  # arrays that the call changes in place: they are the result
    captures: bool  # a graph may hold the call

    @property
    def workload(self) -> str:
        """Operation, shape and rung."""
        return f"{self.case.workload}-{self.name}"

    @property
    def allowed(self) -> float:
        """How far it may be from float64, over the largest entry of an array."""
        reduced = IMPLEMENTATIONS[self.case.operation][self.name].reduced_precision
        return ALLOWED["tf32"] if reduced else ROUNDING[self.case.work.dtype]

    def verified(self, expected: list[Array]) -> float:
        """Call it, and return how far the result is from `expected`; Disagreement when too far."""
        found = _arrays(self.case, self.call(), self.changes)
        difference = max(
            float(np.abs(to_host(a).astype(np.float64) - b).max() / max(np.abs(b).max(), 1e-30))
            for a, b in zip(found, expected, strict=True)
        )
        what = "the rung and the reference"
        return require_agreement(self.workload, what, difference, self.allowed)


def cases(choice: Choice, quick: bool = False) -> list[Case]:
    """Return the operations of a choice that have a rung on a device."""
    return [
        case
        for case in choice.named(quick)
        if case.operation not in OTHERS and any(_on_device(case, choice))
    ]


def rungs(case: Case, device: Device, choice: Choice) -> list[Rung]:
    """Return the rungs of a case that take its arrays, slowest first."""
    found = []
    for name in _on_device(case, choice):
        run, changes, x = _mapped(case, device.to_device)
        rung = IMPLEMENTATIONS[case.operation][name]
        with_numba = "numba" in rung.target
        if not rung.takes(x, _geometry(case)) or (with_numba and not _numba_runs(device)):
            continue
        captures = case.operation not in WITH_HOST and not with_numba
        found.append(Rung(case, name, partial(run, impl=name), changes, captures))
    return found


def reference(case: Case) -> list[Array]:
    """Return what the reference computes of the same numbers in float64."""
    run, changes, _ = _mapped(case, _wide)
    return _arrays(case, run(impl="reference"), changes)


def rows(
    case: Case,
    device: Device,
    choice: Choice,
    repeats: int,
    seconds: float | None = None,
    done: Callable[[], object] = lambda: None,
) -> Iterator[Measurement]:
    """Yield the row of each rung, beside the rungs before it and the library's product."""
    chosen, expected = rungs(case, device, choice), reference(case)
    agreement = {r.name: r.verified(expected) for r in chosen}
    contenders = {r.name: queued(device, r.call, captures=r.captures) for r in chosen}
    if case.product is not None and has_library(device):
        product = library(device, case.product, case.work.dtype)
        contenders[CUBLAS] = queued(device, product, captures=False)
    where = device.properties.name
    times = measure(contenders, repeats, where, seconds=seconds, done=done)
    each = {name: [t / CALLS for t in taken] for name, taken in times.items()}
    peer = {CUBLAS: each[CUBLAS]} if CUBLAS in each else {}
    for i, r in enumerate(chosen):
        before = {other.name: each[other.name] for other in chosen[:i]}
        taken = {OURS: each[r.name], **before, **peer}
        yield make_row(f"{r.workload}-cuda", where, taken, agreement[r.name], case.work)


def queued(device: Device, call: Call, *, captures: bool) -> Contender:
    """Return CALLS calls and a wait: one graph, or queued by Python."""
    if not captures:

        def each() -> None:
            for _ in range(CALLS):
                call()
            device.synchronize()

        return each
    with device.capture() as graph:
        for _ in range(CALLS):
            call()

    def replayed() -> None:
        graph.launch()
        device.synchronize()

    return replayed


def has_library(device: Device) -> bool:
    """Whether the device's library can be loaded: CuPy comes without cuBLAS."""
    try:
        device.array_module.matmul(*(device.array_module.ones((2, 2), np.float32),) * 2)
    except ImportError:
        return False
    return True


def library(device: Device, sizes: tuple[int, int, int], dtype: str) -> Call:
    """Return the library's product of matrices of m × k and k × n numbers."""
    m, k, n = sizes
    rng, move = np.random.default_rng(1), np.asarray if device.emulated else device.to_device
    a, b, out = (move(rng.random(s).astype(dtype)) for s in ((m, k), (k, n), (m, n)))
    return partial(device.array_module.matmul, a, b, out=out)


def _on_device(case: Case, choice: Choice) -> Iterator[str]:
    """Yield the rungs of the choice that run on a device and take the dtype."""
    for name, rung in IMPLEMENTATIONS[case.operation].items():
        chosen = not choice.rungs or name in choice.rungs
        if chosen and rung.on == "cuda" and np.dtype(case.work.dtype) in rung.dtypes:
            yield name


def _numba_runs(device: Device) -> bool:
    """Whether Numba has the GPU; it runs nothing in the emulator."""
    from numba import cuda

    return not device.emulated and bool(cuda.is_available())


def _geometry(case: Case) -> Any:
    """What a rung's limit is asked with: in k-means, the number of clusters."""
    if case.operation not in ("assign", "restarts"):
        return case.geometry
    return len(case.prepared.run.args[1])  # type: ignore[attr-defined]


def _mapped(case: Case, convert: Callable[[Array], Array]) -> tuple[Call, tuple[Array, ...], Array]:
    """Return the call of a case on arrays that are converted, those it changes, and x.

    Centers of `restarts` are given by the host.
    """
    run, on_host = case.prepared.run, case.operation == "restarts"
    assert isinstance(run, partial)
    args = [
        convert(a) if isinstance(a, np.ndarray) and not (i and on_host) else a
        for i, a in enumerate(run.args)
    ]
    named = {
        name: convert(a) if isinstance(a, np.ndarray) else a for name, a in run.keywords.items()
    }
    return partial(run.func, *args, **named), tuple(args[: len(case.prepared.changes)]), args[0]


def _wide(a: Array) -> Array:
    """Return a copy in float64; labels stay integers."""
    return a.astype(np.float64) if a.dtype.kind == "f" else a.copy()


def _arrays(case: Case, result: Any, changes: tuple[Array, ...]) -> list[Array]:
    """Return what there is to compare: of `assign` the distances, as labels may differ in ties."""
    one = np.asarray(result) if isinstance(result, float) else result  # CuPy's stay where they are
    arrays = changes or (result if isinstance(result, tuple) else (one,))
    return [*(arrays[1:] if case.operation == "assign" else arrays)]
