"""Integers of a kernel, to count and to calculate addresses with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from llvmlite import ir

Value: TypeAlias = Any  # an LLVM value; llvmlite has no types for mypy
Offset: TypeAlias = Any  # an int, an Integer or a Value (i64)

I64 = ir.IntType(64)


def i64(number: Offset) -> Value:
    """Return an integer as a value, `number` itself where it is one already."""
    if isinstance(number, Integer):
        return number.value
    return ir.Constant(I64, number) if isinstance(number, int) else number


@dataclass(frozen=True, eq=False)
class Integer:
    """An integer of the kernel, with Python's operators; comparisons make conditions for `when`."""

    b: ir.IRBuilder
    value: Value

    def _make(self, instruction: Callable[[Value, Value], Value], other: Offset) -> "Integer":
        return Integer(self.b, instruction(self.value, i64(other)))

    def __add__(self, other: Offset) -> "Integer":
        return self._make(self.b.add, other)

    def __sub__(self, other: Offset) -> "Integer":
        return self._make(self.b.sub, other)

    def __mul__(self, other: Offset) -> "Integer":
        return self._make(self.b.mul, other)

    def __floordiv__(self, other: Offset) -> "Integer":
        """Rounds towards zero: both must not be negative."""
        return self._make(self.b.sdiv, other)

    def __mod__(self, other: Offset) -> "Integer":
        """Takes the sign of the first: both must not be negative."""
        return self._make(self.b.srem, other)

    def __rsub__(self, other: Offset) -> "Integer":
        return Integer(self.b, i64(other)) - self

    __radd__, __rmul__ = __add__, __mul__

    def __gt__(self, other: Offset) -> Value:
        return self.b.icmp_signed(">", self.value, i64(other))

    def equals(self, other: Offset) -> Value:
        """Return whether both are equal, as a condition."""
        return self.b.icmp_signed("==", self.value, i64(other))

    def unless(self, condition: Value, other: Offset) -> "Integer":
        """Return this one, or `other` where the condition (i1) holds."""
        return Integer(self.b, self.b.select(condition, i64(other), self.value))

    def min(self, other: Offset) -> "Integer":
        """Return the lower of both."""
        lower = self.b.icmp_signed("<", self.value, i64(other))
        return Integer(self.b, self.b.select(lower, self.value, i64(other)))

    def max(self, other: Offset) -> "Integer":
        """Return the higher of both."""
        higher = self.b.icmp_signed(">", self.value, i64(other))
        return Integer(self.b, self.b.select(higher, self.value, i64(other)))
