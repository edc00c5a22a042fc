"""Instructions that compute, compare, convert and move numbers in registers."""

from l2ae_kernels.emulator.ptx.call import Call, Maker
from l2ae_kernels.emulator.ptx.names import BITS, NUMBERS, WIDE, vector
from l2ae_kernels.emulator.ptx.parse import SIZES

ROUNDING = {"rz": "FE_TOWARDZERO", "rm": "FE_DOWNWARD", "rp": "FE_UPWARD"}


def result(name: str, *numbers: str) -> Maker:
    """A result that is one call: the operands are of `numbers`, "" for the instruction's type."""

    def make(c: Call) -> str:
        values = ", ".join(c.read(i, number) for i, number in enumerate(numbers, 1))
        if mode := ROUNDING.get(c.one_of(*ROUNDING)):
            used = ", ".join("abc"[: len(numbers)])
            operation = f"[](auto a, auto b, auto c) {{ return ptx::{name}({used}); }}"
            return c.write(f"ptx::rounded({mode}, {operation}, {values})")
        return c.write(f"ptx::{name}({values})")

    return make


def carry(c: Call) -> str:
    """addc, add.cc and the like: `c` reads the carry of the thread, `.cc` writes it."""
    reads, writes = c.instruction.name in ("addc", "subc", "madc"), c.has("cc")
    first, second = c.read(1), c.read(2)
    if c.instruction.name in ("mad", "madc"):
        first, second = f"ptx::mul_{c.one_of('lo', 'hi')}({first}, {second})", c.read(3)
    how = "sub" if c.instruction.name in ("sub", "subc") else "add"
    code = f"bool bit = {'carry' if reads else 'false'}; "
    code += c.names.write(c.operands[0], f"ptx::{how}_carry({first}, {second}, bit)")
    return code + (" carry = bit;" if writes else "")


def operator(sign: str) -> Maker:
    return lambda c: c.write(f"{c.number}({c.read(1)} {sign} {c.read(2)})")


def bit_not(c: Call) -> str:
    return c.write(f"!{c.read(1)}" if c.number == "bool" else f"{c.number}(~{c.read(1)})")


def add(c: Call) -> str:
    return carry(c) if c.has("cc") else result(c.instruction.name, "", "")(c)


def multiply(c: Call) -> str:
    if c.has("cc"):
        return carry(c)
    if c.number in ("f32", "f64"):
        if c.has("lo", "hi", "wide"):
            raise c.unknown()
        return result(*(("mul", "", "") if c.instruction.name == "mul" else ("fma", "", "", "")))(c)
    part = c.one_of("lo", "hi", "wide")
    third = [] if c.instruction.name == "mul" else [WIDE[c.number] if part == "wide" else ""]
    return result(f"{c.instruction.name}_{part}", "", "", *third)(c)


def funnel_shift(c: Call) -> str:
    n = c.read(3, "u32")
    n = f"({n} & 31)" if c.has("wrap") else f"ptx::min({n}, 32u)"
    return c.write(f"ptx::shf_{c.one_of('l', 'r')}({c.read(1, 'u32')}, {c.read(2, 'u32')}, {n})")


def bfind(c: Call) -> str:
    return result("bfind_shiftamt" if c.has("shiftamt") else "bfind", "")(c)


def select(c: Call) -> str:
    return c.write(f"{c.read(3, 'bool')} ? {c.read(1)} : {c.read(2)}")


SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
SIGNS |= {"lo": "<", "ls": "<=", "hi": ">", "hs": ">="}  # of unsigned integers


def _comparison(c: Call) -> str:
    how = c.modifiers[0]
    a, b = c.read(1), c.read(2)
    if c.number not in ("f32", "f64"):
        return f"{a} {SIGNS[how]} {b}"
    if how in ("num", "nan"):
        return f"{'!' * (how == 'nan')}ptx::ordered({a}, {b})"
    if how.endswith("u"):
        return f"!ptx::ordered({a}, {b}) || {a} {SIGNS[how[:-1]]} {b}"
    return f"ptx::ordered({a}, {b}) && {a} {SIGNS[how]} {b}"


def set_predicate(c: Call) -> str:
    holds, both = c.operands[0].split("|"), c.one_of("and", "or", "xor")
    sign = {"and": "&&", "or": "||", "xor": "!="}.get(both)
    more = f" {sign} {c.names.read(c.operands[3], 'bool')}" if sign else ""
    code = f"bool holds = {_comparison(c)}; " + c.names.write(holds[0].strip(), f"holds{more}")
    return code + "".join(c.names.write(q.strip(), f"!holds{more}") for q in holds[1:])


def set_number(c: Call) -> str:
    to = NUMBERS[c.types[0]]
    return c.names.write(
        c.operands[0], f"{_comparison(c)} ? {to}({1 if to == 'f32' else -1}) : {to}(0)"
    )


def move(c: Call) -> str:
    whole = BITS[c.types[0]]
    if c.operands[0].startswith("{"):  # the parts of a register, the low one first
        parts = vector(c.operands[0])
        size = SIZES[c.types[0]] * 8 // len(parts)
        moved = "".join(
            c.names.write(p, f"u{size}(whole >> {size * i})") for i, p in enumerate(parts)
        )
        return f"{whole} whole = {c.read(1, whole)}; {moved}"
    if c.operands[1].startswith("{"):
        parts = vector(c.operands[1])
        size = SIZES[c.types[0]] * 8 // len(parts)
        pieces = (
            f"{whole}({c.names.read(p, f'u{size}')}) << {size * i}" for i, p in enumerate(parts)
        )
        return c.write(" | ".join(pieces))
    return c.write(c.read(1, whole))


def convert_address(c: Call) -> str:
    value = c.read(1, "u64")
    if c.has("shared"):
        value = f"ptx::{'to' if c.has('to') else 'from'}_shared({value})"
    return c.write(value)


def is_space(c: Call) -> str:
    inside = f"emulator::in_shared_memory((const void*){c.read(1, 'u64')})"
    return c.write(inside if c.has("shared") else f"!{inside}")


def convert(c: Call) -> str:
    to, source = c.types[0], c.types[-1]
    number, rounded = NUMBERS[to], c.one_of("rni", "rzi", "rmi", "rpi")
    small = {"f16": "f64", "bf16": "f32"}
    if source in small:
        value = f"ptx::from_{source}({c.read(1)})"
    elif source == "f32" and to != "tf32" and to not in small:
        value = c.read(1)
    else:
        value = c.names.read(c.operands[1], c.number)
    if to == "tf32":
        return c.names.write(c.operands[0], f"ptx::to_tf32({value})")
    if to in small:
        return c.names.write(c.operands[0], f"ptx::to_{to}({value})")
    floating = source in ("f32", "f64", *small)
    if floating and to not in ("f32", "f64"):
        origin = {"f16": "f32", "bf16": "f32"}.get(source, c.number)
        value = f"ptx::to_integer<{number}, {origin}>(ptx::{rounded or 'rzi'}({value}))"
        return c.names.write(c.operands[0], value)
    if floating and rounded:
        value = f"ptx::{rounded}({value})"
    if c.has("sat") and not floating and number not in ("f32", "f64"):
        return c.names.write(c.operands[0], f"ptx::clamp<{number}>({value})")
    return c.write(f"{number}({value})")
