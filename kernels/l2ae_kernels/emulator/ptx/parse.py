"""PTX text as functions, variables and statements; what they mean is for translate.py.

Sections are those of NVIDIA's "PTX ISA". A module is variables and functions (5, 11.1); a body is
labels, declarations, nested scopes and instructions (4.3):

    @!%p1 fma.rn.ftz.f32 %f3, %f1, %f2, %f0;      guard, opcode with its modifiers, operands
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from l2ae_kernels.emulator.errors import CompileError


@dataclass(frozen=True)
class Place:
    """A line: of the .cu text where the PTX has .loc directives (-lineinfo), else of the PTX."""

    file: str
    line: int


@dataclass(frozen=True)
class Variable:
    """`.shared .align 16 .b8 tile[1024]`; a parameter is one too."""

    space: str  # global, const, shared, local, param
    type: str
    name: str
    alignment: int
    count: int  # elements; 0 for `name[]`, the dynamic shared memory
    array: bool
    initial: str  # "" or what follows the =

    @property
    def bytes(self) -> int:
        """Its size."""
        return SIZES[self.type] * self.count


@dataclass(frozen=True)
class Registers:
    """`.reg .f32 %f<3>` or `.reg .pred p, q`: names of one type."""

    type: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Label:
    """A target of branches, or the name of a list of them."""

    name: str
    targets: tuple[str, ...] = ()  # of .branchtargets


@dataclass(frozen=True)
class Brace:
    """`{` or `}` of a scope."""

    text: str


@dataclass(frozen=True)
class Instruction:
    """One instruction, its opcode split at the dots."""

    name: str  # add
    modifiers: tuple[str, ...]  # ("rn", "ftz", "f32")
    operands: tuple[str, ...]
    guard: str  # "", "%p1" or "!%p1"
    place: Place

    def __str__(self) -> str:
        return f"{'.'.join((self.name, *self.modifiers))} {', '.join(self.operands)}".strip()


Statement = Registers | Variable | Label | Brace | Instruction


@dataclass
class Function:
    """A kernel (.entry) or a device function (.func) with its body."""

    name: str
    kernel: bool
    parameters: tuple[Variable, ...]
    returns: tuple[Variable, ...]
    max_threads: int
    statements: list[Statement] = field(default_factory=list)


@dataclass
class Module:
    """What a PTX text declares and defines."""

    variables: list[Variable] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)


SIZES = {  # bytes; section 5.2.1
    **{f"{kind}{8 * size}": size for kind in "bus" for size in (1, 2, 4, 8)},
    "f16": 2, "bf16": 2, "f32": 4, "f64": 8, "f16x2": 4, "bf16x2": 4, "tf32": 4, "pred": 1,
}  # fmt: skip
_MOST_THREADS = 1024

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<loc>\.loc\b)\s+(?P<file_number>\d+)\s+(?P<line>\d+)[^\n]*
    | \.file\s+(?P<number>\d+)\s+"(?P<path>[^"]*)"[^\n]*
    | \.(?:version|target|address_size)\b[^\n]*
    | (?P<section>\.section\b[^{]*\{[^}]*\})
    | (?P<label>[\w$%]+)\s*:(?!:)
    | (?P<header>(?:\.(?:visible|weak|extern)\s+)*\.(?:entry|func)\b[^{;]*)(?P<opening>[{;])
    | (?P<brace>[{}])
    | (?P<statement>[^;{}]*(?:\{[^{}]*\}[^;{}]*)*);
    )""",
    re.VERBOSE,
)
_VARIABLE = re.compile(
    r"""(?:\.(?:visible|weak|extern|common)\s+)*\.(?P<space>global|const|shared|local|param)\s+
    (?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+(?:\.ptr\s+(?:\.\w+\s+)?(?:\.align\s+\d+\s+)?)?
    (?P<name>[\w$%.]+)\s*(?P<extent>(?:\[\d*\])*)\s*(?:=\s*(?P<initial>.*))?""",
    re.VERBOSE | re.DOTALL,
)
_INSTRUCTION = re.compile(
    r"(?:@(?P<guard>!?[\w$%]+)\s+)?(?P<opcode>[\w.:]+)\s*(?P<operands>.*)", re.S
)


def parse(text: str) -> Module:
    """Read a PTX text; CompileError with the line where it is not understood."""
    module, function, depth = Module(), None, 0
    for token, place in _tokens(text):
        if header := token["header"]:
            function = _function(header, place) if token["opening"] == "{" else None
            if function:
                module.functions.append(function)
        elif token["brace"]:
            depth += 1 if token["brace"] == "{" else -1
            if depth < 0:
                function, depth = None, 0
            elif function:
                function.statements.append(Brace(token["brace"]))
        elif function is None:
            module.variables += [_variable(token["statement"], place)] if token["statement"] else []
        elif token["label"]:
            function.statements.append(Label(token["label"]))
        elif statement := (token["statement"] or "").strip():
            _add(function.statements, statement, place)
    return module


def _tokens(text: str) -> Iterator[tuple[re.Match[str], Place]]:
    """Yield what the text consists of, each with its line."""
    blank = re.sub(
        r"//[^\n]*|/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.DOTALL
    ).rstrip()
    files = {m["number"]: m["path"] for m in re.finditer(_FILE, blank)}
    at, line, source = 0, 1, None
    while at < len(blank):
        token = _TOKEN.match(blank, at)
        begins = line + len(re.match(r"\s*", blank[at:])[0].split("\n")) - 1  # type: ignore[index]
        if token is None:
            raise CompileError(
                f"PTX line {begins}: not understood: {blank[at : at + 80].strip()!r}"
            )
        if token["loc"]:  # line 0: made by the compiler
            named = Place(files.get(token["file_number"], "?"), int(token["line"]))
            source = named if named.line else source
        elif token["header"]:
            source = None
        yield token, source or Place("kernel.ptx", begins)
        line += blank.count("\n", at, token.end())
        at = token.end()


_FILE = re.compile(r'\.file\s+(?P<number>\d+)\s+"(?P<path>[^"]*)"')


def _function(header: str, place: Place) -> Function:
    lists = re.findall(r"\(([^()]*)\)", header)
    named = re.search(r"\.(entry|func)\s*(?:\([^()]*\)\s*)?([\w$]+)", header)
    if named is None:
        raise CompileError(f"PTX line {place.line}: a function without a name: {header.strip()!r}")
    before = header[: named.start(2)]
    sets = [tuple(_variable(p, place) for p in split(text)) for text in lists]
    returns = sets.pop(0) if "(" in before else ()
    bound = re.search(r"\.(?:maxntid|reqntid)\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?", header)
    threads = 1
    for size in bound.groups() if bound else (_MOST_THREADS,):
        threads *= int(size or 1)
    return Function(named[2], named[1] == "entry", sets[0] if sets else (), returns, threads)


def _variable(text: str, place: Place) -> Variable:
    match = _VARIABLE.fullmatch(text.strip())
    if match is None or match["type"] not in SIZES:
        raise CompileError(f"PTX line {place.line}: not a variable: {text.strip()!r}")
    count = 1
    for extent in re.findall(r"\[(\d*)\]", match["extent"]):
        count *= int(extent or 0)
    alignment = int(match["align"] or SIZES[match["type"]])
    array = match["extent"] != ""
    return Variable(
        match["space"],
        match["type"],
        match["name"],
        alignment,
        count,
        array,
        match["initial"] or "",
    )


def _add(statements: list[Statement], text: str, place: Place) -> None:
    if text.startswith(".reg"):
        _, type_, names = text.split(None, 2)
        statements.append(Registers(type_[1:], tuple(_names(names))))
    elif text.startswith((".local", ".shared", ".param")):
        statements.append(_variable(text, place))
    elif text.startswith(".branchtargets"):
        label = statements.pop()
        assert isinstance(label, Label), label
        statements.append(Label(label.name, tuple(split(text.removeprefix(".branchtargets")))))
    elif not text.startswith((".pragma", ".callprototype")):
        match = _INSTRUCTION.fullmatch(text)
        if match is None or text.startswith("."):
            raise CompileError(f"PTX line {place.line}: not an instruction: {text!r}")
        name, *modifiers = match["opcode"].split(".")
        operands = tuple(split(match["operands"]))
        statements.append(
            Instruction(name, tuple(modifiers), operands, match["guard"] or "", place)
        )


def _names(text: str) -> Iterator[str]:
    """Yield the registers of `%r<3>, p`: %r0, %r1, %r2, p."""
    for name in split(text):
        counted = re.fullmatch(r"([\w$%]+)<(\d+)>", name)
        if counted:
            yield from (f"{counted[1]}{i}" for i in range(int(counted[2])))
        else:
            yield name


def split(text: str) -> list[str]:
    """Split at the commas that no bracket encloses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
