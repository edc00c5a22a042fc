"""Integers of a kernel, to count and to calculate addresses with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from llvmlite import ir

if TYPE_CHECKING:
    from l2ae_kernels.cpu.codegen.emitter import Emitter

Value: TypeAlias = Any  # an LLVM value; llvmlite has no types for mypy
Offset: TypeAlias = Any  # an int, an Integer or a Value (i64)

I64 = ir.IntType(64)


@dataclass(frozen=True, eq=False)
class Integer:
    """An integer of the kernel, with Python's operators; comparisons make conditions for `when`."""

    e: "Emitter"
    value: Value

    def _make(self, instruction: Callable[[Value, Value], Value], other: Offset) -> "Integer":
        return Integer(self.e, instruction(self.value, self.e.integer(other)))

    def __add__(self, other: Offset) -> "Integer":
        return self._make(self.e.b.add, other)

    def __sub__(self, other: Offset) -> "Integer":
        return self._make(self.e.b.sub, other)

    def __mul__(self, other: Offset) -> "Integer":
        return self._make(self.e.b.mul, other)

    def __floordiv__(self, other: Offset) -> "Integer":
        """Rounds towards zero: both must not be negative."""
        return self._make(self.e.b.sdiv, other)

    def __mod__(self, other: Offset) -> "Integer":
        """Takes the sign of the first: both must not be negative."""
        return self._make(self.e.b.srem, other)

    def __rsub__(self, other: Offset) -> "Integer":
        return self.e.index(other) - self

    __radd__, __rmul__ = __add__, __mul__

    def __gt__(self, other: Offset) -> Value:
        return self.e.b.icmp_signed(">", self.value, self.e.integer(other))

    def equals(self, other: Offset) -> Value:
        """Return whether both are equal, as a condition."""
        return self.e.b.icmp_signed("==", self.value, self.e.integer(other))

    def unless(self, condition: Value, other: Offset) -> "Integer":
        """Return this one, or `other` where the condition (i1) holds."""
        return Integer(self.e, self.e.b.select(condition, self.e.integer(other), self.value))

    def least(self, other: Offset) -> "Integer":
        """Return the lower of both."""
        return Integer(self.e, self.e.least(self, other))

    def most(self, other: Offset) -> "Integer":
        """Return the higher of both."""
        return Integer(self.e, self.e.most(self, other))
