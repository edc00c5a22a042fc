"""From CUDA C++ to PTX by NVRTC, and from PTX to a library that the emulator runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from l2ae_kernels.emulator import store, toolchain
from l2ae_kernels.emulator.build import engine
from l2ae_kernels.emulator.errors import CompileError
from l2ae_kernels.emulator.ptx.translate import translate
from l2ae_kernels.emulator.translate import signatures

# As CuPy compiles for compute capability 9.0; with the lines of the text, for errors and counts.
OPTIONS = ("-ftz=true", "-arch=compute_90", "--device-as-default-execution-space", "-lineinfo")
FAST = ("-O1", "-g0")  # to compile; see PTX_FUNCTION of runtime/ptx.hpp


@dataclass(frozen=True)
class How:
    """How a library is made: see RawModule and PtxModule."""

    count: bool = False
    extra_bits: int = 0
    tool: str | None = None
    debug: bool = False


def compiled(code: str, options: tuple[str, ...], how: How) -> Path:
    """Return the library for CUDA C++ text, from the cache where it is there."""
    name = store.key(code, options, "ptx", how, nvrtc_version())
    path = store.find(name, "kernel.so")
    if path is not None:
        return path
    entry = store.writable(name)
    ptx = nvrtc(code, options)
    store.write(entry / "kernel.ptx", ptx.encode())
    declared = signatures(toolchain.preprocess(code, entry / "kernel.cu", options, None))
    return _build(entry, translate(ptx, how.count, how.extra_bits, declared), how)


def library(ptx: str, how: How) -> Path:
    """Return the library for PTX text, from the cache where it is there."""
    name = store.key(ptx, (), "ptx", how)
    path = store.find(name, "kernel.so")
    if path is not None:
        return path
    return _build(store.writable(name), translate(ptx, how.count, how.extra_bits), how)


def _build(entry: Path, text: str, how: How) -> Path:
    store.write(entry / "kernel.cpp", text.encode())
    object_file = engine(how.tool)

    def build(output: Path) -> None:
        toolchain.build(text, (), how.tool, how.debug, object_file, output, FAST)

    return store.make(entry / "kernel.so", build)


def nvrtc(code: str, options: Sequence[str]) -> str:
    """Return the PTX of CUDA C++ text; CompileError with the words of NVRTC."""
    api = _api()
    named = re.match(r'\s*#\s*line\s+\d+\s+"([^"]+)"', code)
    status, program = api.nvrtcCreateProgram(
        code.encode(), (named[1] if named else "kernel.cu").encode(), 0, [], []
    )
    if status != 0:
        raise CompileError(f"NVRTC: nvrtcCreateProgram gave {status!r}")
    passed = [o.encode() for o in (*options, *OPTIONS)]
    (status,) = api.nvrtcCompileProgram(program, len(passed), passed)
    log = _text(api.nvrtcGetProgramLogSize, api.nvrtcGetProgramLog, program)
    ptx = "" if status != 0 else _text(api.nvrtcGetPTXSize, api.nvrtcGetPTX, program)
    api.nvrtcDestroyProgram(program)
    if status != 0:
        raise CompileError(f"NVRTC gave {status!r}\n{log}")
    return ptx


def _text(size_of: Any, get: Any, program: Any) -> str:
    size: int = size_of(program)[1]
    content = bytes(size)  # NVRTC writes into it
    get(program, content)
    return content.decode().rstrip("\0")


@cache
def nvrtc_version() -> tuple[int, int]:
    """Return the version of NVRTC; CompileError where there is none."""
    status, major, minor = _api().nvrtcVersion()
    if status != 0:
        raise CompileError(f"NVRTC: nvrtcVersion gave {status!r}")
    return major, minor


@cache
def _api() -> Any:
    try:
        from cuda.bindings import nvrtc as api

        api.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        raise CompileError(
            f"no NVRTC ({error}): pip install l2ae[cuda-check] for backend='ptx'"
        ) from error
    return api
