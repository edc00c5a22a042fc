"""Operands of PTX as C++: registers, literals, symbols and addresses of one function."""

import re
from dataclasses import dataclass, field

from l2ae_kernels.emulator.errors import CompileError
from l2ae_kernels.emulator.ptx.parse import Instruction, Place

# The C++ type of runtime/ptx.hpp that has the bits, or the number, of a PTX type.
NUMBERS = {
    "pred": "bool", "b8": "u8", "b16": "u16", "b32": "u32", "b64": "u64",
    "f16": "u16", "bf16": "u16", "f16x2": "u32", "bf16x2": "u32", "tf32": "u32",
    **{t: t for t in ("f32", "f64")},
    **{f"{kind}{bits}": f"{kind}{bits}" for kind in "us" for bits in (8, 16, 32, 64)},
}  # fmt: skip
INTEGERS = {f"{kind}{bits}" for kind in "us" for bits in (8, 16, 32, 64)}
BITS = {name: re.sub(r"[sf](?=\d)", "u", number) for name, number in NUMBERS.items()}
# A register of floats is one in C++: what fewer conversions there are, the faster it compiles.
REGISTERS = {name: name if name in ("f32", "f64") else bits for name, bits in BITS.items()}
WIDE = {"s16": "s32", "u16": "u32", "s32": "s64", "u32": "u64"}

_SPECIAL = {  # section 10
    "%laneid": "emulator::lane()",
    "%warpid": "((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x) / 32",
    "%lanemask_eq": "1u << emulator::lane()",
    "%lanemask_lt": "(1u << emulator::lane()) - 1",
    "%lanemask_le": "~0u >> (31 - emulator::lane())",
    "%lanemask_gt": "~(~0u >> (31 - emulator::lane()))",
    "%lanemask_ge": "~0u << emulator::lane()",
    "%clock": "0", "%clock64": "0", "%globaltimer": "0",  # no time passes
    "WARP_SZ": "32",
}  # fmt: skip
for _register, _variable in {
    "tid": "threadIdx", "ntid": "blockDim", "ctaid": "blockIdx", "nctaid": "gridDim"
}.items():  # fmt: skip
    _SPECIAL |= {f"%{_register}.{axis}": f"{_variable}.{axis}" for axis in "xyz"}


def identifier(prefix: str, name: str) -> str:
    """Return a C++ name."""
    return f"{prefix}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"


def literal(text: str, number: str) -> str | None:
    """Return a constant (4.5) as a C++ number of the type, None where it is none."""
    if match := re.fullmatch(r"0[fF]([0-9A-Fa-f]{8})", text):
        return f"ptx::as<{number}>(u32(0x{match[1]}u))"
    if match := re.fullmatch(r"0[dD]([0-9A-Fa-f]{16})", text):
        return f"ptx::as<{number}>(u64(0x{match[1]}ull))"
    if match := re.fullmatch(r"(-?)(0[xX][0-9A-Fa-f]+|\d+)U?", text):
        return f"{number}({match[1]}{match[2]}ull)"
    return None


@dataclass
class Names:
    """What the names of a function stand for, and the files of its lines."""

    registers: dict[str, str] = field(default_factory=dict)  # to the PTX type
    addresses: dict[str, str] = field(default_factory=dict)  # of variables and parameters, in C++
    functions: dict[str, str] = field(default_factory=dict)
    targets: dict[str, tuple[str, ...]] = field(default_factory=dict)  # lists of labels
    files: list[str] = field(default_factory=list)

    def read(self, operand: str, number: str) -> str:
        """Return an operand as a C++ number of the type."""
        if operand.startswith("!"):
            return f"!{self.read(operand[1:], number)}"
        if operand in self.registers:
            name = identifier("R", operand)
            own = REGISTERS[self.registers[operand]]
            if own in INTEGERS and number in INTEGERS:
                return name if own == number else f"{number}({name})"
            return name if own == number else f"ptx::as<{number}>({name})"
        if operand in _SPECIAL:
            return f"{number}({_SPECIAL[operand]})"
        return literal(operand, number) or f"{number}({self.address(operand)})"

    def write(self, operand: str, expression: str) -> str:
        """Return a C++ statement that sets a register; `_` takes a result that nobody reads."""
        if operand == "_":
            return f"(void)({expression});"
        if operand not in self.registers:
            raise CompileError(f"PTX: {operand!r} is not a register")
        return f"ptx::put({identifier('R', operand)}, {expression});"

    def address(self, operand: str) -> str:
        """Return an address, `[%rd1+4]`, `[tile]` or the same without brackets, as a u64."""
        match = re.fullmatch(r"\[?\s*([\w$%.]+)\s*(?:\+\s*(-?\w+))?\s*\]?", operand)
        if match is None:
            raise CompileError(f"PTX: {operand!r} is not an address")
        base, offset = match.groups()
        if base in self.registers:
            start = self.read(base, BITS[self.registers[base]])
        else:
            start = self.addresses.get(base) or literal(base, "u64") or ""
        if not start:
            raise CompileError(f"PTX: {base!r} is not declared")
        return f"(u64({start}) + u64({offset}ll))" if offset else f"u64({start})"

    def place(self, place: Place) -> str:
        """Return where an instruction stands, as errors name it."""
        if place.file not in self.files:
            self.files.append(place.file)
        return f"AT({self.files.index(place.file)}, {place.line})"

    def guard(self, instruction: Instruction) -> str:
        """Return the condition under which an instruction is executed."""
        return self.read(instruction.guard, "bool") if instruction.guard else ""


def vector(operand: str) -> list[str]:
    """Return the registers of `{%f1, %f2}`, or the one that there is."""
    return [part.strip() for part in operand.strip("{} ").split(",")]
