"""The table of PTX's instructions: what each is in C++, as calls of runtime/ptx*.hpp.

TABLE has an entry an opcode: the modifiers that it may have besides its types, and what makes the
C++ statement. A modifier that is not listed is an error: nothing is executed by half.
"""

import re

from l2ae_kernels.emulator.ptx.arithmetic import (
    SIGNS,
    add,
    bfind,
    bit_not,
    carry,
    convert,
    convert_address,
    funnel_shift,
    is_space,
    move,
    multiply,
    operator,
    result,
    select,
    set_number,
    set_predicate,
)
from l2ae_kernels.emulator.ptx.call import SPACES, Call, Maker
from l2ae_kernels.emulator.ptx.memory import CHANGES, atomic, copy, load, store
from l2ae_kernels.emulator.ptx.names import NUMBERS, Names
from l2ae_kernels.emulator.ptx.parse import Instruction
from l2ae_kernels.emulator.ptx.warps import (
    barrier,
    branch,
    branch_indexed,
    call_function,
    match,
    matrices,
    mma,
    reduce,
    shuffle,
    vote,
)

_ROUNDED = "rn rz rm rp ftz sat"
_APPROXIMATE = f"{_ROUNDED} approx full"
_ORDER = "weak relaxed acquire release acq_rel volatile cta gpu sys cluster generic"
_CACHE = "ca cg cs cv lu wb wt nc L1::evict_last L1::evict_first L1::no_allocate L1::evict_normal "
_CACHE += "L1::evict_unchanged L2::64B L2::128B L2::256B unified " + " ".join(SPACES)
_COMPARED = f"ftz {' '.join(SIGNS)} equ neu ltu leu gtu geu num nan and or xor"

TABLE: dict[str, tuple[str, Maker]] = {
    "add": (f"{_ROUNDED} cc", add),
    "sub": (f"{_ROUNDED} cc", add),
    "mul": (f"{_ROUNDED} lo hi wide", multiply),
    "mad": (f"{_ROUNDED} lo hi wide cc", multiply),
    "fma": (_ROUNDED, multiply),
    **dict.fromkeys(("addc", "subc", "madc"), ("lo hi cc", carry)),
    "div": (_APPROXIMATE, result("div", "", "")),
    "rem": ("", result("rem", "", "")),
    "min": ("ftz", result("min", "", "")),
    "max": ("ftz", result("max", "", "")),
    "abs": ("ftz", result("abs", "")),
    "neg": ("ftz", result("neg", "")),
    "sad": ("", result("sad", "", "", "")),
    **{
        name: (_APPROXIMATE, result(name, ""))
        for name in ("rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh")
    },
    "copysign": ("", result("copysign", "", "")),
    "testp": (
        "finite infinite number notanumber normal subnormal",
        lambda c: result(c.modifiers[0], "")(c),
    ),
    "and": ("", operator("&")),
    "or": ("", operator("|")),
    "xor": ("", operator("^")),
    "not": ("", bit_not),
    "shl": ("", result("shl", "", "u32")),
    "shr": ("", result("shr", "", "u32")),
    "shf": ("l r wrap clamp", funnel_shift),
    "popc": ("", result("popc", "")),
    "clz": ("", result("clz", "")),
    "brev": ("", result("brev", "")),
    "bfind": ("shiftamt", bfind),
    "bfi": ("", result("bfi", "", "", "u32", "u32")),
    "bfe": ("", result("bfe", "", "u32", "u32")),
    "lop3": ("", result("lop3", "u32", "u32", "u32", "u32")),
    "prmt": ("", result("prmt", "u32", "u32", "u32")),
    "selp": ("", select),
    "setp": (_COMPARED, set_predicate),
    "set": (_COMPARED, set_number),
    "mov": ("", move),
    "cvt": ("rn rna rni rzi rmi rpi ftz sat", convert),
    "cvta": ("to " + " ".join(SPACES), convert_address),
    "isspacep": ("shared global", is_space),
    "ld": (f"{_ORDER} {_CACHE} v2 v4", load),
    "st": (f"{_ORDER} {_CACHE} v2 v4", store),
    "atom": (f"{_ORDER} shared global {' '.join(CHANGES)}", atomic),
    "red": (f"{_ORDER} shared global {' '.join(CHANGES)}", atomic),
    "cp": (f"async {_CACHE} commit_group wait_group wait_all", copy),
    "shfl": ("sync up down bfly idx", shuffle),
    "vote": ("sync any all ballot", vote),
    "match": ("any sync", match),
    "redux": ("sync add min max and or xor", reduce),
    "bar": ("sync warp red popc and or cta arrive", barrier),
    "barrier": ("sync red popc and or cta aligned arrive", barrier),
    "membar": ("cta gl sys", lambda c: "emulator::fence();"),
    "fence": (f"sc {_ORDER}", lambda c: "emulator::fence();"),
    "ldmatrix": ("sync aligned m8n8 x1 x2 x4 trans shared", matrices),
    "mma": ("sync aligned m16n8k4 m16n8k8 row col", mma),
    "bra": ("uni", branch),
    "brx": ("idx uni", branch_indexed),
    "call": ("uni", call_function),
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
