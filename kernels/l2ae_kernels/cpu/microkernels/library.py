"""The kernels of this rung, compiled once for the vectors of this machine, in families."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from numba.core.compiler_lock import global_compiler_lock

from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.machine_code import Build, Library
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels.adam import add_reduce_adam
from l2ae_kernels.cpu.microkernels.amx_dense import add_amx_dense
from l2ae_kernels.cpu.microkernels.amx_gradients import add_amx_gradient
from l2ae_kernels.cpu.microkernels.amx_operands import add_amx_tiles
from l2ae_kernels.cpu.microkernels.batch_norm import add_batch_norms
from l2ae_kernels.cpu.microkernels.correlate import add_correlate, add_correlate_dot
from l2ae_kernels.cpu.microkernels.dense import add_dense
from l2ae_kernels.cpu.microkernels.dense_gradients import add_dense_gradient, add_tiles
from l2ae_kernels.cpu.microkernels.dense_tile_times import chosen
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
from l2ae_kernels.cpu.microkernels.winograd_layouts import panel_vectors
from l2ae_kernels.cpu.microkernels.winograd_products import add_winograd_products
from l2ae_kernels.cpu.microkernels.winograd_transforms import add_filters, add_images
from l2ae_kernels.cpu.threads import available, get_threads


@cache
def library(vectors: Vectors) -> "Kernels":
    """Return the kernels; each takes the address of its arguments and a micro-batch m."""
    return Kernels(vectors)


class Kernels:
    """The kernels for some vectors: a family of them is compiled when one of it is needed."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self._dense: Vectors | None = None  # with the tile of the dense products
        self._families: dict[str, Library] = {}  # of each kernel that was asked for

    def address(self, kernel: str) -> int:
        """Return where a kernel begins; ValueError when there is none of this name."""
        return self._of(kernel).address(kernel)

    def function(self, name: str, arguments: int) -> Any:
        """Return the function `name`, which takes so many i64 and returns nothing."""
        return self._of(name).function(name, arguments)

    def load(self, kernels: Iterable[str]) -> None:
        """Compile the families of these kernels, as many at once as kernels have threads."""
        new = set(kernels) - self._families.keys()
        if not new:
            return
        families = {kernel: family_of(kernel) for kernel in new}
        builds = [build for build in FAMILIES if build in families.values()]
        wanted = [(build, self.vectors_of(build)) for build in builds]
        found = Library.all_of(wanted, available(get_threads()))
        libraries = dict(zip(builds, found, strict=True))
        self._families |= {kernel: libraries[build] for kernel, build in families.items()}

    def vectors_of(self, build: Build) -> Vectors:
        """Return what a family is emitted for: Winograd's have a tile of their own.

        That of the dense products is chosen once.

        Raises ValueError where the environment names no tile.
        """
        if build in WINOGRAD:
            return panel_vectors(self.vectors)
        if build is not DENSE:
            return self.vectors
        with global_compiler_lock:
            self._dense = self._dense or chosen(self.vectors)
            return self._dense

    def _of(self, kernel: str) -> Library:
        self.load([kernel])
        return self._families[kernel]


def _correlate(vectors: Vectors) -> Module:
    module = Module(vectors)
    for gated in (False, True):
        add_correlate(module, gated)
        add_correlate_dot(module, gated)
    return module


def _dense(vectors: Vectors) -> Module:
    module = Module(vectors)
    for gated in (False, True):
        add_dense(module, gated)
    return module


def _dense_gradients(vectors: Vectors) -> Module:
    module = Module(vectors)
    add_tiles(module)
    for adam in (False, True):
        add_dense_gradient(module, adam)
    return module


def _gradient(vectors: Vectors) -> Module:
    module = Module(vectors)
    add_gradient(module)
    return module


def _batch_norm(vectors: Vectors) -> Module:
    module = Module(vectors)
    add_batch_norms(module)
    return module


def _winograd(vectors: Vectors) -> Module:
    module = Module(vectors)
    add_winograd_products(module)
    add_filters(module)
    return module


def _winograd_4x4(vectors: Vectors) -> Module:
    module = Module(vectors)
    add_images(module, 4, 4)
    return module


def _winograd_border(vectors: Vectors) -> Module:
    module = Module(vectors)
    for tile in (4, 3), (3, 4), (3, 3):
        add_images(module, *tile)
    return module


def _amx(vectors: Vectors) -> Module:
    module = Module(vectors)
    add_amx_tiles(module)
    for either in (False, True):
        add_amx_dense(module, gated=either)
        add_amx_gradient(module, adam=either)
    return module


def _small(vectors: Vectors) -> Module:
    module = Module(vectors)
    for add in (
        add_sum, add_pack, add_panels, add_copy, add_normalize, add_normalize_adjoint,
        add_standardize, add_squared_error, add_reduce, add_reduce_adam, add_run,
    ):  # fmt: skip
        add(module)
    for affine in (False, True):
        add_standardize_adjoint(module, affine)
    return module


# What emits a family, and how the names of its kernels begin: the first that fits. Those that take
# the longest to compile come first.
FAMILIES: dict[Build, tuple[str, ...]] = {
    _dense_gradients: ("dense_gradient", "dense_adam", "tiles"),
    _dense: ("dense",),
    _correlate: ("correlate",),
    _winograd_border: ("winograd_4x3", "winograd_3x4", "winograd_3x3"),
    _winograd_4x4: ("winograd_4x4",),
    _winograd: ("winograd", "multiply", "fill"),
    _gradient: ("gradient",),
    _batch_norm: ("batch",),
    _amx: ("amx",),
    _small: ("",),
}
WINOGRAD: tuple[Build, ...] = (_winograd, _winograd_4x4, _winograd_border)
AMX: Build = _amx  # for vectors with parts alone
DENSE: Build = _dense  # it packs for itself, so that its tile is its own affair


def family_of(kernel: str) -> Build:
    """Return what emits a kernel."""
    return next(build for build, names in FAMILIES.items() if kernel.startswith(names))
