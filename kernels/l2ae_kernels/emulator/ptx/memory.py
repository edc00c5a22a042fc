"""Instructions that reach memory: ld, st, atom, cp.async."""

from l2ae_kernels.emulator.ptx.call import SPACES, Call
from l2ae_kernels.emulator.ptx.names import vector
from l2ae_kernels.emulator.ptx.parse import SIZES


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


def load(c: Call) -> str:
    size = SIZES[c.types[-1]]
    # A thread may wait for another one's write.
    code = f"emulator::yield({c.place}); " * c.has("acquire", "relaxed", "volatile")
    code += f"const char* at = {_pointer(c, c.operands[1])}; "
    for i, register in enumerate(vector(c.operands[0])):
        code += c.names.write(register, f"ptx::load<{c.number}>(at + {size * i})")
    return code


def store(c: Call) -> str:
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


def atomic(c: Call) -> str:
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


def copy(c: Call) -> str:
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
