"""The implementations table: every operation, every way to compute it, slowest first.

Three readers: `ops` picks the last rung that fits the data, the tests compare every rung with the
reference, the benchmarks time them side by side. A new rung is a function and a row here. A row
names its function, whose module is imported when the rung is first picked.

A function of the table writes its result to arrays that it is given; `ops` checks all arguments
before, so a function that is called without it has to be given what fits. `register` adds a rung of
one's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from l2ae_kernels.arrays import Array, DeviceName, device_name
from l2ae_kernels.forks import importing
from l2ae_kernels.geometry import Geometry
from l2ae_kernels.stages import Stage

if TYPE_CHECKING:
    from l2ae_kernels.cpu.codegen.vectors import Vectors

DTypes: TypeAlias = frozenset[np.dtype[Any]]
REAL: DTypes = frozenset({np.dtype("float32"), np.dtype("float64")})
F32: DTypes = frozenset({np.dtype("float32")})
# The geometry of a correlation, the stages of a training step, the number of centers of k-means.
Shapes: TypeAlias = Geometry | Sequence[Stage] | int
ANY: DTypes = frozenset({*REAL, np.dtype("complex128")})


@dataclass(frozen=True)
class Limit:
    """Which inputs a rung takes, of those with its dtype where it runs."""

    target: str  # of a function of x and the geometry that says whether it takes them
    words: str

    def holds(self, x: Array, geometry: Shapes | None) -> bool:
        """Whether the rung takes x with this geometry."""
        return bool(_imported(self.target)(x, geometry))


@dataclass(frozen=True)
class Implementation:
    """One rung: its function, the data types that it takes, where it runs, and how it is made."""

    target: str  # "module:attribute", the module without "l2ae_kernels."
    dtypes: DTypes = REAL
    options: Mapping[str, Any] = field(default_factory=dict)  # that its function is called with
    emitted: bool = False  # then it is left out where there are no vectors to emit for
    on: DeviceName | None = "cpu"  # where its arrays live; None: anywhere
    reduced_precision: bool = False  # products with fewer bits than x: taken only if named
    named_only: bool = False  # its sums have another order than those that results are kept of
    limit: Limit | None = None  # which shapes it takes; None: all

    @property
    def function(self) -> Callable[..., Any]:
        """The function, imported at the first use; kept without a lock that a fork leaves taken."""
        found: Callable[..., Any] | None = vars(self).get("found")
        if found is None:
            found = _imported(self.target)
            found = partial(found, **self.options) if self.options else found
            vars(self)["found"] = found
        return found

    def takes(self, x: Array, geometry: Shapes | None = None) -> bool:
        """Whether it can run on x, where x is; `geometry`: see Shapes, else None."""
        return (
            x.dtype in self.dtypes
            and self.on in (None, device_name(x))
            and not (self.emitted and _vectors() is None)
            and (self.limit is None or self.limit.holds(x, geometry))
        )

    @property
    def words(self) -> str:
        """What it takes, for an error."""
        words = f"{' or '.join(sorted(d.name for d in self.dtypes))} on {self.on or 'any device'}"
        words += " with vectors to emit for" * self.emitted
        return f"{words}, {self.limit.words}" if self.limit else words


def _imported(target: str) -> Callable[..., Any]:
    """The function "module:attribute"."""
    module, _, name = target.partition(":")
    with importing:
        found: Callable[..., Any] = getattr(import_module(f"l2ae_kernels.{module}"), name)
    return found


def _vectors() -> "Vectors | None":
    """The vectors to emit for; LLVM is imported when the first rung asks for them."""
    from l2ae_kernels.cpu.codegen.vectors import get_vectors

    return get_vectors()


def _each(names: str, rungs: dict[str, Implementation]) -> dict[str, dict[str, Implementation]]:
    """The rungs of some operations, each by the function that has the operation's name."""
    return {
        operation: {
            name: replace(rung, target=f"{rung.target}:{operation}") for name, rung in rungs.items()
        }
        for operation in names.split()
    }


WINOGRAD = Implementation(
    "cpu.microkernels.winograd_ops", F32, emitted=True, limit=Limit(
        "cpu.microkernels.winograd_ops:takes",
        "kernels of 4 to 6 taps an axis at stride 2, whole vectors of channels, whole tiles of "
        "outputs, and images that tiles of 4 x 4 outputs cover with fewer products",
    ),
)  # fmt: skip
COMPILED = Limit(
    "cpu.step:takes",
    "stages that begin and end with a linear one, without an activation before a normalization, "
    "the code or the loss, and no affine layer_norm in a dense network",
)
TENSOR = Limit(
    "cuda.kmeans.tensor:takes",
    "32 or more features and 64 or more centers, on a GPU that multiplies TF32",
)
DEVICE_STEP = Limit(
    "cuda.step:takes", "every stage but an l2_normalize with an activation, and no latent_grad"
)
RESIDENT = Limit(
    "cuda.kmeans.resident:takes",
    "samples of up to 128 bytes that fit the shared memory of all multiprocessors, beside the "
    "centers and sums of a run",
)
CONVOLUTION = {
    "reference": Implementation("reference.conv", ANY, on=None),
    "im2col": Implementation("cpu.numba.conv", options={"tiled": False}),
    "tiled": Implementation("cpu.numba.conv"),
}
CUDA_CONVOLUTION = {
    "cuda-naive": Implementation("cuda.conv", REAL, {"impl": "naive"}, on="cuda"),
    "cuda-tensor": Implementation("cuda.conv", F32, {"impl": "tensor"}, on="cuda"),
    "cuda-tf32": Implementation("cuda.conv", F32, {"impl": "tf32"}, on="cuda",
                                reduced_precision=True),
}  # fmt: skip
REGISTER = Implementation("cpu.microkernels.ops", F32, emitted=True)

IMPLEMENTATIONS: dict[str, dict[str, Implementation]] = {
    **_each("correlate correlate_adjoint_x", {
        **CONVOLUTION, "register": REGISTER, "winograd": WINOGRAD, **CUDA_CONVOLUTION,
    }),
    # to transform sums back to dW costs more than it saves, unless once for many micro-batches
    **_each("correlate_adjoint_W", {
        **CONVOLUTION, "winograd": WINOGRAD, "register": REGISTER, **CUDA_CONVOLUTION,
    }),
    **_each("dense dense_adjoint_x dense_adjoint_W", {
        "reference": Implementation("reference.dense", ANY, on=None),
        "blocked": Implementation("cpu.numba.dense"),
        "cuda-naive": Implementation("cuda.products", REAL, {"impl": "naive"}, on="cuda"),
        "cuda-tiled": Implementation("cuda.products", REAL, {"impl": "tiled"}, on="cuda"),
        "cuda-tensor": Implementation("cuda.products", F32, {"impl": "tensor"}, on="cuda"),
        "cuda-tf32": Implementation("cuda.products", F32, {"impl": "tf32"}, on="cuda",
                                    reduced_precision=True),
    }),
    **_each("bias_adjoint leaky_relu leaky_relu_adjoint", {
        "reference": Implementation("reference.dense", ANY, on=None),
        "blocked": Implementation("cpu.numba.dense"),
        "cuda-flat": Implementation("cuda.elementwise", on="cuda"),
    }),
    **_each("l2_normalize l2_normalize_adjoint", {
        "reference": Implementation("reference.normalize", ANY, on=None),
        "register": Implementation("cpu.microkernels.elementwise_ops", F32, emitted=True,
                                   named_only=True),
        "cuda-rows": Implementation("cuda.normalize", on="cuda"),
    }),
    "squared_error": {
        "reference": Implementation("reference.loss:squared_error", ANY, on=None),
        "register": Implementation("cpu.microkernels.elementwise_ops:squared_error", F32,
                                   emitted=True, named_only=True),
        "cuda-parts": Implementation("cuda.loss:read_squared_error", on="cuda"),
    },
    "squared_error_adjoint": {
        "reference": Implementation("reference.loss:squared_error_adjoint", ANY, on=None),
        "register": Implementation("cpu.microkernels.elementwise_ops:squared_error_adjoint", F32,
                                   emitted=True, named_only=True),
        "cuda-flat": Implementation("cuda.loss:squared_error_adjoint", on="cuda"),
    },
    **_each("moments batch_norm batch_norm_adjoint layer_norm layer_norm_adjoint", {
        "reference": Implementation("reference.normalize", ANY, on=None),
        "fused": Implementation("cpu.numba.normalize"),
        "cuda-parts": Implementation("cuda.normalize", on="cuda"),
    }),
    "adam_step": {
        "reference": Implementation("reference.optim:adam_step", on=None),
        "fused": Implementation("cpu.numba.optim:adam_step"),
        "cuda-flat": Implementation("cuda.optim:adam_step", on="cuda"),
    },
    "warp": {
        "reference": Implementation("reference.warp:warp"),
        "fused": Implementation("cpu.numba.warp:warp"),
    },
    "training_step": {
        "reference": Implementation("reference.step:ReferenceStep"),
        "compiled": Implementation("cpu.step:training_step", F32, emitted=True, limit=COMPILED),
        "cuda-naive": Implementation("cuda.step:DeviceStep", REAL, {"impl": "naive"}, on="cuda",
                                     limit=DEVICE_STEP),
        "cuda-tensor": Implementation("cuda.step:DeviceStep", F32, {"impl": "tensor"}, on="cuda",
                                      limit=DEVICE_STEP),
        "cuda-tf32": Implementation("cuda.step:DeviceStep", F32, {"impl": "tf32"}, on="cuda",
                                    reduced_precision=True, limit=DEVICE_STEP),
    },
    "assign": {
        "reference": Implementation("reference.kmeans:assign"),
        "blocked": Implementation("cpu.numba.kmeans:assign"),
        "register": Implementation("cpu.kmeans.assign:assign", F32, emitted=True),
        "cuda-naive": Implementation("cuda.kmeans.numba_assign:assign_naive", on="cuda"),
        "cuda-shared": Implementation("cuda.kmeans.numba_assign:assign_shared", on="cuda"),
        "cuda-registers": Implementation("cuda.kmeans.assign:assign_registers", on="cuda"),
        "cuda-tensor": Implementation("cuda.kmeans.tensor:assign_tensor", F32, on="cuda",
                                      limit=TENSOR),
        "cuda-streamed": Implementation("cuda.kmeans.stream:assign", on="streamed"),
    },
    "update": {
        "reference": Implementation("reference.kmeans:update"),
        "blocked": Implementation("cpu.numba.kmeans:update"),
        "cuda-private": Implementation("cuda.kmeans.assign:update", on="cuda"),
    },
    "restarts": {
        "reference": Implementation("reference.restarts:Restarts"),
        "blocked": Implementation("cpu.numba.kmeans:Restarts"),
        "register": Implementation("cpu.kmeans.restarts:Restarts", F32, emitted=True),
        "parted-blocked": Implementation("cpu.kmeans.parted:Blocked", on="parted"),
        "parted": Implementation("cpu.kmeans.parted:Restarts", F32, emitted=True, on="parted"),
        "cuda-fused": Implementation("cuda.kmeans.restarts:Restarts", on="cuda"),
        "cuda-resident": Implementation("cuda.kmeans.resident:Resident", on="cuda", limit=RESIDENT),
        "cuda-streamed": Implementation("cuda.kmeans.stream:Restarts", on="streamed"),
        "dask": Implementation("dask.restarts:Restarts", on="dask"),
    },
}  # fmt: skip


def pick(
    operation: str, x: Array, impl: str | None = None, geometry: Shapes | None = None
) -> Callable[..., Any]:
    """Return the fastest function of `operation` that takes x where it is, or the rung named.

    Raises ValueError for an unknown operation or rung, and for a dtype, a device or a geometry that
    it does not take: no other rung takes the place of one that is named.
    """
    rungs = IMPLEMENTATIONS.get(operation) if isinstance(operation, str) else None
    if rungs is None:
        raise ValueError(f"pick: operation {operation!r} is not one of {sorted(IMPLEMENTATIONS)}")
    if impl is not None and not (isinstance(impl, str) and impl in rungs):
        raise ValueError(f"{operation}: implementation {impl!r} is not one of {list(rungs)}")
    for name in reversed(rungs):
        rung = rungs[name]
        named_only = rung.named_only or rung.reduced_precision
        if (impl == name or (impl is None and not named_only)) and rung.takes(x, geometry):
            return rung.function
    vectors = getattr(_vectors(), "name", "none")
    found = f"dtype {x.dtype} on {device_name(x)} and vectors {vectors!r}"
    if impl is None:
        raise ValueError(f"{operation}: no implementation at all for {found}")
    if rungs[impl].limit is not None:
        found += f" with {f'k = {geometry}' if isinstance(geometry, int) else geometry}"
    takes = rungs[impl].words
    raise ValueError(f"{operation}: no implementation {impl} for {found}: it takes {takes}")


def register(
    operation: str,
    name: str,
    function: Callable[..., Any],
    *,
    dtypes: DTypes = REAL,
    on: DeviceName | None = "cpu",
    default: bool = False,
) -> None:
    """Add a rung of your own, `function`, with the arguments of the operation's reference.

    It is taken where it is named (`impl=name`); with `default` wherever it takes the data, in the
    place of the rungs before it. Nothing is compared here: `benchmarks/run.py operations --load
    FILE` compares a rung with the reference before it times it. Raises ValueError for an unknown
    operation, a name that is taken, and what cannot be called.
    """
    rungs = IMPLEMENTATIONS.get(operation)
    if rungs is None:
        raise ValueError(
            f"register: operation {operation!r} is not one of {sorted(IMPLEMENTATIONS)}"
        )
    if not (isinstance(name, str) and name) or name in rungs:
        raise ValueError(f"register: name is {name!r} but expected one that is not in {[*rungs]}")
    if not callable(function):
        raise ValueError(f"register: function is {function!r} but expected one to call")
    target = f"{function.__module__}:{getattr(function, '__qualname__', name)}"
    rung = Implementation(target, dtypes, on=on, named_only=not default)
    vars(rung)["found"] = function  # there is nothing to import
    rungs[name] = rung
