"""Adam on vectors of gradients that are still in registers.

    m ← β₁ m + (1 − β₁) g
    v ← β₂ v + (1 − β₂) g²
    p ← p − rate · m / (√v · scale + ε)

Both variants of the reference are this one, with another rate and scale: see `adam_numbers` in
l2ae_kernels.cpu.numba.optim.
"""

from collections.abc import Sequence
from typing import NamedTuple

from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Offset, Value
from l2ae_kernels.cpu.microkernels.program import Arguments

# shards (count, shard): gradients to add up, of which `size` floats from `first` on are those of p
REDUCE_ADAM = Arguments("shards shard count first size p m v numbers")


class Moments(NamedTuple):
    """Pointers to a parameter and its two moments, which lie alike."""

    p: Value
    m: Value
    v: Value


class Adam:
    """The numbers of a step, broadcast over vectors; emitted once at the start of a kernel."""

    def __init__(self, e: Emitter, numbers: Value) -> None:
        self.e = e
        broadcast = (e.broadcast(numbers, i) for i in range(7))
        self.beta1, self.rest1, self.beta2, self.rest2, self.rate, self.scale, self.eps = broadcast

    def apply(self, g: Value, to: Moments, offset: Offset, mask: Value | None = None) -> None:
        """Emit the update of one vector of parameters."""
        e, b = self.e, self.e.b
        m = e.fma(self.beta1, e.load(to.m, offset, mask), b.fmul(self.rest1, g))
        v = e.fma(self.beta2, e.load(to.v, offset, mask), b.fmul(b.fmul(self.rest2, g), g))
        below = e.fma(e.sqrt(v), self.scale, self.eps)
        change = b.fdiv(b.fmul(self.rate, m), below)
        e.store(m, to.m, offset, mask)
        e.store(v, to.v, offset, mask)
        e.store(b.fsub(e.load(to.p, offset, mask), change), to.p, offset, mask)


def add_reduce_adam(module: Module) -> None:
    """Emit reduce_adam(arguments, m): g = Σ over shards, in order; shards ← 0; Adam with g.

    Reads the shards and p, m, v once, writes them once; g itself stays in a register.
    """
    with module.function("reduce_adam", 2) as (e, address, _):
        a = REDUCE_ADAM.read(e, address)
        shards = e.pointer(a.shards)
        to = Moments(*(e.pointer(array) for array in (a.p, a.m, a.v)))
        adam = Adam(e, e.pointer(a.numbers))

        def vector(i: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
            def add_shard(shard: Value, sums: Sequence[Value]) -> list[Value]:
                offset = shard * a.shard + a.first + i
                value = e.load(shards, offset, mask)
                e.store(e.zero, shards, offset, mask)
                return [e.b.fadd(sums[0], value)]

            adam.apply(e.loop(0, a.count, [e.zero], add_shard)[0], to, i, mask)
            return []

        e.over_vectors(a.size, [], vector)
