"""The C++ compiler of this machine: which it is, and how it makes a library of a .cu text.

CXX names the compiler; without it g++ or clang++ is taken, whichever is found first. The engine is
compiled once, without instrumentation: it moves between stacks, which no sanitizer may follow.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from l2ae_kernels.emulator.errors import CompileError

RUNTIME = Path(__file__).parent / "runtime"
TOOLS = ("address", "thread")
_COMMON = ("-x", "c++", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing", "-w")
LINES = "-g1"  # for backtraces: what a debugger shows besides takes a tenth longer to compile
_KERNEL_FLAGS = ("-fno-omit-frame-pointer", "-ffp-contract=off")


@cache
def compiler(chosen: str | None) -> str:
    """Return the compiler's path; `chosen` is the value of CXX."""
    for name in [chosen] if chosen else ["g++", "clang++"]:
        path = shutil.which(name)
        if path:
            return path
    raise CompileError(
        "emulator: no C++ compiler. Install g++ or clang++ (Debian: apt-get install g++), "
        f"or name one in CXX, which is {chosen!r} now"
    )


def current() -> str:
    """Return the compiler to use now."""
    return compiler(os.environ.get("CXX"))


@cache
def version(path: str) -> str:
    """Return what the compiler says about itself; part of the key of everything it makes."""
    return run([path, "--version"]).splitlines()[0]


def language(options: Sequence[str]) -> tuple[list[str], str]:
    """Split NVRTC's options: the preprocessor's, and the language standard's.

    Options that change code for a device only (-arch, --use_fast_math, …) have no meaning here.
    """
    passed, standard = [], "c++17"
    for option in options:
        if match := re.fullmatch(r"--?std=(c\+\+\d\d)", option):
            standard = match[1]
        elif re.match(r"-[DUI].", option):
            passed.append(option)
        elif match := re.fullmatch(r"--(define-macro|undefine-macro|include-path)=(.+)", option):
            passed.append({"d": "-D", "u": "-U", "i": "-I"}[match[1][0]] + match[2])
        elif not re.match(_DEVICE_ONLY, option):
            raise ValueError(f"options: {option!r} is not known; expected -I…, -D…, -U… or --std=…")
    return passed, standard


_DEVICE_ONLY = (
    r"--?(gpu-architecture|arch|use_fast_math|ftz|fmad|prec-div|prec-sqrt|maxrregcount|lineinfo"
    r"|generate-line-info|device-as-default-execution-space|default-device|extra-device-vectorization"
    r"|Werror|restrict|ptxas-options|diag-)"
)


def preprocess(code: str, source: Path, options: Sequence[str], tool: str | None) -> str:
    """Return `code`, whose lines belong to the file `source`, with all its includes.

    -D and -U come behind the runtime, so that -DT=8 means nothing to its templates.
    """
    passed, standard = language(options)
    defines = "".join(_directive(option) for option in passed if option[1] in "DU")
    text = f'#include "cuda.hpp"\n{defines}#line 1 "{source}"\n{code}\n'
    folders = [option for option in passed if option[1] == "I"]
    flags = ["-x", "c++", f"-std={standard}", f"-I{RUNTIME}", *_define(tool), *folders]
    return run([current(), *flags, "-E", "-"], text)


def _directive(option: str) -> str:
    """Return what -DNAME, -DNAME=VALUE or -UNAME means as a line."""
    name, equals, value = option[2:].partition("=")
    if option[1] == "U":
        return f"#undef {name}\n"
    return f"#define {name} {value if equals else '1'}\n"


def build_engine(tool: str | None, output: Path) -> None:
    """Compile the engine to the object file `output`."""
    command = [current(), *_COMMON, "-g", "-std=c++17", "-O2", *_define(tool)]
    run([*command, "-c", str(RUNTIME / "engine.cpp"), "-o", str(output)])


def build(
    text: str,
    options: Sequence[str],
    tool: str | None,
    debug: bool,
    engine: Path,
    output: Path,
    optimization: Sequence[str] = ("-O2",),
) -> None:
    """Compile translated `text` with the object file `engine` to the library `output`."""
    _, standard = language(options)
    instrument = [f"-fsanitize={tool}", "-fsanitize-recover=all"] if tool else []
    optimize = ("-O0",) if debug else ("-O1",) if tool else optimization
    shown = "-g" if debug or tool else LINES
    flags = [*_COMMON, shown, *_KERNEL_FLAGS, f"-std={standard}", *optimize]
    flags += [*_define(tool), *instrument]
    link = ["-shared", "-", "-x", "none", str(engine), "-o", str(output)]
    run([current(), *flags, f"-I{RUNTIME}", *link], text)


def _define(tool: str | None) -> list[str]:
    return [f"-DEMULATOR_{tool.upper()}=1"] if tool else []


def run(command: Sequence[str], text: str = "") -> str:
    """Run a tool on `text`, return its output; a preloaded sanitizer is not meant for it."""
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    done = subprocess.run(command, input=text, text=True, capture_output=True, env=environment)
    if done.returncode:
        raise CompileError(
            f"{Path(command[0]).name} gave exit status {done.returncode}\n{done.stderr}"
        )
    return done.stdout
