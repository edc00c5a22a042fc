"""The language of the emitted kernels: pointers to float32, vectors, loops with carried values.

    module = Module(vectors)
    with module.function("saxpy", 4) as (e, n, *addresses):      # y += a · x
        a, x, y = map(e.pointer, addresses)
        with e.each(0, n, e.lanes) as i:                         # n a multiple of the lanes
            e.store(e.fma(e.broadcast(a), e.load(x, i), e.load(y, i)), y, i)
    saxpy = Library(str(module.ir)).function("saxpy", 4)         # of machine_code.py

Python's own loops unroll, `Emitter.each` and `Emitter.loop` loop at run time. Values that `loop`
carries (sums) come in as a list and leave as one: LLVM keeps each in a register as long as there
are enough.

Offsets count floats and may be Python integers or values. A vector has `lanes` floats; loads and
stores with a mask touch no memory outside it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from l2ae_kernels.cpu.codegen.integer import I64, Integer, Offset, Value, i64
from l2ae_kernels.cpu.codegen.vectors import Vectors

F32, F64, I32 = ir.FloatType(), ir.DoubleType(), ir.IntType(32)
POINTER = ir.PointerType()


class Module:
    """IR of some functions that belong together."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.ir = ir.Module()

    @contextmanager
    def function(
        self, name: str, arguments: int, exported: bool = True
    ) -> Iterator[tuple[Any, ...]]:
        """Yield an Emitter for the body of a new function, and its arguments, integers.

        `exported` functions can be called from Python, others only from this module.
        """
        function = ir.Function(self.ir, ir.FunctionType(ir.VoidType(), [I64] * arguments), name)
        function.attributes.add("noinline")
        if not exported:
            function.linkage = "internal"
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        yield Emitter(self, builder), *(Integer(builder, a) for a in function.args)
        builder.ret_void()

    def has(self, name: str) -> bool:
        """Whether a function of this name was made."""
        return name in self.ir.globals


class Emitter:
    """Writes the instructions of one function."""

    def __init__(self, module: Module, builder: ir.IRBuilder) -> None:
        self.module, self.b = module, builder
        self.lanes = module.vectors.lanes
        self.vector = ir.VectorType(F32, self.lanes)
        self.zero = self.constant(0.0)
        self.fastmath = ("contract", "nsz")  # products and sums may fuse; NaN stays NaN

    # integers and pointers

    def index(self, number: Offset) -> Integer:
        """Return an integer to calculate with: index(4) * i + 1."""
        return Integer(self.b, i64(number))

    def pointer(self, address: Offset) -> Value:
        """Return the pointer to an address."""
        return self.b.inttoptr(i64(address), POINTER)

    def at(self, pointer: Value, offset: Offset) -> Value:
        """Return the pointer `offset` floats further."""
        return self.b.gep(pointer, [i64(offset)], source_etype=F32)

    # vectors

    def constant(self, value: float) -> Value:
        """Return a vector of equal lanes."""
        return ir.Constant(self.vector, [value] * self.lanes)

    def load(self, pointer: Value, offset: Offset = 0, mask: Value | None = None) -> Value:
        """Load a vector; lanes outside the mask are 0."""
        p = self.at(pointer, offset)
        if mask is None:
            return self.b.load(p, align=4, typ=self.vector)
        return self._intrinsic("masked.load", self.vector, p, I32(4), mask, self.zero)

    def store(
        self, value: Value, pointer: Value, offset: Offset = 0, mask: Value | None = None
    ) -> None:
        """Store the lanes of a vector that the mask selects, all without one."""
        p = self.at(pointer, offset)
        if mask is None:
            self.b.store(value, p, align=4)
        else:
            self._intrinsic("masked.store", ir.VoidType(), value, p, I32(4), mask)

    def mask_first(self, count: Offset) -> Value:
        """Return the mask of the first `count` lanes."""
        numbers = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        return self.b.icmp_signed("<", numbers, self.splat(i64(count)))

    def masks(self, vectors: int, lanes: Offset, masked: bool) -> list[Value | None]:
        """Return the masks of so many vectors: the last has `lanes` lanes if `masked`, else all."""
        return [None] * (vectors - 1) + [self.mask_first(lanes) if masked else None]

    def load_one(self, pointer: Value, offset: Offset = 0) -> Value:
        """Load one float."""
        return self.b.load(self.at(pointer, offset), align=4, typ=F32)

    def store_one(self, value: Value, pointer: Value, offset: Offset = 0) -> None:
        """Store one float."""
        self.b.store(value, self.at(pointer, offset), align=4)

    def broadcast(self, pointer: Value, offset: Offset = 0) -> Value:
        """Load one float into every lane."""
        return self.splat(self.load_one(pointer, offset))

    def splat(self, value: Value) -> Value:
        """Return a vector of which every lane is the scalar `value`."""
        vector = ir.VectorType(value.type, self.lanes)
        none = ir.Constant(vector, ir.Undefined)
        first = self.b.insert_element(none, value, I32(0))
        return self.b.shuffle_vector(first, none, ir.Constant(ir.VectorType(I32, self.lanes), None))

    def prefetch(
        self, pointer: Value, offset: Offset = 0, *, write: bool = False, level: int = 1
    ) -> None:
        """Ask for the cache line of a float, to be read or written soon; any address will do.

        `level`: 1 for all caches, 2 for those from the second on.
        """
        near, data = I32(4 - level), I32(1)
        p = self.at(pointer, offset)
        self._intrinsic("prefetch", ir.VoidType(), p, I32(int(write)), near, data)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Return a · b + c, rounded once where the machine can."""
        return self._intrinsic("fmuladd", a.type, a, b, c)

    def transpose(self, rows: Sequence[Value]) -> list[Value]:
        """Return the columns of a square matrix of `lanes` vectors, lanes a power of two.

        Halves of blocks are swapped across the diagonal: single lanes first, then pairs, …
        """
        rows, size = list(rows), 1
        while size < self.lanes:
            own = [lane for lane in range(self.lanes) if not lane & size]
            low = [i if not i & size else self.lanes + i - size for i in range(self.lanes)]
            high = [i + size if not i & size else self.lanes + i for i in range(self.lanes)]
            for i in own:
                a, b = rows[i], rows[i + size]
                rows[i], rows[i + size] = self._lanes_of(a, b, low), self._lanes_of(a, b, high)
            size *= 2
        return rows

    def _lanes_of(self, a: Value, b: Value, numbers: list[int]) -> Value:
        """Return a vector of lanes of a (0 … lanes − 1) and of b (lanes …)."""
        chosen = ir.Constant(ir.VectorType(I32, len(numbers)), numbers)
        return self.b.shuffle_vector(a, b, chosen)

    def sum_of_lanes(self, v: Value) -> Value:
        """Return the sum of a vector's lanes as a scalar."""
        return self._intrinsic(
            "vector.reduce.fadd", F32, ir.Constant(F32, -0.0), v, fastmath=("reassoc",)
        )

    def sqrt(self, a: Value) -> Value:
        """Return the root of a scalar or of each lane."""
        return self._intrinsic("sqrt", a.type, a)

    def where_positive(self, gate: Value, yes: Value, no: Value) -> Value:
        """Return, lane by lane, `yes` where `gate` > 0 and `no` elsewhere."""
        return self.b.select(self.b.fcmp_ordered(">", gate, self.zero), yes, no)

    # flow

    def loop(
        self,
        start: Offset,
        stop: Offset,
        carried: Sequence[Value],
        body: Callable[[Integer, list[Value]], Sequence[Value]],
        step: int = 1,
    ) -> list[Value]:
        """Run `body(i, values) -> values` for i from start to stop, and return the last values."""
        b = self.b
        start, stop = i64(start), i64(stop)
        before = b.block
        head, inside, after = (b.append_basic_block(name) for name in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(I64)
        i.add_incoming(start, before)
        values = []
        for value in carried:
            phi = b.phi(value.type)
            phi.add_incoming(value, before)
            values.append(phi)
        b.cbranch(b.icmp_signed("<", i, stop), inside, after)
        b.position_at_end(inside)
        results = body(Integer(b, i), list(values))
        following = b.add(i, I64(step))
        end = b.block
        b.branch(head)
        i.add_incoming(following, end)
        for phi, result in zip(values, results, strict=True):
            phi.add_incoming(result, end)
        b.position_at_end(after)
        return values

    def over_vectors(
        self, count: Offset, carried: Sequence[Value], body: Callable[..., Sequence[Value]]
    ) -> list[Value]:
        """Run `body(i, values)` over `count` floats by vectors, at last `body(i, values, mask)`."""
        whole = count // self.lanes * self.lanes
        values = self.loop(0, whole, carried, body, step=self.lanes)
        mask = self.mask_first(count - whole)
        return self.loop(whole, count, values, lambda i, v: body(i, v, mask), step=self.lanes)

    @contextmanager
    def each(self, start: Offset, stop: Offset, step: Offset = 1) -> Iterator[Integer]:
        """`with e.each(0, n) as i:` runs the block for i from start to stop at run time."""
        b = self.b
        i = self._variable()
        b.store(i64(start), i)
        head, inside, after = (b.append_basic_block(name) for name in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        b.cbranch(b.icmp_signed("<", b.load(i, typ=I64), i64(stop)), inside, after)
        b.position_at_end(inside)
        yield Integer(b, b.load(i, typ=I64))
        b.store(b.add(b.load(i, typ=I64), i64(step)), i)
        b.branch(head)
        b.position_at_end(after)

    def workspace(self, floats: int) -> Integer:
        """Return the address of that many floats on the stack, at the start of a cache line."""
        with self.b.goto_entry_block():
            memory = self.b.alloca(F32, size=floats)
            memory.align = 64
        return self.index(self.b.ptrtoint(memory, I64))

    def _variable(self) -> Value:
        """Return a pointer to an i64 that may change, made in the first block of the function."""
        with self.b.goto_entry_block():
            return self.b.alloca(I64)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """`with e.when(a > b):` runs the block if the condition (i1) holds."""
        with self.b.if_then(condition):
            yield

    def call(self, name: str, *arguments: Offset) -> None:
        """Call a function of this module; pointers are passed as addresses."""
        self.b.call(self.module.ir.globals[name], [self._address(a) for a in arguments])

    def _address(self, value: Offset) -> Value:
        value = i64(value)
        return self.b.ptrtoint(value, I64) if isinstance(value.type, ir.PointerType) else value

    def _intrinsic(self, name: str, result: Any, *arguments: Value, fastmath: Any = ()) -> Value:
        """Call llvm.NAME, overloaded on the types that its name has to carry."""
        vector = next((a.type for a in arguments if isinstance(a.type, ir.VectorType)), None)
        suffix = _suffix(vector or arguments[0].type)
        if name.startswith("masked"):
            loaded = isinstance(result, ir.VectorType)
            suffix = f"{_suffix(result if loaded else arguments[0].type)}.p0"
        full = f"llvm.{name}.{suffix}"
        known = self.module.ir.globals.get(full)
        if known is None:
            types = [a.type for a in arguments]
            known = ir.Function(self.module.ir, ir.FunctionType(result, types), full)
        return self.b.call(known, arguments, fastmath=fastmath)


def _suffix(type_: Any) -> str:
    if isinstance(type_, ir.VectorType):
        return f"v{type_.count}{_suffix(type_.element)}"
    return {"float": "f32", "double": "f64", "ptr": "p0"}.get(str(type_), str(type_))
