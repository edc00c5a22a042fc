"""From LLVM IR to functions that Python calls, with machine code kept on disk.

The key of an entry is a hash of what it is made from (the IR, or the source files that write the IR
and the vectors), the processor, its features and LLVM's version, so an entry never goes stale
(cache.py). Two processes may start at once, and a damaged file is rejected (checked_files.py).
Where the folder cannot be written, the code is compiled anew in every process.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import llvmlite.binding as llvm
from numba.core.compiler_lock import global_compiler_lock

from l2ae_kernels import (
    checked_files,
    forks,  # noqa: F401 - a fork waits for the compiler lock
)
from l2ae_kernels.cpu.codegen.cache import host, path_of
from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.sources import digest

Build: TypeAlias = Callable[[Vectors], Module]  # emits a module
OPTIMIZATION = 3  # of LLVM's code generator


class Library:
    """Functions of one IR module, ready to call.

    A call releases the GIL. Arguments are addresses and integers (i64) alone.
    """

    @staticmethod
    def of(build: Build, vectors: Vectors) -> "Library":
        """Return the functions of the module that `build` makes, which is called only if it must.

        To write the IR takes a second and more; the sources of this package stand for it. There is
        one such library for all threads, and it stays: kernels know of others by address alone.
        """
        return Library.all_of([(build, vectors)])[0]

    @staticmethod
    def all_of(wanted: Sequence[tuple[Build, Vectors]], threads: int = 1) -> list["Library"]:
        """Return the same of several modules; what is missing is compiled by so many threads."""
        with global_compiler_lock:
            sources = digest()
            origins = [
                repr((f"{build.__module__}.{build.__qualname__}", vectors, sources))
                for build, vectors in wanted
            ]
            keys = [(build, origin) for (build, _), origin in zip(wanted, origins, strict=True)]
            missing = [i for i, key in enumerate(keys) if key not in _libraries]
            makers = {origins[i]: partial(_write, *wanted[i]) for i in missing}
            codes = load_or_compile_all(makers, threads)
            _libraries.update({keys[i]: Library(c) for i, c in zip(missing, codes, strict=True)})
            return [_libraries[key] for key in keys]

    def __init__(self, code: str | bytes) -> None:
        """Make the functions of IR, or of its object code, callable."""
        self._addresses: dict[str, int] = {}
        with global_compiler_lock:
            machine = target_machine()
            code = load_or_compile(code) if isinstance(code, str) else code
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


_libraries: dict[tuple[Build, str], Library] = {}  # those of sources, under the compiler lock


@cache
def _prototype(arguments: int) -> Any:
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)


def target_machine() -> llvm.TargetMachine:
    """Return LLVM's code generator for this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return code_generator(llvm.Target.from_default_triple(), *host())


def code_generator(target: llvm.Target, cpu: str, features: str = "") -> llvm.TargetMachine:
    """Return LLVM's code generator for a processor, with the options that kernels are made with."""
    return target.create_target_machine(
        cpu=cpu, features=features, opt=OPTIMIZATION, jit=True, reloc="pic", codemodel="small"
    )


def load_or_compile(ir: str) -> bytes:
    """Return the object code of `ir`, from the cache where it is there."""
    return load_or_compile_all({ir: lambda: ir}, 1)[0]


def load_or_compile_all(makers: Mapping[str, Callable[[], str]], threads: int) -> list[bytes]:
    """Return the object code of the IR of each maker, from the cache where it is there.

    The name of a maker says what its IR is made from. IR is written here, one after the other, and
    compiled by so many threads, each of which keeps what it compiled.
    """
    paths = {origin: path_of(origin) for origin in makers}
    found = {origin: checked_files.read(path) for origin, path in paths.items()}
    missing = [origin for origin, code in found.items() if code is None]
    if threads == 1 or len(missing) < 2:
        compiled = [_compile_and_keep(makers[origin](), paths[origin]) for origin in missing]
    else:
        with ThreadPoolExecutor(min(threads, len(missing))) as pool:
            waiting = [
                pool.submit(_compile_and_keep, makers[origin](), paths[origin])
                for origin in missing
            ]
            compiled = [future.result() for future in waiting]
    found |= dict(zip(missing, compiled, strict=True))
    return [code for code in found.values() if code is not None]


def _write(build: Build, vectors: Vectors) -> str:
    return str(build(vectors).ir)


def _compile_and_keep(ir: str, path: Path) -> bytes:
    code = compile_ir(ir)
    checked_files.write(path, code)
    return code


def compile_ir(ir: str) -> bytes:
    """Compile `ir` to object code, in a context of LLVM of its own."""
    machine = target_machine()
    code: bytes = machine.emit_object(optimize(ir, machine))
    return code


def optimize(ir: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """Return the module of `ir` after LLVM's passes, for the processor of `machine`.

    These few leave loops that are as fast as those of its level 2, in a sixth of the time: kernels
    are written unrolled and in vectors. What they still have to lose are tables on the stack,
    arguments that are equal in all calls, and the same address calculated twice. Nothing is moved
    out of a loop: what is the same in all of its turns is to be emitted in front of it.
    """
    module = llvm.parse_assembly(ir, llvm.create_context())
    module.verify()
    passes = llvm.create_new_module_pass_manager()
    passes.add_ipsccp_pass()
    passes.add_dead_arg_elimination_pass()
    passes.add_sroa_pass()
    passes.add_new_gvn_pass()
    passes.add_simplify_cfg_pass()
    options = llvm.create_pipeline_tuning_options()
    passes.run(module, llvm.create_pass_builder(machine, options))
    return module
