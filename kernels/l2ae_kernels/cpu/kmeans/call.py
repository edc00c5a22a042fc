"""What Numba lacks here: to call an emitted kernel, by address, and to find the lowest bit set.

So a whole pass over the samples, with the bookkeeping of every block, runs without the GIL and
without a step in Python. An address is an argument, never a constant: Numba may keep the compiled
caller on disk. Where NUMBA_DISABLE_JIT=1 leaves the callers in Python, these are in Python, too.
"""

import ctypes
from typing import Any

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic


def _call(typing_context: Any, address: Any, arguments: Any) -> Any:
    """call(address, (a, b, …)): call a kernel with addresses and integers, from Numba."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        target, packed = values
        integers = cgutils.unpack_tuple(builder, packed)
        kernel = ir.FunctionType(ir.VoidType(), [value.type for value in integers])
        builder.call(builder.inttoptr(target, kernel.as_pointer()), integers)
        return context.get_dummy_value()

    return types.void(address, arguments), generate


def _call_from_python(address: int, arguments: tuple[int, ...]) -> None:
    integers = [ctypes.c_int64] * len(arguments)
    ctypes.CFUNCTYPE(None, *integers)(int(address))(*map(int, arguments))


INTERPRETED: bool = config.DISABLE_JIT  # type: ignore[attr-defined]
call: Any = _call_from_python if INTERPRETED else intrinsic(_call)


def _trailing_zeros(typing_context: Any, bits: Any) -> Any:
    """trailing_zeros(bits): the number of the lowest bit that is set, from Numba."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


def _trailing_zeros_of_python(bits: int) -> int:
    return (int(bits) & -int(bits)).bit_length() - 1


trailing_zeros: Any = _trailing_zeros_of_python if INTERPRETED else intrinsic(_trailing_zeros)
