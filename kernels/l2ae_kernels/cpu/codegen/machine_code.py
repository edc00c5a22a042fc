"""From LLVM IR to functions that Python calls, with machine code kept on disk.

The key of an entry is a hash of what it is made from (the IR, or the source files that write the IR
and the vectors), the processor, its features and LLVM's version, so an entry never goes stale. Two
processes may start at once, and a damaged file is rejected (checked_files.py). Where the folder
cannot be written, the code is compiled anew in every process.

The folder is `kernels` in the user's cache directory, or what L2AE_CACHE_DIR says.
"""

import ctypes
import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
from numba.core.compiler_lock import global_compiler_lock

from l2ae_kernels import checked_files
from l2ae_kernels.checked_files import ENVIRONMENT
from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.sources import digest

OPTIMIZATION = 3  # of LLVM's code generator


class Library:
    """Functions of one IR module, ready to call.

    A call releases the GIL. Arguments are addresses and integers (i64) alone.
    """

    @staticmethod
    def of(build: Callable[[Vectors], Module], vectors: Vectors) -> "Library":
        """Return the functions of the module that `build` makes, which is called only if it must.

        To write the IR takes a second and more; the sources of this package stand for it. There is
        one such library for all threads, and it stays: kernels know of others by address alone.
        """
        with global_compiler_lock:
            return _of_sources(build, vectors, digest())

    def __init__(self, ir: str | Callable[[], str], origin: str | None = None) -> None:
        self._addresses: dict[str, int] = {}
        with global_compiler_lock:  # a fork waits for it, see forks.py
            machine = target_machine()
            code = load_or_compile(ir, origin)
            self._module = llvm.parse_assembly("")  # MCJIT wants a module to start from
            # All sections in one piece: the small code model reaches two gigabytes, and other
            # libraries of the process may lie in between.
            self._engine = llvm.create_mcjit_compiler(self._module, machine, use_lmm=True)
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
            self._engine.finalize_object()

    def function(self, name: str, arguments: int) -> Any:
        """Return the function `name`, which takes so many i64 and returns nothing."""
        function: Any = _prototype(arguments)(self.address(name))
        function.library = self  # the code lives as long as the function
        return function

    def address(self, name: str) -> int:
        """Return where the function `name` begins; ValueError when there is none."""
        if name not in self._addresses:
            with global_compiler_lock:
                address = int(self._engine.get_function_address(name))
            if not address:
                raise ValueError(f"Library: it has no function {name!r}")
            self._addresses[name] = address
        return self._addresses[name]


@cache
def _of_sources(build: Callable[[Vectors], Module], vectors: Vectors, sources: str) -> Library:
    origin = repr((f"{build.__module__}.{build.__qualname__}", vectors, sources))
    return Library(lambda: str(build(vectors).ir), origin)


@cache
def _prototype(arguments: int) -> Any:
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)


def target_machine() -> llvm.TargetMachine:
    """Return LLVM's code generator for this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return code_generator(llvm.Target.from_default_triple(), *_processor())


def code_generator(target: llvm.Target, cpu: str, features: str = "") -> llvm.TargetMachine:
    """Return LLVM's code generator for a processor, with the options that kernels are made with."""
    return target.create_target_machine(
        cpu=cpu, features=features, opt=OPTIMIZATION, jit=True, reloc="pic", codemodel="small"
    )


def _processor() -> tuple[str, str]:
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def load_or_compile(ir: str | Callable[[], str], origin: str | None = None) -> bytes:
    """Return the object code of `ir`, from the cache where it is there.

    `origin` says what the IR is made from, when it is not made yet; else it speaks for itself.
    """
    key = repr((llvmlite.__version__, _processor(), ir if origin is None else origin))
    path = folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.o"
    code = checked_files.read(path)
    if code is None:
        code = compile_ir(ir if isinstance(ir, str) else ir())
        checked_files.write(path, code)
    return code


def compile_ir(ir: str) -> bytes:
    """Compile `ir` to object code."""
    machine = target_machine()
    code: bytes = machine.emit_object(optimize(ir, machine))
    return code


def optimize(ir: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """Return the module of `ir` after LLVM's passes, for the processor of `machine`."""
    module = llvm.parse_assembly(ir)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def folder() -> Path:
    """Return the folder of the cache; it need not exist."""
    base = checked_files.cache_folder()
    return base if os.environ.get(ENVIRONMENT) else base / "kernels"
