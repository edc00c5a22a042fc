"""IR and assembly of one emitted kernel: `python -m l2ae_kernels.asm KERNEL`."""

import argparse
import difflib
import sys
from collections.abc import Sequence

from l2ae_kernels.cpu.codegen import amx_permission
from l2ae_kernels.cpu.codegen.assembly import Loop, Processor, compile_function
from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.machine_code import Build
from l2ae_kernels.cpu.codegen.vectors import AMX, SETS, Vectors, best, get_vectors
from l2ae_kernels.cpu.kmeans.library import build as build_kmeans
from l2ae_kernels.cpu.microkernels import dense_tile
from l2ae_kernels.cpu.microkernels.library import AMX as AMX_FAMILY
from l2ae_kernels.cpu.microkernels.library import DENSE, FAMILIES, WINOGRAD
from l2ae_kernels.cpu.microkernels.winograd_layouts import panel_vectors

EXAMPLES = """examples:
  python -m l2ae_kernels.asm --list
  python -m l2ae_kernels.asm product_6_4
  python -m l2ae_kernels.asm product_6_2 --vectors avx2 --cpu znver3
  python -m l2ae_kernels.asm short --ir

Assembly is for this processor where --vectors is its widest set, else for the plainest processor
that has the set: x86-64-v3 (avx2), x86-64-v4 (avx512), sapphirerapids (amx3, amx6), generic AArch64
(neon). The names of kernels have their tile in them and differ from one set of vectors to the
other."""
AMX_CPU = "sapphirerapids"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.kernel is None and not arguments.list:
        parser.error("argument KERNEL: is needed, or --list")
    vectors = get_vectors() if arguments.vectors is None else (SETS | AMX)[arguments.vectors]
    if vectors is None:
        parser.error("argument --vectors: is needed, since this machine has none to emit for")
    try:
        processor = _processor(arguments.cpu, vectors)
    except ValueError as error:
        parser.error(f"argument --{error}")
    print(f"emitting kernels for {vectors.label} ...", file=sys.stderr)
    found: dict[str, Module] = {}
    for build in (build_kmeans, *FAMILIES):
        if build is AMX_FAMILY and not vectors.parts:
            continue
        if arguments.list or arguments.kernel not in found:  # some take a second to emit
            module = build(_with_tile(build, vectors))
            functions = [f.name for f in module.ir.functions if not f.is_declaration]
            found = dict.fromkeys(functions, module) | found  # some have the same tile
    if arguments.list:
        print("\n".join(found))
        return 0
    if arguments.kernel not in found:
        print(f"asm: error: {_unknown(arguments.kernel, [*found], vectors)}", file=sys.stderr)
        return 1
    print(_text(found[arguments.kernel], arguments.kernel, arguments.ir, processor), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m l2ae_kernels.asm",
        description="Print the assembly or the IR of one emitted kernel.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kernel", nargs="?", metavar="KERNEL", help="its name; see --list")
    parser.add_argument("--list", action="store_true", help="print the names of all kernels")
    parser.add_argument(
        "--vectors", choices=[*SETS, *AMX], help="default: the widest of this machine"
    )
    parser.add_argument("--cpu", help="LLVM's name of a processor, such as znver4 or haswell")
    parser.add_argument("--ir", nargs="?", choices=["written", "optimized"], const="written",
                        help="print LLVM IR: as the emitter writes it, or after LLVM's passes "
                        "(default: as written)")  # fmt: skip
    return parser


def _with_tile(build: Build, vectors: Vectors) -> Vectors:
    """Return what a family is emitted for, without timing anything."""
    if build in WINOGRAD:
        return panel_vectors(vectors)
    found = dense_tile.known(vectors) if build is DENSE else None
    return found or vectors


def _unknown(name: str, names: list[str], vectors: Vectors) -> str:
    near = difflib.get_close_matches(name, names, n=4)
    hint = f"near it: {', '.join(near)}" if near else "--list prints all names"
    return f"KERNEL: no kernel {name!r} for {vectors.label}; {hint}"


def _processor(cpu: str | None, vectors: Vectors) -> Processor:
    if vectors.parts:
        here, plainest = not amx_permission.missing(), AMX_CPU
    else:
        here, plainest = vectors.name == best(), None
    return (
        Processor.native() if cpu is None and here else Processor.of(vectors.name, cpu or plainest)
    )


def _text(module: Module, name: str, ir: str | None, processor: Processor) -> str:
    if ir == "written":
        return f"{str(module.ir.globals[name]).strip()}\n"
    compiled = compile_function(module, name, processor)
    if ir == "optimized":
        return compiled.ir
    title = f"# {name}, vectors {module.vectors.label}, {processor.triple}, {processor.cpu}\n"
    return title + _table(compiled.loops) + compiled.assembly


def _table(loops: list[Loop]) -> str:
    """The instructions of every innermost loop, as comments."""
    if not loops:
        return "# no loop\n"
    header = ("inner loop", *Loop._fields[1:])
    lines = [header, *(tuple(map(str, loop)) for loop in loops)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "# " + "  ".join(c.rjust(w) if i else c.ljust(w)
                         for i, (c, w) in enumerate(zip(line, widths, strict=True))) + "\n"
        for line in lines
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
