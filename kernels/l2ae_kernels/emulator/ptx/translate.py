"""From PTX to C++ for the emulator: a function a kernel, a statement an instruction.

    ld.global.f32 %f1, [%rd1+4];  →  { const char* at = ptx::global_at(…R__rd1…, 4, AT(0, 12));
                                       ptx::put(R__f1, ptx::load<f32>(at + 0)); }

Registers are local variables, branches are goto. The library describes itself in JSON: parameters
and shared memory of its kernels and, where it counts, the instructions of each basic block.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from l2ae_kernels.emulator.errors import CompileError
from l2ae_kernels.emulator.ptx.call import SPACES, Call
from l2ae_kernels.emulator.ptx.instructions import statement
from l2ae_kernels.emulator.ptx.memory import copied, space_of, width_of
from l2ae_kernels.emulator.ptx.names import BITS, REGISTERS, Names, identifier, literal
from l2ae_kernels.emulator.ptx.parse import (
    Brace,
    Function,
    Instruction,
    Label,
    Module,
    Registers,
    Variable,
    parse,
    split,
)
from l2ae_kernels.emulator.translate import Signature

_VISIBLE = 'extern "C" __attribute__((visibility("default")))'
_ENDS = ("bra", "brx", "ret", "exit", "trap")  # of a basic block


@dataclass
class Count:
    """What a library that counts says of its blocks and of the instructions that reach memory."""

    blocks: list[Counter[str]] = field(default_factory=list)  # instructions by kind
    sites: list[dict[str, Any]] = field(default_factory=list)


def translate(
    text: str,
    count: bool = False,
    extra_bits: int = 0,
    signatures: Sequence[Signature] = (),
) -> str:
    """Return C++ for a PTX text; see PtxModule for the arguments.

    signatures: the kernels as CUDA C++ declares them, where it is there.
    """
    module = parse(text)
    counted = Count() if count else None
    files: list[str] = []
    described: dict[str, Any] = {}
    functions = []
    for function in module.functions:
        blocks = len(counted.blocks) if counted else 0
        functions.append(_function(function, module, files, counted))
        if function.kernel:
            end = len(counted.blocks) if counted else 0
            described[function.name] = {
                "parameters": [p.bytes for p in function.parameters],
                "shared": sum(v.bytes for v in _shared(function, module)),
                "max_threads": function.max_threads,
                "blocks": [blocks, end],
            }
    counts = vars(counted) if counted else None
    description = json.dumps({"kernels": described, "counted": counts})
    kernels = [f for f in module.functions if f.kernel]
    declared = {s.name: s for s in signatures}
    listed = ";".join(_listed(kernel, declared.get(kernel.name)) for kernel in kernels)
    return "\n".join([
        f"namespace ptx {{ constexpr int extra_bits = {extra_bits}; }}",
        '#include "ptx.hpp"',
        "using namespace ptx;",
        *_counters(counted),
        *_globals(module),
        f"static const char* const files[] = {{{', '.join(json.dumps(f) for f in files) or '0'}}};",
        "#define AT(file, line) emulator::Place{files[file], line}",
        *(f"static void {_name(f)}(const u64* parameters, const u64* returns);"
          for f in module.functions if not f.kernel),
        *functions,
        *(_export(kernel, declared.get(kernel.name)) for kernel in kernels),
        f"{_VISIBLE} const char* list_kernels() {{ return {json.dumps(listed)}; }}",
        f"{_VISIBLE} const char* ptx_description() {{ return {_quoted(description)}; }}",
    ])  # fmt: skip


def _name(function: Function) -> str:
    return identifier("K" if function.kernel else "F", function.name)


def _quoted(text: str) -> str:
    """Return a C++ string, in pieces of the length that every compiler takes."""
    return " ".join(f'R"({text[i : i + 8000]})"' for i in range(0, len(text), 8000))


def _listed(kernel: Function, declared: Signature | None) -> str:
    unnamed = (f"argument_{i}" for i in range(len(kernel.parameters)))
    return f"{kernel.name}:{','.join(declared.parameters if declared else unnamed)}"


def _export(kernel: Function, declared: Signature | None) -> str:
    """Return what Python calls, as runtime/export.hpp has it for kernels in C++."""
    texts = declared.declared if declared else [""] * len(kernel.parameters)
    described = "".join(
        _described(p, text) for p, text in zip(kernel.parameters, texts, strict=True)
    )
    return f"""
{_VISIBLE} void describe_{kernel.name}(char* out, size_t size) {{
  snprintf(out, size, "%s", "{described}");
}}
{_VISIBLE} int launch_{kernel.name}(emulator::Request* request, void* const* values, char* error,
                                    size_t size) {{
  request->max_threads = {kernel.max_threads};
  return emulator::launch("{kernel.name}", *request, {_name(kernel)}, values, error, size);
}}"""


def _described(parameter: Variable, declared: str) -> str:
    """Describe a parameter; `declared` is its type and name in C++, or ""."""
    if "*" in declared:
        constant = re.search(r"\bconst\b[^*]*\*", declared)
        return f"{'&' if constant else '*'}v0:1 "
    if parameter.array:
        return f"s{parameter.bytes}:{parameter.alignment} "
    kind = "f" if parameter.type.startswith("f") else "u"
    return f"{kind}{parameter.bytes}:{parameter.alignment} "


def _globals(module: Module) -> Iterator[str]:
    """Yield the variables of the module: those of global memory, and the slots of shared ones."""
    for variable in module.variables:
        name = identifier("V", variable.name)
        if variable.space == "shared":
            yield _slot(variable)
        elif variable.space in ("global", "const"):
            bits = BITS[variable.type]
            values = [_initial(v, bits) for v in split(re.sub(r"[{}]", " ", variable.initial))]
            kind = f"alignas({max(variable.alignment, 8)}) static {bits}"
            yield f"{kind} {name}[{max(variable.count, 1)}] = {{{', '.join(values)}}};"


def _initial(text: str, bits: str) -> str:
    value = literal(text, bits)
    if value is None:
        raise CompileError(f"PTX: the initial value {text!r} is not a number")
    return value


def _declared(function: Function) -> Iterator[Variable]:
    return (s for s in function.statements if isinstance(s, Variable))


def _shared(function: Function, module: Module) -> list[Variable]:
    """Return the shared variables that a function has or names."""
    words: set[str] = set()
    for s in function.statements:
        if isinstance(s, Instruction):
            words.update(word for o in s.operands for word in re.findall(r"[\w$.]+", o))
    named = [v for v in module.variables if v.space == "shared" and v.name in words]
    return [*named, *(v for v in _declared(function) if v.space == "shared")]


def _function(function: Function, module: Module, files: list[str], count: Count | None) -> str:
    """Return a function in C++."""
    names = Names(files=files)
    names.functions = {f.name: _name(f) for f in module.functions if not f.kernel}
    names.addresses = {v.name: identifier("V", v.name) for v in module.variables}
    lines = ["bool carry = false;"] if _carries(function) else []
    for group, address in ((function.parameters, "parameters"), (function.returns, "returns")):
        names.addresses |= {v.name: f"{address}[{i}]" for i, v in enumerate(group)}
    lines += [_slot(v) for v in _declared(function) if v.space == "shared"]
    for variable in _shared(function, module):
        names.addresses[variable.name] = identifier("V", variable.name)
        lines.append(f"const u64 {identifier('V', variable.name)} = {_place_of(variable)};")
    for statement_ in function.statements:
        if isinstance(statement_, Label) and statement_.targets:
            names.targets[statement_.name] = statement_.targets
    first = len(count.blocks) if count else 0
    body = list(_body(function, names, count if function.kernel else None))
    if count and function.kernel:
        lines.append(f"Visits<{first}, {len(count.blocks) - first}> visits;")
    if function.kernel:
        head = f"PTX_FUNCTION {_name(function)}(const void* values) {{"
        lines.insert(0, "const u64* parameters = static_cast<const u64*>(values);")
    else:
        head = f"PTX_FUNCTION {_name(function)}(const u64* parameters, const u64* returns) {{"
    return "\n".join([head, *(f"  {line}" for line in (*lines, *body)), "}"])


def _carries(function: Function) -> bool:
    return any(isinstance(s, Instruction) and "cc" in s.modifiers for s in function.statements)


def _slot(variable: Variable) -> str:
    return f"static const int {identifier('S', variable.name)} = emulator::new_slot();"


def _place_of(variable: Variable) -> str:
    """Return the offset of a variable in shared memory, which has it from the first thread on."""
    if variable.count == 0:
        return "ptx::shared_offset(emulator::dynamic_shared())"
    inner = re.search(r"E\d+([A-Za-z_]\w*)$", variable.name)
    name = inner[1] if inner else variable.name
    where = (
        f'{identifier("S", variable.name)}, {variable.bytes}, "{name}", emulator::Place{{"PTX", 0}}'
    )
    return f"ptx::shared_offset(emulator::shared_variable({where}))"


def _body(function: Function, names: Names, count: Count | None) -> Iterator[str]:
    """Yield the statements of a body."""
    outermost, new_block = True, True
    for s in function.statements:
        if isinstance(s, Registers):
            names.registers |= dict.fromkeys(s.names, s.type)
            value = " = 0" if outermost else ""  # a jump into a scope sets nothing
            yield f"{REGISTERS[s.type]} {', '.join(identifier('R', n) + value for n in s.names)};"
        elif isinstance(s, Variable):
            if s.space != "shared":
                name = identifier("V", s.name)
                names.addresses[s.name] = name
                yield f"alignas({max(s.alignment, 8)}) char {name}[{s.bytes}];"
        elif isinstance(s, Brace):
            outermost = False
            yield s.text
        elif isinstance(s, Label):
            new_block = True
            if not s.targets:
                yield f"{identifier('L', s.name)}:;"
        else:
            if count and new_block:
                count.blocks.append(Counter())
                yield f"visits.enter({len(count.blocks) - 1});"
            if count:
                count.blocks[-1][kind_of(s)] += 1
                yield from _accesses(s, names, count)
            new_block = s.name in _ENDS
            yield statement(s, names)
    yield "return;"


KINDS = {
    "mma": "tensor", "atom": "atomic", "red": "atomic", "ldmatrix": "shared", "cp": "global",
    **dict.fromkeys(("bra", "brx", "ret", "exit", "trap", "call"), "branch"),
    **dict.fromkeys(("bar", "barrier", "membar", "fence", "nanosleep"), "barrier"),
    **dict.fromkeys(("shfl", "vote", "match", "redux"), "shuffle"),
    **dict.fromkeys(("mov", "selp", "cvta"), "move"), "cvt": "convert",
    **dict.fromkeys(("rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh"), "special"),
}  # fmt: skip


def kind_of(instruction: Instruction) -> str:
    """Return what an instruction is counted as."""
    modifiers = instruction.modifiers
    if instruction.name in ("ld", "st"):
        return next((m for m in modifiers if m in SPACES), "generic")
    if instruction.name in KINDS:
        return KINDS[instruction.name]
    return {"f32": "fp32", "f64": "fp64"}.get(modifiers[-1] if modifiers else "", "int")


def _accesses(instruction: Instruction, names: Names, count: Count) -> Iterator[str]:
    """Yield the statements that note which addresses an instruction reaches."""
    c = Call(instruction, names)
    guard = names.guard(instruction) or "true"
    space, name = space_of(c), instruction.name
    found: list[tuple[str, bool, str, str, int]] = []  # space, writes, condition, address, bytes
    if name in ("ld", "st") and space in ("shared", "global", "generic"):
        address = names.address(instruction.operands[1 if name == "ld" else 0])
        inside = f"emulator::in_shared_memory((const void*){address})"
        conditions = {space: "true"}
        if space == "generic":
            conditions = {"shared": inside, "global": f"!{inside}"}
        found = [(s, name == "st", when, address, width_of(c)) for s, when in conditions.items()]
    elif name == "cp" and len(instruction.operands) > 2:
        to, source, size = instruction.operands[:3]
        found = [
            ("shared", True, "true", names.address(to), int(size)),
            ("global", False, f"{copied(c)} != 0", names.address(source), int(size)),
        ]
    elif name == "ldmatrix":
        rows = f"emulator::lane() < {8 * int(c.one_of('x1', 'x2', 'x4')[1])}"
        found = [("shared", False, rows, names.address(instruction.operands[1]), 16)]
    for where, writes, condition, at, width in found:
        place = instruction.place
        site: dict[str, Any] = {"space": where, "writes": writes, "text": str(instruction)}
        count.sites.append({**site, "file": place.file, "line": place.line})
        executes = f"({guard}) && ({condition})"
        shared = "true" if where == "shared" else "false"
        yield (
            f"visits.access({len(count.sites) - 1}, {len(count.blocks) - 1}, {shared}, {executes}, "
            f"{at}, {width});"
        )


def _counters(count: Count | None) -> list[str]:
    if count is None:
        return []
    return [
        '#include "ptx_count.hpp"',
        f"ptx::Counters ptx::counters({len(count.blocks)}, {len(count.sites)});",
        f"{_VISIBLE} void ptx_take_counts(u64* out) {{ ptx::counters.take(out); }}",
    ]
