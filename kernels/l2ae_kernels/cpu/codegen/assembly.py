"""Assembly of single kernels, for this processor or another, and what their loops are made of.

The whole module is compiled, as it is for use: what LLVM knows of a function's callers may change
its code. LLVM's own comments say where an innermost loop begins, which blocks belong to it, and
what is kept on the stack for want of registers; instructions are sorted by their names.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import llvmlite.binding as llvm
from numba.core.compiler_lock import global_compiler_lock

from l2ae_kernels.cpu.codegen import machine_code
from l2ae_kernels.cpu.codegen.emitter import Module

CPUS = {  # LLVM's names, by its triple; for one that it does not know it may end the process
    "x86_64-unknown-linux-gnu": (
        "x86-64-v3", "x86-64-v4", "haswell", "skylake", "skylake-avx512", "icelake-server",
        "sapphirerapids", "graniterapids", "alderlake", "znver1", "znver2", "znver3", "znver4",
        "znver5",
    ),
    "aarch64-unknown-linux-gnu": (
        "generic", "cortex-a76", "neoverse-n1", "neoverse-v1", "neoverse-v2", "apple-m1",
    ),
}  # fmt: skip
LEVELS = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "neon": "generic"}  # the plainest of a set
LABEL = re.compile(r"\.?L?(BB\d+_\d+):|[#/]+ %bb\.\d+:")
MEMBER = re.compile(r"in Loop: Header=(BB\d+_\d+)")
MULTIPLY_ADD = re.compile(r"vfn?m(add|sub)|fn?m(la|ls|add|sub)$")
NO_ACCESS = ("lea", "prefetch", "nop", "prfm")  # an address, and nothing read or written
COMPARE = ("cmp", "test", "bt", "vucomis", "ucomis", "vptest")  # AT&T's last operand is read, too
MOVE = ("mov", "vmov", "vextract", "vpextr", "vcompress", "vscatter", "vpmov", "vcvtps2ph")


@dataclass(frozen=True)
class Processor:
    """A target of LLVM."""

    triple: str
    cpu: str
    features: str = ""

    @classmethod
    def of(cls, vectors: str, cpu: str | None = None) -> "Processor":
        """Return the plainest processor that has a set of vectors, or the one named `cpu`.

        Raises ValueError for one that is not in CPUS beside the plainest.
        """
        for triple, names in CPUS.items():
            if LEVELS[vectors] in names:
                if cpu is not None and cpu not in names:
                    raise ValueError(f"cpu: {cpu!r} is not one of {', '.join(names)}")
                return cls(triple, cpu or LEVELS[vectors])
        raise ValueError(f"vectors: {vectors!r} is not one of {[*LEVELS]}")

    @classmethod
    def native(cls) -> "Processor":
        """Return the processor of this machine."""
        features = llvm.get_host_cpu_features().flatten()
        return cls(llvm.get_default_triple(), llvm.get_host_cpu_name(), features)


class Loop(NamedTuple):
    """An innermost loop: instructions in its blocks, and how many of them are of some kinds.

    One that multiplies, adds and reads an operand from memory is an `fma` and a load.
    """

    label: str
    instructions: int = 0
    fma: int = 0
    loads: int = 0
    stores: int = 0
    spills: int = 0  # stores to the stack for want of a register, by LLVM's comments
    reloads: int = 0


@dataclass(frozen=True)
class Compiled:
    """IR after LLVM's passes, and assembly, of one function."""

    ir: str
    assembly: str

    @property
    def loops(self) -> list[Loop]:
        """The innermost loops, in the order of the code."""
        return innermost_loops(self.assembly)


def compile_function(module: Module, name: str, processor: Processor) -> Compiled:
    """Compile a module for a processor, which need not be this one; return one function of it.

    Raises ValueError for a function that the module does not define.
    """
    with global_compiler_lock:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        target = llvm.Target.from_triple(processor.triple)
        machine = machine_code.code_generator(target, processor.cpu, processor.features)
        machine.set_asm_verbosity(True)
        module.ir.triple = processor.triple
        optimized = machine_code.optimize(str(module.ir), machine)
        text = machine.emit_assembly(optimized)
        found = {f.name: f for f in optimized.functions if not f.is_declaration}
        if name not in found:
            raise ValueError(f"assembly: no function {name!r}")
        return Compiled(str(found[name]).strip() + "\n", _cut(text, name))


def _cut(text: str, name: str) -> str:
    """The lines of one function, from its label to its end."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if re.match(rf'_?"?{re.escape(name)}"?:', line))
    last = next(i for i in range(first, len(lines)) if re.match(r"\.?Lfunc_end", lines[i]))
    return "\n".join(line for line in lines[first:last] if ".cfi_" not in line) + "\n"


def innermost_loops(assembly: str) -> list[Loop]:
    """Return the innermost loops of a function in assembly with LLVM's comments."""
    found: dict[str, Loop] = {}
    block, loop = "", None  # the label of this block, and the loop that it belongs to
    for line in assembly.splitlines():
        if label := LABEL.match(line):
            block, loop = label.group(1) or "", None
        if "This Inner Loop Header" in line:
            loop = block
            found[loop] = Loop(loop)
        elif (member := MEMBER.search(line)) and member.group(1) in found:
            loop = member.group(1)
        elif loop is not None and (instruction := re.match(r"\t([a-z]\w*)\s*(.*)", line)):
            found[loop] = _add(found[loop], *instruction.groups())
    return [*found.values()]


def _add(loop: Loop, name: str, rest: str) -> Loop:
    operands, _, comment = re.sub(r"\s(#|//)\s", "\0", rest, count=1).partition("\0")
    load, store = _access(name, operands)
    return Loop(
        loop.label,
        loop.instructions + 1,
        loop.fma + bool(MULTIPLY_ADD.match(name)),
        loop.loads + load,
        loop.stores + store,
        loop.spills + ("Spill" in comment),
        loop.reloads + ("Reload" in comment),
    )


def _access(name: str, operands: str) -> tuple[bool, bool]:
    """Whether an instruction reads memory, and whether it writes there."""
    if name.startswith(NO_ACCESS):
        return False, False
    if "[" in operands:  # ARM
        return name.startswith("ld"), name.startswith("st")
    if "(" not in operands:
        return False, False
    last = re.split(r",(?![^(]*\))", operands)[-1]
    if "(" not in last or name.startswith((*COMPARE, "jmp", "call")):
        return True, False
    return not name.startswith(MOVE), True
