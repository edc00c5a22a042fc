"""From preprocessed CUDA C++ to C++: kernels are found, shared memory gets its place.

Two words are left to this file, since no macro can say them; all others are C++ in `runtime/`.

    __global__ void f(...)            →  void f(...)
    __shared__ float tile[8][9];      →  float (&tile)[8][9] = shared memory of the block; and a
                                         class that says which kernel declares it
    extern __shared__ float rows[];   →  float* rows = dynamic shared memory

Lines stay where they are, so that errors and debuggers name the lines of the .cu file.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from l2ae_kernels.emulator.errors import CompileError

_ALIGN = r"(?:(?:__align__|alignas)\s*\(([^()]*)\)\s*)?"
_VARIABLE = re.compile(
    r"(?P<type>[\w:]+(?:\s*<[^;<>]*>)?(?:\s+[\w:]+)*?)\s*\b(?P<name>\w+)\s*(?P<extent>(?:\[[^\]]*\]\s*)*)"
)
_KERNEL = re.compile(r"\b__global__\b")
_LAUNCH_BOUNDS = re.compile(r"__launch_bounds__\s*(\((?:[^()]|\([^()]*\))*\))")
_SIGNATURE = re.compile(r".*?\bvoid\s+(\w+)\s*\((.*)\)\s*$", re.DOTALL)
_LINE = re.compile(r'^# (\d+) "((?:[^"\\]|\\.)*)"', re.MULTILINE)

_VISIBLE = 'extern "C" __attribute__((visibility("default")))'
_EXPORT = """
EMULATOR_EXPORT void describe_{name}(char* out, size_t size) {{
  emulator::describe({name}, out, size);
}}
EMULATOR_EXPORT int launch_{name}(emulator::Request* request, void* const* values, char* error,
                                  size_t size) {{
  request->max_threads = emulator::first_bound{bounds};
  return emulator::launch("{name}", *request, emulator::body<{name}>, values, error, size);
}}
""".replace("EMULATOR_EXPORT", _VISIBLE)
_STATIC_SHARED = (
    f"{_VISIBLE} size_t static_shared(const char* kernel) "
    "{ return emulator::static_shared(kernel); }\n"
)


@dataclass(frozen=True)
class Signature:
    """A `__global__` function: name, names of parameters, the `(…)` of __launch_bounds__."""

    name: str
    parameters: tuple[str, ...]
    bounds: str
    declared: tuple[str, ...]  # parameters with their types


def translate(text: str) -> str:
    """Return C++ for the preprocessed `text`, with its kernels exported at the end."""
    text, kernels = _kernels(text)
    text = _shared(text, {k.name for k in kernels})
    exports = "".join(_EXPORT.format(name=k.name, bounds=k.bounds) for k in kernels)
    names = ";".join(f"{k.name}:{','.join(k.parameters)}" for k in kernels)
    exports += f'{_VISIBLE} const char* list_kernels() {{ return "{names}"; }}\n'
    exports += _STATIC_SHARED
    return f'{text}\n#line 1 "exports"\n{exports}'


def signatures(text: str) -> tuple[Signature, ...]:
    """Return the kernels of the preprocessed `text`."""
    return _kernels(text)[1]


def _kernels(text: str) -> tuple[str, tuple[Signature, ...]]:
    """Take `__global__` and `__launch_bounds__` out; return the kernels they stood at."""
    found = []
    for match in _KERNEL.finditer(text):
        start = _statement_start(text, match.start())
        end = re.compile("[;{]").search(text, match.end())
        head = text[start : end.start() if end else len(text)]
        bounds = _LAUNCH_BOUNDS.search(head)
        signature = _SIGNATURE.match(_LAUNCH_BOUNDS.sub(" ", head))
        if signature is None:
            raise CompileError(f"{_where(text, match.start())}: no kernel behind __global__")
        if 'extern "C"' not in head and 'extern "C"' not in _enclosing(text, start):
            raise CompileError(
                f"{_where(text, match.start())}: kernel {signature[1]!r} is not "
                'extern "C": get_function would not find it on a device'
            )
        if end is not None and end[0] == "{":  # else it is only declared
            parameters = [p for p in _split(signature[2]) if p.strip() not in ("", "void")]
            names = tuple(_parameter_name(p) for p in parameters)
            limit = bounds[1] if bounds else "()"
            found.append(Signature(signature[1], names, limit, tuple(parameters)))
    return _LAUNCH_BOUNDS.sub(" ", _KERNEL.sub(" ", text)), tuple(found)


def _shared(text: str, kernels: Collection[str]) -> str:
    """Give every `__shared__` variable its place in the memory of the block."""
    parts, done = [], 0
    for match in re.finditer(r"\b__shared__\b", text):
        start = _statement_start(text, match.start())
        end = text.find(";", match.end())
        parts += [text[done:start], _declaration(text, match.start(), start, end, kernels)]
        done = end + 1
    return "".join([*parts, text[done:]])


def _declaration(text: str, at: int, start: int, end: int, kernels: Collection[str]) -> str:
    statement = text[start:end]
    lead = statement[: len(statement) - len(statement.lstrip())]
    words = re.sub(_ALIGN, "", statement).replace("__shared__", " ").strip()
    dynamic = re.match(r"extern\b", words) is not None
    variable = _VARIABLE.fullmatch(re.sub(r"^(?:extern|static)\s+", "", words).strip())
    if variable is None:
        raise CompileError(
            f"{_where(text, at)}: one __shared__ variable a statement, without an initial value, "
            f"but this is {' '.join(statement.split())!r}"
        )
    if not _in_function(text, start):
        raise CompileError(f"{_where(text, at)}: declare __shared__ variables inside a function")
    type_, name, extent = variable["type"], variable["name"], variable["extent"].strip()
    newlines = "\n" * statement.strip().count("\n")
    if dynamic:
        return (
            f"{lead}{type_}* const {name} = static_cast<{type_}*>"
            f"(emulator::dynamic_shared());{newlines}"
        )
    kernel = _kernel_around(text, start, kernels)
    return (
        f'{lead}struct slot_{name} {{ static const char* kernel() {{ return "{kernel}"; }} }};'
        f' auto& {name} = emulator::shared<{type_}{extent}, slot_{name}>("{name}");{newlines}'
    )


def _statement_start(text: str, at: int) -> int:
    """Return where the statement around `at` begins: behind the last ; { } or line with #."""
    start = max(text.rfind(mark, 0, at) for mark in ";{}") + 1
    directives = list(re.finditer(r"^#.*$", text[start:at], re.MULTILINE))
    return start + directives[-1].end() if directives else start


def _enclosing(text: str, at: int) -> str:
    """Return what stands in front of the innermost open brace around `at`; "" at file scope."""
    position = _open_brace(text, at)
    return text[_statement_start(text, position) : position] if position >= 0 else ""


def _open_brace(text: str, at: int) -> int:
    """Return where the innermost open brace around `at` is; -1 at file scope."""
    depth = 0
    for position in range(at - 1, -1, -1):
        if text[position] == "}":
            depth += 1
        elif text[position] == "{":
            if depth == 0:
                return position
            depth -= 1
    return -1


def _kernel_around(text: str, at: int, kernels: Collection[str]) -> str:
    """Return the kernel whose body holds `at`; "" where it is that of another function."""
    while (brace := _open_brace(text, at)) >= 0:
        at = _statement_start(text, brace)
        head = _SIGNATURE.match(text[at:brace].strip())
        if head and head[1] in kernels:
            return head[1]
    return ""


def _in_function(text: str, at: int) -> bool:
    head = _enclosing(text, at).strip()
    return head != "" and head != 'extern "C"' and not head.startswith("namespace")


def _split(parameters: str) -> list[str]:
    """Split at the commas that no bracket encloses."""
    parts, depth = [""], 0
    for character in parameters:
        depth += (character in "([{<") - (character in ")]}>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _parameter_name(parameter: str) -> str:
    words: list[str] = re.findall(r"\w+", re.sub(r"\[[^\]]*\]", "", parameter))
    return words[-1]


def _where(text: str, at: int) -> str:
    """Return file:line of a position in the preprocessed text."""
    marker = None
    for marker in _LINE.finditer(text, 0, at):  # noqa: B007 (the last one is wanted)
        pass
    if marker is None:
        return "line 1"
    line = int(marker[1]) + text.count("\n", marker.end(), at) - 1
    return f"{marker[2].rsplit('/', 1)[-1]}:{line}"
