"""What lanes and threads do together, and where they go on: shfl, bar, mma, bra, call."""

from l2ae_kernels.emulator.ptx.call import Call
from l2ae_kernels.emulator.ptx.names import identifier, vector
from l2ae_kernels.emulator.ptx.parse import split


def shuffle(c: Call) -> str:
    to = c.operands[0].split("|")
    mode = c.one_of("up", "down", "bfly", "idx")
    code = f"ptx::Source source = ptx::shfl_{mode}(emulator::lane(), int({c.read(2, 'u32')} & 31), "
    code += (
        f'{c.read(3, "u32")}); u32 value = ptx::shuffle("shfl.sync.{mode}", {c.read(4, "u32")}, '
    )
    code += f"{c.read(1, 'u32')}, source, {c.place}); " + c.names.write(to[0].strip(), "value")
    return code + "".join(c.names.write(p.strip(), "source.inside") for p in to[1:])


def vote(c: Call) -> str:
    mask, holds = c.read(2, "u32"), c.read(1, "bool")
    if c.has("ballot"):
        return c.names.write(c.operands[0], f"ptx::ballot({mask}, {holds}, {c.place})")
    if c.has("any"):
        return c.names.write(c.operands[0], f"ptx::ballot({mask}, {holds}, {c.place}) != 0")
    if c.has("all"):
        return c.names.write(c.operands[0], f"ptx::ballot({mask}, !({holds}), {c.place}) == 0")
    raise c.unknown()


def match(c: Call) -> str:
    if not c.has("any"):
        raise c.unknown()
    return c.write(f"ptx::match_any({c.read(2, 'u32')}, {c.read(1)}, {c.place})")


def reduce(c: Call) -> str:
    how = c.one_of("add", "min", "max", "and", "or", "xor")
    return c.write(f"__reduce_{how}_sync({c.read(2, 'u32')}, {c.read(1)}, {c.place})")


def barrier(c: Call) -> str:
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


def matrices(c: Call) -> str:
    count = c.one_of("x1", "x2", "x4")
    if not c.has("m8n8") or not c.has("b16") or not count:
        raise c.unknown()
    transposed = "true" if c.has("trans") else "false"
    address = c.names.address(c.operands[1])
    code = f"u32 d[4]; ptx::load_matrices(d, {count[1]}, {transposed}, {address}, {c.place}); "
    return code + "".join(c.names.write(r, f"d[{i}]") for i, r in enumerate(vector(c.operands[0])))


def mma(c: Call) -> str:
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


def branch(c: Call) -> str:
    return f"goto {identifier('L', c.operands[0])};"


def branch_indexed(c: Call) -> str:
    targets = c.names.targets[c.operands[1]]
    cases = "".join(f"case {i}: goto {identifier('L', t)}; " for i, t in enumerate(targets))
    return f"switch ({c.read(0, 'u32')}) {{ {cases}}}"


def call_function(c: Call) -> str:
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
