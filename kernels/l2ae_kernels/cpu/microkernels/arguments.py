"""How a kernel gets its numbers: the address of one row of named integers.

Addresses, strides and sizes are all i64, strides count floats. A row can be kept and used again,
and a training step is a list of (kernel, row) pairs: see l2ae_kernels.cpu.program.
"""

from types import SimpleNamespace

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.emitter import Emitter
from l2ae_kernels.cpu.codegen.integer import I64, Integer, Value


class Arguments:
    """The names of a kernel's numbers, in their order in memory."""

    def __init__(self, names: str) -> None:
        self.names = names.split()

    def row(self, **numbers: int) -> Array:
        """Return the row int64; every name needs a number and no other may come."""
        if numbers.keys() != set(self.names):
            odd = sorted(numbers.keys() ^ set(self.names))
            raise ValueError(f"Arguments: {odd} are missing or unknown")
        return np.array([numbers[name] for name in self.names], np.int64)

    def read(self, e: Emitter, address: Value) -> SimpleNamespace:
        """Emit the loads of a row; its numbers are attributes."""
        row, b = e.pointer(address), e.b
        numbers = {
            name: Integer(b, b.load(b.gep(row, [I64(i)], source_etype=I64), typ=I64))
            for i, name in enumerate(self.names)
        }
        return SimpleNamespace(**numbers)
