"""What each instruction of PTX is in C++, as calls of runtime/ptx*.hpp.

TABLE has an entry an opcode: the modifiers that it may have besides its types, and what makes the
C++ statement. A modifier that is not listed is an error: nothing is executed by half.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from l2ae_kernels.emulator.errors import CompileError
from l2ae_kernels.emulator.ptx.names import BITS, NUMBERS, WIDE, Names, identifier, vector
from l2ae_kernels.emulator.ptx.parse import SIZES, Instruction, split

SPACES = ("shared", "global", "local", "param", "const")


@dataclass(frozen=True)
class Call:
    """An instruction with what most entries of the table ask it for."""

    instruction: Instruction
    names: Names

    @property
    def modifiers(self) -> tuple[str, ...]:
        """All of them; `shared::cta` is `shared`."""
        return tuple(m.replace("::cta", "") for m in self.instruction.modifiers)

    @property
    def types(self) -> list[str]:
        """Its PTX types: `cvt` has two."""
        return [m for m in self.modifiers if m in NUMBERS]

    @property
    def number(self) -> str:
        """The C++ type of its last PTX type."""
        return NUMBERS[self.types[-1]]

    @property
    def operands(self) -> tuple[str, ...]:
        """As they are written."""
        return self.instruction.operands

    @property
    def place(self) -> str:
        """The line, in C++."""
        return self.names.place(self.instruction.place)

    def has(self, *words: str) -> bool:
        """Whether it has one of the modifiers."""
        return any(word in self.modifiers for word in words)

    def one_of(self, *words: str) -> str:
        """Return which of the modifiers it has; "" for none."""
        return next((m for m in self.modifiers if m in words), "")

    def read(self, position: int, number: str = "") -> str:
        """Return an operand; with .ftz a float without its subnormal numbers."""
        number = number or self.number
        value = self.names.read(self.operands[position], number)
        return f"ptx::flush({value})" if number == "f32" and self.has("ftz") else value

    def write(self, value: str, position: int = 0) -> str:
        """Return the statement that sets a register to a result, as .ftz and .sat ask for."""
        if self.has("sat"):
            if self.types[0] not in ("f32", "f64"):
                raise self.unknown()
            value = f"ptx::saturate({value})"
        if self.has("ftz") and "f32" in self.types[:1]:
            value = f"ptx::flush({value})"
        return self.names.write(self.operands[position], value)

    def unknown(self) -> CompileError:
        """Return the error for what is not executed here."""
        at = self.instruction.place
        return CompileError(f"PTX: {self.instruction} ({at.file}:{at.line}) is not known")


Maker = Callable[[Call], str]


ROUNDING = {"rz": "FE_TOWARDZERO", "rm": "FE_DOWNWARD", "rp": "FE_UPWARD"}


def _function(name: str, *numbers: str) -> Maker:
    """A result that is one call: the operands are of `numbers`, "" for the instruction's type."""

    def make(c: Call) -> str:
        values = ", ".join(c.read(i, number) for i, number in enumerate(numbers, 1))
        if mode := ROUNDING.get(c.one_of(*ROUNDING)):
            used = ", ".join("abc"[: len(numbers)])
            operation = f"[](auto a, auto b, auto c) {{ return ptx::{name}({used}); }}"
            return c.write(f"ptx::rounded({mode}, {operation}, {values})")
        return c.write(f"ptx::{name}({values})")

    return make


def _carry(c: Call) -> str:
    """addc, add.cc and the like: `c` reads the carry of the thread, `.cc` writes it."""
    reads, writes = c.instruction.name in ("addc", "subc", "madc"), c.has("cc")
    first, second = c.read(1), c.read(2)
    if c.instruction.name in ("mad", "madc"):
        first, second = f"ptx::mul_{c.one_of('lo', 'hi')}({first}, {second})", c.read(3)
    how = "sub" if c.instruction.name in ("sub", "subc") else "add"
    code = f"bool bit = {'carry' if reads else 'false'}; "
    code += c.names.write(c.operands[0], f"ptx::{how}_carry({first}, {second}, bit)")
    return code + (" carry = bit;" if writes else "")


def _operator(sign: str) -> Maker:
    return lambda c: c.write(f"{c.number}({c.read(1)} {sign} {c.read(2)})")


def _not(c: Call) -> str:
    return c.write(f"!{c.read(1)}" if c.number == "bool" else f"{c.number}(~{c.read(1)})")


def _add(c: Call) -> str:
    return _carry(c) if c.has("cc") else _function(c.instruction.name, "", "")(c)


def _multiply(c: Call) -> str:
    if c.has("cc"):
        return _carry(c)
    if c.number in ("f32", "f64"):
        return _function(
            *(("mul", "", "") if c.instruction.name == "mul" else ("fma", "", "", ""))
        )(c)
    part = c.one_of("lo", "hi", "wide")
    third = [] if c.instruction.name == "mul" else [WIDE[c.number] if part == "wide" else ""]
    return _function(f"{c.instruction.name}_{part}", "", "", *third)(c)


def _funnel_shift(c: Call) -> str:
    n = c.read(3, "u32")
    n = f"({n} & 31)" if c.has("wrap") else f"ptx::min({n}, 32u)"
    return c.write(f"ptx::shf_{c.one_of('l', 'r')}({c.read(1, 'u32')}, {c.read(2, 'u32')}, {n})")


def _bfind(c: Call) -> str:
    return _function("bfind_shiftamt" if c.has("shiftamt") else "bfind", "")(c)


def _select(c: Call) -> str:
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


def _set_predicate(c: Call) -> str:
    holds, both = c.operands[0].split("|"), c.one_of("and", "or", "xor")
    sign = {"and": "&&", "or": "||", "xor": "!="}.get(both)
    more = f" {sign} {c.names.read(c.operands[3], 'bool')}" if sign else ""
    code = f"bool holds = {_comparison(c)}; " + c.names.write(holds[0].strip(), f"holds{more}")
    return code + "".join(c.names.write(q.strip(), f"!holds{more}") for q in holds[1:])


def _set(c: Call) -> str:
    to = NUMBERS[c.types[0]]
    return c.names.write(
        c.operands[0], f"{_comparison(c)} ? {to}({1 if to == 'f32' else -1}) : {to}(0)"
    )


def _move(c: Call) -> str:
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


def _convert_address(c: Call) -> str:
    value = c.read(1, "u64")
    if c.has("shared"):
        value = f"ptx::{'to' if c.has('to') else 'from'}_shared({value})"
    return c.write(value)


def _is_space(c: Call) -> str:
    inside = f"emulator::in_shared_memory((const void*){c.read(1, 'u64')})"
    return c.write(inside if c.has("shared") else f"!{inside}")


def _convert(c: Call) -> str:
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


# ---------------------------------------------------------------------- memory


def space_of(c: Call) -> str:
    """The state space that an instruction names, or "generic"."""
    return c.one_of(*SPACES) or "generic"


def width_of(c: Call) -> int:
    """How many bytes a lane reads or writes, of a vector all."""
    return SIZES[c.types[-1]] * int((c.one_of("v2", "v4", "v8") or "v1")[1:])


def _pointer(c: Call, operand: str) -> str:
    address, space = c.names.address(operand), space_of(c)
    if space in ("param", "const"):
        return f"(char*){address}"
    check = {"shared": "shared", "generic": "generic"}.get(space, "global")
    return f"ptx::{check}_at({address}, {width_of(c)}, {c.place})"


def _load(c: Call) -> str:
    size = SIZES[c.types[-1]]
    # A thread may wait for another one's write.
    code = f"emulator::yield({c.place}); " * c.has("acquire", "relaxed", "volatile")
    code += f"const char* at = {_pointer(c, c.operands[1])}; "
    for i, register in enumerate(vector(c.operands[0])):
        code += c.names.write(register, f"ptx::load<{c.number}>(at + {size * i})")
    return code


def _store(c: Call) -> str:
    size = SIZES[c.types[-1]]
    code = f"char* at = {_pointer(c, c.operands[0])}; "
    for i, value in enumerate(vector(c.operands[1])):
        code += f"ptx::store<{c.number}>(at + {size * i}, {c.names.read(value, c.number)}); "
    return code


CHANGES = {
    "add": "ptx::add(old, x)", "min": "ptx::min(old, x)", "max": "ptx::max(old, x)", "exch": "x",
    "and": "old & x", "or": "old | x", "xor": "old ^ x", "cas": "old == x ? y : old",
    "inc": "ptx::increment(old, x)", "dec": "ptx::decrement(old, x)",
}  # fmt: skip


def _atomic(c: Call) -> str:
    operands = c.operands if c.instruction.name == "atom" else ("_", *c.operands)
    how, number = c.one_of(*CHANGES), c.number
    change = CHANGES[how]
    if how == "add" and number == "f32" and space_of(c) != "shared":  # it flushes, always
        change = "ptx::flush(ptx::add(ptx::flush(old), ptx::flush(x)))"
    code = f"{number} x = {c.names.read(operands[2], number)}; "
    if how == "cas":
        code += f"{number} y = {c.names.read(operands[3], number)}; "
    code += f"{number} was = ptx::atom<{number}>({_pointer(c, operands[1])}, "
    code += f"[&]({number} old) {{ return {number}({change}); }}); "
    return code + c.names.write(operands[0], "was")


def _copy(c: Call) -> str:
    if c.has("commit_group"):
        return "emulator::commit_copies();"
    if c.has("wait_group"):
        return f"ptx::wait_copies({c.operands[0]});"
    if c.has("wait_all"):
        return "emulator::commit_copies(); ptx::wait_copies(0);"
    sizes = ("16",) if c.has("cg") else ("4", "8", "16")
    if not (c.has("shared") and c.has("global") and c.operands[2] in sizes):
        raise c.unknown()
    to, source = c.names.address(c.operands[0]), c.names.address(c.operands[1])
    return f"ptx::copy_async({to}, {source}, {c.operands[2]}, {copied(c)}, {c.place});"


def copied(c: Call) -> str:
    """The bytes that cp.async reads (9.7.9.25.3): all, src-size, or 0 where ignore-src holds."""
    size = c.operands[2]
    if len(c.operands) < 4:
        return f"{size}u"
    more = c.operands[3]
    if c.names.registers.get(more.lstrip("!")) == "pred":
        return f"({c.names.read(more, 'bool')} ? 0u : {size}u)"
    return c.names.read(more, "u32")


# ---------------------------------------------------------------------- warps and blocks


def _shuffle(c: Call) -> str:
    to = c.operands[0].split("|")
    mode = c.one_of("up", "down", "bfly", "idx")
    code = f"ptx::Source source = ptx::shfl_{mode}(emulator::lane(), int({c.read(2, 'u32')} & 31), "
    code += (
        f'{c.read(3, "u32")}); u32 value = ptx::shuffle("shfl.sync.{mode}", {c.read(4, "u32")}, '
    )
    code += f"{c.read(1, 'u32')}, source, {c.place}); " + c.names.write(to[0].strip(), "value")
    return code + "".join(c.names.write(p.strip(), "source.inside") for p in to[1:])


def _vote(c: Call) -> str:
    mask, holds = c.read(2, "u32"), c.read(1, "bool")
    if c.has("ballot"):
        return c.names.write(c.operands[0], f"ptx::ballot({mask}, {holds}, {c.place})")
    if c.has("any"):
        return c.names.write(c.operands[0], f"ptx::ballot({mask}, {holds}, {c.place}) != 0")
    if c.has("all"):
        return c.names.write(c.operands[0], f"ptx::ballot({mask}, !({holds}), {c.place}) == 0")
    raise c.unknown()


def _match(c: Call) -> str:
    if not c.has("any"):
        raise c.unknown()
    return c.write(f"ptx::match_any({c.read(2, 'u32')}, {c.read(1)}, {c.place})")


def _reduce(c: Call) -> str:
    how = c.one_of("add", "min", "max", "and", "or", "xor")
    return c.write(f"__reduce_{how}_sync({c.read(2, 'u32')}, {c.read(1)}, {c.place})")


def _barrier(c: Call) -> str:
    if c.has("warp"):
        return f"ptx::sync_warp({c.read(0, 'u32')}, {c.place});"
    reduction = c.one_of("popc", "and", "or")
    numbers = c.operands[1:] if reduction else c.operands
    if len(numbers) > (2 if reduction else 1) or not numbers[0].isdigit() or c.has("arrive"):
        raise c.unknown()  # of some of the block's threads
    what = f"bar {numbers[0]}"
    if not reduction:
        return f'emulator::block_barrier("{what}", 0, {c.place});'
    value = {"popc": "v.holds", "and": "v.holds == v.threads", "or": "v.holds != 0"}[reduction]
    holds = c.names.read(numbers[1], "bool")
    code = (
        f'emulator::Votes v = emulator::block_barrier("{what} {reduction}", {holds}, {c.place}); '
    )
    return code + c.names.write(c.operands[0], value)


def _matrices(c: Call) -> str:
    count = c.one_of("x1", "x2", "x4")
    if not c.has("m8n8") or not c.has("b16") or not count:
        raise c.unknown()
    transposed = "true" if c.has("trans") else "false"
    address = c.names.address(c.operands[1])
    code = f"u32 d[4]; ptx::load_matrices(d, {count[1]}, {transposed}, {address}, {c.place}); "
    return code + "".join(c.names.write(r, f"d[{i}]") for i, r in enumerate(vector(c.operands[0])))


def _mma(c: Call) -> str:
    shape = c.one_of("m16n8k4", "m16n8k8")
    if (
        not shape
        or c.types != ["f32", "tf32", "tf32", "f32"]
        or not (c.has("row") and c.has("col"))
    ):
        raise c.unknown()
    code = ""
    for name, operand, number in zip("abc", c.operands[1:], ("u32", "u32", "f32"), strict=True):
        values = ", ".join(c.names.read(v, number) for v in vector(operand))
        code += f"{number} {name}[] = {{{values}}}; "
    code += f"f32 d[4]; ptx::mma_tf32<{shape[-1]}>(d, a, b, c, {c.place}); "
    return code + "".join(c.names.write(r, f"d[{i}]") for i, r in enumerate(vector(c.operands[0])))


# ---------------------------------------------------------------------- control


def _branch(c: Call) -> str:
    return f"goto {identifier('L', c.operands[0])};"


def _branch_indexed(c: Call) -> str:
    targets = c.names.targets[c.operands[1]]
    cases = "".join(f"case {i}: goto {identifier('L', t)}; " for i, t in enumerate(targets))
    return f"switch ({c.read(0, 'u32')}) {{ {cases}}}"


def _call(c: Call) -> str:
    lists = [split(o[1:-1]) for o in c.operands if o.startswith("(")]
    name = next(o for o in c.operands if not o.startswith("("))
    if name not in c.names.functions:
        raise c.unknown()
    returned = lists.pop(0) if c.operands[0].startswith("(") else []
    passed = lists[0] if lists else []
    to, given = (
        ", ".join(c.names.address(p) for p in names) or "0" for names in (returned, passed)
    )
    return f"u64 given[] = {{{given}}}, to[] = {{{to}}}; {c.names.functions[name]}(given, to);"


_ROUNDED = "rn rz rm rp ftz sat"
_APPROXIMATE = f"{_ROUNDED} approx full"
_ORDER = "weak relaxed acquire release acq_rel volatile cta gpu sys cluster generic"
_CACHE = "ca cg cs cv lu wb wt nc L1::evict_last L1::evict_first L1::no_allocate L1::evict_normal "
_CACHE += "L1::evict_unchanged L2::64B L2::128B L2::256B unified " + " ".join(SPACES)
_COMPARED = f"ftz {' '.join(SIGNS)} equ neu ltu leu gtu geu num nan and or xor"

TABLE: dict[str, tuple[str, Maker]] = {
    "add": (f"{_ROUNDED} cc", _add),
    "sub": (f"{_ROUNDED} cc", _add),
    "mul": (f"{_ROUNDED} lo hi wide", _multiply),
    "mad": (f"{_ROUNDED} lo hi wide cc", _multiply),
    "fma": (_ROUNDED, _multiply),
    **dict.fromkeys(("addc", "subc", "madc"), ("lo hi cc", _carry)),
    "div": (_APPROXIMATE, _function("div", "", "")),
    "rem": ("", _function("rem", "", "")),
    "min": ("ftz", _function("min", "", "")),
    "max": ("ftz", _function("max", "", "")),
    "abs": ("ftz", _function("abs", "")),
    "neg": ("ftz", _function("neg", "")),
    "sad": ("", _function("sad", "", "", "")),
    **{
        name: (_APPROXIMATE, _function(name, ""))
        for name in ("rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh")
    },
    "copysign": ("", _function("copysign", "", "")),
    "testp": (
        "finite infinite number notanumber normal subnormal",
        lambda c: _function(c.modifiers[0], "")(c),
    ),
    "and": ("", _operator("&")),
    "or": ("", _operator("|")),
    "xor": ("", _operator("^")),
    "not": ("", _not),
    "shl": ("", _function("shl", "", "u32")),
    "shr": ("", _function("shr", "", "u32")),
    "shf": ("l r wrap clamp", _funnel_shift),
    "popc": ("", _function("popc", "")),
    "clz": ("", _function("clz", "")),
    "brev": ("", _function("brev", "")),
    "bfind": ("shiftamt", _bfind),
    "bfi": ("", _function("bfi", "", "", "u32", "u32")),
    "bfe": ("", _function("bfe", "", "u32", "u32")),
    "lop3": ("", _function("lop3", "u32", "u32", "u32", "u32")),
    "prmt": ("", _function("prmt", "u32", "u32", "u32")),
    "selp": ("", _select),
    "setp": (_COMPARED, _set_predicate),
    "set": (_COMPARED, _set),
    "mov": ("", _move),
    "cvt": ("rn rna rni rzi rmi rpi ftz sat", _convert),
    "cvta": ("to " + " ".join(SPACES), _convert_address),
    "isspacep": ("shared global", _is_space),
    "ld": (f"{_ORDER} {_CACHE} v2 v4", _load),
    "st": (f"{_ORDER} {_CACHE} v2 v4", _store),
    "atom": (f"{_ORDER} shared global {' '.join(CHANGES)}", _atomic),
    "red": (f"{_ORDER} shared global {' '.join(CHANGES)}", _atomic),
    "cp": (f"async bulk {_CACHE} commit_group wait_group wait_all", _copy),
    "shfl": ("sync up down bfly idx", _shuffle),
    "vote": ("sync any all ballot", _vote),
    "match": ("any sync", _match),
    "redux": ("sync add min max and or xor", _reduce),
    "bar": ("sync warp red popc and or cta arrive", _barrier),
    "barrier": ("sync red popc and or cta aligned arrive", _barrier),
    "membar": ("cta gl sys", lambda c: "emulator::fence();"),
    "fence": (f"sc {_ORDER}", lambda c: "emulator::fence();"),
    "ldmatrix": ("sync aligned m8n8 x1 x2 x4 trans shared", _matrices),
    "mma": ("sync aligned m16n8k4 m16n8k8 row col", _mma),
    "bra": ("uni", _branch),
    "brx": ("idx uni", _branch_indexed),
    "call": ("uni", _call),
    "ret": ("uni", lambda c: "return;"),
    "exit": ("", lambda c: "return;"),
    "trap": ("", lambda c: f'emulator::fail({c.place}, "trap");'),
    "nanosleep": ("", lambda c: f"emulator::yield({c.place});"),
    "prefetch": (f"{_CACHE} L1 L2", lambda c: ""),
}


def statement(instruction: Instruction, names: Names) -> str:
    """Return an instruction as a C++ statement; CompileError for one that is not known."""
    c = Call(instruction, names)
    allowed, make = TABLE.get(instruction.name, ("", None))
    if make is None or not set(c.modifiers) <= {*allowed.split(), *NUMBERS}:
        raise c.unknown()
    guard = names.guard(instruction)
    try:
        code = re.sub(r"\s+", " ", make(c)).strip()
    except (IndexError, KeyError) as error:  # an operand or a type that is not there
        raise c.unknown() from error
    return f"if ({guard}) {{ {code} }}" if guard else f"{{ {code} }}"
