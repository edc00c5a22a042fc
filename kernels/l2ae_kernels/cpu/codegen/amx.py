"""AMX: products of matrices of bfloat16 in tile registers, summed in float32.

    tiles = Tiles(e)
    with tiles.configured():                  every tile is 16 rows of 64 bytes
        tiles.zero(0)
        tiles.load(4, a)                      a: 16 rows of 16 pairs of bfloat16, 1024 bytes
        tiles.load(6, b)                      b: 16 pairs of rows of 16 columns
        tiles.multiply(0, 4, 6)               tile 0, float32 (16, 16), += a b
        tiles.store(0, c)

A float32 is the sum of parts, each a bfloat16 of 8 bits of mantissa: x = x₁ + x₂ + …, where each
part is what is left, rounded. Of two parts of either factor three products are added, x₁w₁ + x₁w₂ +
x₂w₁: what is left out is below 2⁻¹⁶ of |x w|. Numbers below 2⁻¹²⁶ count as 0.

A pair is what the unit multiplies and adds at once. Which two of 32 numbers are a pair is free, as
long as both factors agree: here those that are 16 apart, so that pairs are made of two vectors lane
by lane.

Who may use them: amx_permission.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from l2ae_kernels.cpu.codegen.emitter import I32, Emitter
from l2ae_kernels.cpu.codegen.integer import I64, Offset, Value

SIDE = 16  # rows of a tile, and float32 of a row
STEP = 32  # bfloat16 of a row: products that a sum takes at once
TILE = 1024  # bytes
# Which parts of A and of B are multiplied, by the number of parts: each differs from the one before
# in one factor, so that the tiles of the other stay. Products that are left out are the smallest.
PATHS = {
    2: ((1, 0), (0, 0), (0, 1)),
    3: ((2, 0), (1, 0), (1, 1), (0, 1), (0, 0), (0, 2)),
}


class Tiles:
    """Emits the instructions of the tile registers 0 … 7 into a function."""

    def __init__(self, e: Emitter) -> None:
        self.e = e

    @contextmanager
    def configured(self) -> Iterator[None]:
        """Switch all registers on, of 16 rows of 64 bytes, and off again after the block."""
        e, bytes_ = self.e, bytearray(64)
        bytes_[0] = 1  # palette
        for tile in range(8):
            bytes_[16 + 2 * tile] = 4 * SIDE
            bytes_[48 + tile] = SIDE
        words = [int.from_bytes(bytes_[i : i + 8], "little") for i in range(0, 64, 8)]
        memory = e.pointer(e.workspace(SIDE))
        for i, word in enumerate(words):
            e.b.store(I64(word), e.at(memory, 2 * i))
        self._call("ldtilecfg", memory)
        yield
        self._call("tilerelease")

    def zero(self, tile: int) -> None:
        """tile = 0."""
        self._call("tilezero", _number(tile))

    def load(self, tile: int, address: Offset, row: Offset = 4 * SIDE) -> None:
        """Load 16 rows of 64 bytes, which are `row` bytes apart."""
        self._call("tileloadd64", _number(tile), self.e.pointer(address), self.e.index(row).value)

    def store(self, tile: int, address: Offset, row: Offset = 4 * SIDE) -> None:
        """Store them."""
        self._call("tilestored64", _number(tile), self.e.pointer(address), self.e.index(row).value)

    def multiply(self, c: int, a: int, b: int) -> None:
        """c (16, 16) += a b, of 32 products each, two by two."""
        self._call("tdpbf16ps", _number(c), _number(a), _number(b))

    def _call(self, name: str, *arguments: Value) -> None:
        module, full = self.e.module.ir, f"llvm.x86.{name}"
        known = module.globals.get(full)
        if known is None:
            types = [a.type for a in arguments]
            known = ir.Function(module, ir.FunctionType(ir.VoidType(), types), full)
        self.e.b.call(known, arguments)


def split(e: Emitter, low: Value, high: Value, parts: int) -> list[Value]:
    """Return the parts of two vectors in pairs, as 32 bits a lane: bfloat16 of `low`, of `high`."""
    pairs = []
    for part in range(parts):
        pair = _pairs(e, low, high)
        pairs.append(pair)
        if part + 1 < parts:
            sixteen = _splat(e, 16)
            low = e.b.fsub(low, e.b.bitcast(e.b.shl(pair, sixteen), e.vector))
            above = e.b.and_(pair, _splat(e, 0xFFFF0000))
            high = e.b.fsub(high, e.b.bitcast(above, e.vector))
    return pairs


class _BFloat(ir.Type):  # type: ignore[misc]
    """bfloat, which llvmlite does not have; of vectors alone."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def _pairs(e: Emitter, low: Value, high: Value) -> Value:
    """Round two vectors to bfloat16 and put their lanes side by side."""
    name = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
    known = e.module.ir.globals.get(name)
    if known is None:
        rounded = ir.VectorType(_BFloat(), 32)
        known = ir.Function(e.module.ir, ir.FunctionType(rounded, [e.vector, e.vector]), name)
    words = e.b.bitcast(e.b.call(known, [high, low]), ir.VectorType(ir.IntType(16), 32))
    order = [lane // 2 + 16 * (lane % 2) for lane in range(32)]
    mixed = e.b.shuffle_vector(words, words, ir.Constant(ir.VectorType(I32, 32), order))
    return e.b.bitcast(mixed, ir.VectorType(I32, 16))


def _splat(e: Emitter, number: int) -> Value:
    return ir.Constant(ir.VectorType(I32, e.lanes), [number] * e.lanes)


def _number(tile: int) -> Value:
    return ir.Constant(ir.IntType(8), tile)
