"""The kernels of this rung, compiled once for the vectors of this machine."""

from functools import cache

from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels.adam import add_reduce_adam
from l2ae_kernels.cpu.microkernels.correlate import add_correlate, add_correlate_dot
from l2ae_kernels.cpu.microkernels.dense import add_dense
from l2ae_kernels.cpu.microkernels.dense_gradients import add_dense_gradient, add_tiles
from l2ae_kernels.cpu.microkernels.elementwise import (
    add_normalize,
    add_normalize_adjoint,
    add_reduce,
    add_squared_error,
)
from l2ae_kernels.cpu.microkernels.gradients import add_gradient, add_sum
from l2ae_kernels.cpu.microkernels.pack import add_copy, add_pack, add_panels
from l2ae_kernels.cpu.microkernels.program import add_run
from l2ae_kernels.cpu.microkernels.standardize import add_standardize, add_standardize_adjoint
from l2ae_kernels.cpu.microkernels.winograd_products import add_winograd_products
from l2ae_kernels.cpu.microkernels.winograd_transforms import add_transforms


@cache
def library(vectors: Vectors) -> Library:
    """Return the compiled kernels; each takes the address of its arguments and a micro-batch m."""
    return Library.of(build, vectors)


def build(vectors: Vectors) -> Module:
    """Emit all kernels."""
    module = Module(vectors)
    for gated in (False, True):
        add_correlate(module, gated)
        add_correlate_dot(module, gated)
        add_dense(module, gated)
    add_gradient(module)
    add_sum(module)
    add_pack(module)
    add_panels(module)
    add_copy(module)
    add_normalize(module)
    add_normalize_adjoint(module)
    add_standardize(module)
    for affine in (False, True):
        add_standardize_adjoint(module, affine)
    add_squared_error(module)
    add_reduce(module)
    add_reduce_adam(module)
    add_tiles(module)
    for adam in (False, True):
        add_dense_gradient(module, adam)
    add_winograd_products(module)
    add_transforms(module)
    add_run(module)
    return module
