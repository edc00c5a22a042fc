"""What the CUDA kernels pass on a machine without a GPU, as a table in Markdown.

    python -m tests.l2ae_kernels.cuda.build_checks [--quick]    # in the project's folder
    python -m tests.l2ae_kernels.cuda.build_checks --predictions

* **compiled** for every architecture of ARCHITECTURES with warnings as errors, no spilled register,
  and no more registers than the budget of the kernel (variants.py): one block fewer on a
  multiprocessor is a regression that no test of results would see. NVRTC compiles, from the extra
  `cuda-check`; else nvcc, where it is on the path.
* **run** in the emulator, on workloads of a few hundred samples (workloads.py); and, unless
  --quick, once more under AddressSanitizer and ThreadSanitizer.
* **read and counted**: instructions of the inner loop in SASS for sm_90, and the share of those
  that compute (HMMA, FFMA, DFMA) or, where none does, load; sectors of global memory and passes
  over shared memory, over the least for the same bytes, in PTX of NVRTC, in float32, for the
  kernels of most workloads (prediction_table.py). Tests hold them.

What no check here can show is speed. --predictions writes what would follow for an H100 to
kernels/README.md.
"""

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from l2ae_kernels.cuda.text import SOURCE, options, read_source
from l2ae_kernels.emulator.errors import CompileError
from l2ae_kernels.emulator.ptx.compile import nvrtc_version

from .variants import KMEANS, NETWORK, QUICK, Variant

README = Path(__file__).parents[3] / "kernels" / "README.md"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")


class Usage(NamedTuple):
    """What a compiled kernel takes on a multiprocessor."""

    registers: int
    shared: int  # bytes that the text declares; a launch may ask for more
    spilled: int  # bytes


class NoTool(RuntimeError):
    """There is no disassembler; the message says what to install."""


class NoCompiler(RuntimeError):
    """There is neither NVRTC nor nvcc; the message says what to install."""


def find_compiler() -> str:
    """Return "nvrtc" or "nvcc"; NoCompiler where there is neither."""
    try:
        from cuda.core import Program  # noqa: F401

        nvrtc_version()  # the library itself may be missing
    except (ImportError, CompileError):
        if shutil.which("nvcc"):
            return "nvcc"
        raise NoCompiler(
            "no CUDA compiler: pip install l2ae[cuda-check], or put nvcc on PATH"
        ) from None
    return "nvrtc"


def compile_variant(variant: Variant, architecture: str, compiler: str) -> dict[str, Usage]:
    """Compile a variant and return what each of its kernels takes.

    RuntimeError with the compiler's words for an error or a warning.
    """
    return compile_and_read(variant, architecture, compiler)[1]


def compile_and_read(
    variant: Variant, architecture: str, compiler: str
) -> tuple[bytes, dict[str, Usage]]:
    """The same, with the binary."""
    binary, log = compile_cubin(variant, architecture, compiler)
    if re.search(r"\bwarning\b", log):
        raise RuntimeError(f"{variant.name} for {architecture}: {log}")
    return binary, read_usage(log)


def compile_cubin(variant: Variant, architecture: str, compiler: str) -> tuple[bytes, str]:
    """Compile a variant; return the binary of its kernels, and what the compiler said."""
    return (_nvrtc if compiler == "nvrtc" else _nvcc)(variant, architecture)


def read_usage(log: str) -> dict[str, Usage]:
    """Read what `ptxas -v` said of each kernel."""
    parts = re.split(r"Compiling entry function '(\w+)'", log)[1:]
    found = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        numbers = (r"Used (\d+) registers", r"(\d+) bytes smem", r"(\d+) bytes spill stores")
        matches = (re.search(pattern, text) for pattern in numbers)
        found[name] = Usage(*(int(m.group(1)) if m else 0 for m in matches))
    return found


def _nvrtc(variant: Variant, architecture: str) -> tuple[bytes, str]:
    from cuda.core import Program, ProgramOptions

    settings = ProgramOptions(
        std="c++17",
        arch=architecture,
        include_path=[str(SOURCE)],
        define_macro=[(name, str(value)) for name, value in variant.defines.items()] or None,
        ptxas_options=["-v"],
        device_as_default_execution_space=True,
        ftz=True,  # as CuPy compiles
    )
    log = io.StringIO()
    binary = Program(read_source(variant.file_name), "c++", settings).compile("cubin", logs=log)
    return bytes(binary.code), log.getvalue()


def _nvcc(variant: Variant, architecture: str) -> tuple[bytes, str]:
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / variant.file_name
        text.write_text(read_source(variant.file_name), encoding="utf-8")
        command = ["nvcc", f"-arch={architecture}", "-cubin", "-Xptxas", "-v"]
        command += ["-Werror", "all-warnings", "-ftz=true", *options(variant.defines)]
        command += [str(text), "-o", str(text.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{variant.name} for {architecture}: {done.stderr}")
        return text.with_suffix(".cubin").read_bytes(), done.stderr


def emulated(tool: str | None) -> dict[str, float | str]:
    """Run the workloads in a process of its own; seconds of each kernel, or its report."""
    command = [sys.executable, str(Path(__file__).with_name("workloads.py"))]
    if tool is not None:
        command = [
            sys.executable, "-m", "l2ae_kernels.emulator.sanitized", "--tool", tool, "--", *command
        ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"workloads, {tool or 'no sanitizer'}: {done.stderr}")
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def table(quick: bool) -> tuple[str, bool]:
    """Return the table, and whether every check is passed."""
    from . import prediction_table, sass  # which take the compiler from here

    compiler = find_compiler()
    moved = prediction_table.moved() if compiler == "nvrtc" else {}
    tools = () if quick else ("address", "thread")
    watched = tqdm((None, *tools), desc="workloads", leave=False)
    results = {tool: emulated(tool) for tool in watched}
    heads = ["kernel", "of", *(f"registers {a}" for a in ARCHITECTURES), "budget", "shared"]
    heads += ["inner loop", "useful", "sectors", "passes", "emulator", *tools]
    lines, good = [heads, ["---"] * len(heads)], True
    variants = [*KMEANS, *(QUICK if quick else NETWORK)]
    for variant in tqdm(variants, desc="compile", unit="variant", leave=False):
        compiled = {a: compile_and_read(variant, a, compiler) for a in ARCHITECTURES}
        usages = [usage for _, usage in compiled.values()]
        loops = sass.read_loops(sass.list_instructions(compiled["sm_90"][0]))
        for kernel, budget in variant.budget.items():
            used = [usage[kernel] for usage in usages]
            found = {tool: result.get(kernel, "not run") for tool, result in results.items()}
            good &= all(u.registers <= budget and not u.spilled for u in used)
            good &= all(isinstance(seconds, float) for seconds in found.values())
            lines.append([
                f"`{kernel}`", f"`{variant.name}`", *map(_registers, used), str(budget),
                f"{used[0].shared} B", *sass.show(sass.inner_loop(loops[kernel])),
                *(map(prediction_table.ratio, moved[kernel]) if kernel in moved else ("", "")),
                *(_shown(*one) for one in found.items()),
            ])  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in lines), good


def _registers(usage: Usage) -> str:
    return f"{usage.registers}" + f", spills {usage.spilled} B" * bool(usage.spilled)


def _shown(tool: str | None, found: float | str) -> str:
    """Seconds without a sanitizer, "clean" with one, or the report."""
    if isinstance(found, str):
        return found
    return f"{1e3 * found:.1f} ms" if tool is None else "clean"


def main() -> int:
    """Print the table; 1 where a check fails, 2 without a compiler or a disassembler."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave the sanitizers out")
    parser.add_argument(
        "--predictions", action="store_true", help="write the tables of predictions instead"
    )
    arguments = parser.parse_args()
    try:
        if arguments.predictions:
            from .prediction_table import write

            README.write_text(write(README.read_text(encoding="utf-8")), encoding="utf-8")
            return 0
        text, good = table(arguments.quick)
    except (NoCompiler, NoTool) as error:
        print(f"build_checks: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0 if good else 1


if __name__ == "__main__":
    from . import build_checks  # the module whose errors sass.py raises

    sys.exit(build_checks.main())
