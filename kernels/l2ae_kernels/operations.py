"""The implementations table: every operation, every way to compute it, slowest first.

Three readers: `ops` picks the last rung that fits the data, the tests compare every rung with the
reference, the benchmarks time them side by side. A new rung is a function and a row here.

A function of the table writes its result to arrays that it is given; `ops` checks all arguments
before, so a function that is called without it has to be given what fits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from l2ae_kernels.arrays import Array, Place, get_place
from l2ae_kernels.cpu.codegen.vectors import get_vectors
from l2ae_kernels.cpu.kmeans import assign as nearest
from l2ae_kernels.cpu.kmeans import restarts as nearest_restarts
from l2ae_kernels.cpu.microkernels import filtered_ops as filtered
from l2ae_kernels.cpu.microkernels import ops as register
from l2ae_kernels.cpu.numba import conv as cpu_conv
from l2ae_kernels.cpu.numba import dense as cpu_dense
from l2ae_kernels.cpu.numba import kmeans as cpu_kmeans
from l2ae_kernels.cpu.numba import normalize as cpu_normalize
from l2ae_kernels.cpu.numba import optim as cpu_optim
from l2ae_kernels.cuda import elementwise as cuda_elementwise
from l2ae_kernels.cuda import optim as cuda_optim
from l2ae_kernels.cuda import products as cuda_products
from l2ae_kernels.cuda.kmeans import assign as cuda_assign
from l2ae_kernels.cuda.kmeans import numba_rungs as cuda_numba
from l2ae_kernels.cuda.kmeans import restarts as cuda_restarts
from l2ae_kernels.cuda.kmeans import stream as cuda_stream
from l2ae_kernels.reference import conv, dense, kmeans, normalize, optim, restarts

DTypes: TypeAlias = frozenset[np.dtype[Any]]
REAL: DTypes = frozenset({np.dtype("float32"), np.dtype("float64")})
F32: DTypes = frozenset({np.dtype("float32")})
ANY: DTypes = frozenset({*REAL, np.dtype("complex128")})


@dataclass(frozen=True)
class Implementation:
    """One rung: a function, the data types that it takes, where it runs, and how it is made."""

    function: Callable[..., Any]
    dtypes: DTypes = REAL
    emitted: bool = False  # then it is left out where there are no vectors to emit for
    on: Place | None = "cpu"  # where its arrays live; None: anywhere
    rounds: bool = False  # its products have fewer bits than x: it is taken only if named

    def takes(self, x: Array) -> bool:
        """Whether it can run on x, where x is."""
        return (
            x.dtype in self.dtypes
            and self.on in (None, get_place(x))
            and not (self.emitted and get_vectors() is None)
        )


def _products(function: Callable[..., None]) -> dict[str, Implementation]:
    """The CUDA rungs of a dense product."""
    takes = {"naive": REAL, "tiled": REAL, "tensor": F32, "tf32": F32}
    return {
        f"cuda-{impl}": Implementation(
            partial(function, impl=impl), dtypes, on="cuda", rounds=impl == "tf32"
        )
        for impl, dtypes in takes.items()
    }


IMPLEMENTATIONS: dict[str, dict[str, Implementation]] = {
    "correlate": {
        "reference": Implementation(conv.correlate, ANY, on=None),
        "im2col": Implementation(partial(cpu_conv.correlate, tiled=False)),
        "tiled": Implementation(cpu_conv.correlate),
        "register": Implementation(register.correlate, F32, emitted=True),
        "winograd": Implementation(filtered.correlate, F32, emitted=True),
    },
    "correlate_adjoint_x": {
        "reference": Implementation(conv.correlate_adjoint_x, ANY, on=None),
        "im2col": Implementation(partial(cpu_conv.correlate_adjoint_x, tiled=False)),
        "tiled": Implementation(cpu_conv.correlate_adjoint_x),
        "register": Implementation(register.correlate_adjoint_x, F32, emitted=True),
        "winograd": Implementation(filtered.correlate_adjoint_x, F32, emitted=True),
    },
    "correlate_adjoint_W": {
        "reference": Implementation(conv.correlate_adjoint_W, ANY, on=None),
        "im2col": Implementation(partial(cpu_conv.correlate_adjoint_W, tiled=False)),
        "tiled": Implementation(cpu_conv.correlate_adjoint_W),
        # turning sums back into dW costs more than it saves, unless once for many micro-batches
        "winograd": Implementation(filtered.correlate_adjoint_W, F32, emitted=True),
        "register": Implementation(register.correlate_adjoint_W, F32, emitted=True),
    },
    "dense": {
        "reference": Implementation(dense.dense, ANY, on=None),
        "blocked": Implementation(cpu_dense.dense),
        **_products(cuda_products.dense),
    },
    "dense_adjoint_x": {
        "reference": Implementation(dense.dense_adjoint_x, ANY, on=None),
        "blocked": Implementation(cpu_dense.dense_adjoint_x),
        **_products(cuda_products.dense_adjoint_x),
    },
    "dense_adjoint_W": {
        "reference": Implementation(dense.dense_adjoint_W, ANY, on=None),
        "blocked": Implementation(cpu_dense.dense_adjoint_W),
        **_products(cuda_products.dense_adjoint_W),
    },
    "bias_adjoint": {
        "reference": Implementation(dense.bias_adjoint, ANY, on=None),
        "blocked": Implementation(cpu_dense.bias_adjoint),
        "cuda-flat": Implementation(cuda_elementwise.bias_adjoint, on="cuda"),
    },
    "leaky_relu": {
        "reference": Implementation(dense.leaky_relu, ANY, on=None),
        "blocked": Implementation(cpu_dense.leaky_relu),
        "cuda-flat": Implementation(cuda_elementwise.leaky_relu, on="cuda"),
    },
    "leaky_relu_adjoint": {
        "reference": Implementation(dense.leaky_relu_adjoint, ANY, on=None),
        "blocked": Implementation(cpu_dense.leaky_relu_adjoint),
        "cuda-flat": Implementation(cuda_elementwise.leaky_relu_adjoint, on="cuda"),
    },
    "moments": {
        "reference": Implementation(normalize.moments, ANY, on=None),
        "fused": Implementation(cpu_normalize.moments),
    },
    "batch_norm": {
        "reference": Implementation(normalize.batch_norm, ANY, on=None),
        "fused": Implementation(cpu_normalize.batch_norm),
    },
    "batch_norm_adjoint": {
        "reference": Implementation(normalize.batch_norm_adjoint, ANY, on=None),
        "fused": Implementation(cpu_normalize.batch_norm_adjoint),
    },
    "layer_norm": {
        "reference": Implementation(normalize.layer_norm, ANY, on=None),
        "fused": Implementation(cpu_normalize.layer_norm),
    },
    "layer_norm_adjoint": {
        "reference": Implementation(normalize.layer_norm_adjoint, ANY, on=None),
        "fused": Implementation(cpu_normalize.layer_norm_adjoint),
    },
    "adam_step": {
        "reference": Implementation(optim.adam_step, on=None),
        "fused": Implementation(cpu_optim.adam_step),
        "cuda-flat": Implementation(cuda_optim.adam_step, on="cuda"),
    },
    "assign": {
        "reference": Implementation(kmeans.assign),
        "blocked": Implementation(cpu_kmeans.assign),
        "register": Implementation(nearest.assign, F32, emitted=True),
        "cuda-naive": Implementation(cuda_numba.assign_naive, on="cuda"),
        "cuda-shared": Implementation(cuda_numba.assign_shared, on="cuda"),
        "cuda-registers": Implementation(cuda_assign.assign_registers, on="cuda"),
        "cuda-tensor": Implementation(cuda_assign.assign_best, on="cuda"),
        "cuda-streamed": Implementation(cuda_stream.assign, on="streamed"),
    },
    "update": {
        "reference": Implementation(kmeans.update),
        "blocked": Implementation(cpu_kmeans.update),
        "cuda-private": Implementation(cuda_assign.update, on="cuda"),
    },
    "restarts": {
        "reference": Implementation(restarts.Restarts),
        "blocked": Implementation(cpu_kmeans.Restarts),
        "register": Implementation(nearest_restarts.Restarts, F32, emitted=True),
        "cuda-fused": Implementation(cuda_restarts.Restarts, on="cuda"),
        "cuda-resident": Implementation(cuda_restarts.Resident, on="cuda"),
        "cuda-streamed": Implementation(cuda_stream.Restarts, on="streamed"),
    },
}


def pick(operation: str, x: Array, impl: str | None = None) -> Callable[..., Any]:
    """Return the fastest function of `operation` that takes x where it is, or the rung named.

    Raises ValueError for an unknown operation or rung, and for a dtype or a place of x that it does
    not take.
    """
    rungs = IMPLEMENTATIONS.get(operation) if isinstance(operation, str) else None
    if rungs is None:
        raise ValueError(f"pick: operation {operation!r} is not one of {sorted(IMPLEMENTATIONS)}")
    if impl is not None and not (isinstance(impl, str) and impl in rungs):
        raise ValueError(f"{operation}: implementation {impl!r} is not one of {list(rungs)}")
    for name in reversed(rungs):
        chosen = impl == name or (impl is None and not rungs[name].rounds)
        if chosen and rungs[name].takes(x):
            return rungs[name].function
    wanted = (
        f"{operation}: no implementation {impl or 'at all'} for dtype {x.dtype} on {get_place(x)}"
    )
    raise ValueError(f"{wanted} and vectors {getattr(get_vectors(), 'name', 'none')!r}")
