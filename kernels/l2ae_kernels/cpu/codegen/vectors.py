"""The vector unit: how many float32 fit a register, how many registers there are.

    use_vectors("avx2")            until further notice, here
    with vectors("none"): ...      inside a block; "none" leaves the emitted kernels out
    L2AE_VECTORS=avx2 l2ae fit …   for a process

Code is always made for this machine's processor; a set says how wide vectors and tiles are. LLVM
splits what is too wide, so every set gives correct results everywhere, and all can be tested.

"amx3" and "amx6" are AVX-512 with the dense products of a training step in tiles of AMX, three or
six of bfloat16 for one of float32 (amx.py). They are never the default, and need the processor.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache

import llvmlite.binding as llvm

from l2ae_kernels.cpu.codegen import amx_permission

ENVIRONMENT = "L2AE_VECTORS"


@dataclass(frozen=True)
class Vectors:
    """An instruction set as a kernel needs to know it.

    A tile of sums, `rows` × `columns` vectors, stays in registers, beside one row of vectors that
    is multiplied and one broadcast value.
    """

    name: str
    lanes: int  # float32 in a register
    rows: int
    columns: int
    block: int  # products that a sum of a dense layer takes before it is added to y, for any tile
    outputs: int  # of a dense layer, whose dy waits in the second-level cache to be multiplied
    parts: int = 0  # of bfloat16 that a factor of a dense product has in tiles of AMX; 0: float32

    @property
    def label(self) -> str:
        """The name by which it is chosen."""
        return f"amx{self.parts * (self.parts + 1) // 2}" if self.parts else self.name


# 24 of 32 registers hold sums and 5 what is multiplied; of 28 sums LLVM would spill some
AVX512 = Vectors("avx512", lanes=16, rows=6, columns=4, block=128, outputs=512)
NEON = Vectors("neon", lanes=4, rows=6, columns=4, block=256, outputs=256)
AVX2 = Vectors("avx2", lanes=8, rows=6, columns=2, block=256, outputs=256)  # 12 and 3 of 16
# Products of bfloat16 in place of one of float32: three of two parts, six of three.
AMX = {f"amx{n}": replace(AVX512, outputs=256, parts=parts) for n, parts in ((3, 2), (6, 3))}
SETS = {vectors.name: vectors for vectors in (NEON, AVX2, AVX512)}


@cache
def best() -> str:
    """Return the name of the widest set of this machine, "none" when no kernel fits it."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return AVX512.name
    if features.get("avx2") and features.get("fma"):
        return AVX2.name
    if llvm.get_default_triple().startswith(("aarch64", "arm64")):
        return NEON.name
    return "none"


def _named(name: str) -> Vectors | None:
    if name in AMX:
        reason = amx_permission.missing()
        if reason:
            raise ValueError(f"vectors: {name!r} cannot be used: {reason}")
        return AMX[name]
    if name != "none" and name not in SETS:
        raise ValueError(f"vectors: {name!r} is not one of {[*SETS, *AMX, 'none']}")
    return SETS.get(name)


@cache
def _default() -> Vectors | None:
    """What the environment says, else the widest of this machine."""
    return _named(os.environ.get(ENVIRONMENT) or best())


_forced: ContextVar[tuple[Vectors | None] | None] = ContextVar("vector instructions", default=None)


def get_vectors() -> Vectors | None:
    """Return what kernels are emitted for that are called from here; None: emit none.

    Raises ValueError when the environment variable names no set.
    """
    forced = _forced.get()
    return _default() if forced is None else forced[0]


def use_vectors(name: str) -> None:
    """Emit for the set `name` from here on, "none" for nothing; ValueError if unknown."""
    _forced.set((_named(name),))


@contextmanager
def vectors(name: str) -> Iterator[None]:
    """Emit for the set `name` inside a `with` block; ValueError when it is unknown."""
    token = _forced.set((_named(name),))
    try:
        yield
    finally:
        _forced.reset(token)
