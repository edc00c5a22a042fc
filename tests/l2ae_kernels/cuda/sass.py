"""The instructions of a kernel's loops, counted in what an H100 executes (SASS).

    python -m tests.l2ae_kernels.cuda.sass product_mma.cu TERMS=3 A_BY_DEPTH=1 B_BY_DEPTH=0

Each warp of a loop takes one slot of a scheduler for each instruction, so the count bounds the time
from below, and the share of the useful ones (FFMA, HMMA) bounds how much of the peak a kernel can
reach. Nothing here is a measurement.

A loop is what lies between the target of a branch back and the branch, loops inside it included.
What is rarely executed is counted where it lies inside; the compiler may move it behind the loop.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from .build_checks import NoCompiler, NoTool, compile_cubin, find_compiler
from .variants import Variant

DISTRIBUTION = "nvidia-cuda-nvdisasm"
MAIN = 0.6  # of the useful instructions of any loop that a main loop has at least
SLOTS = 132 * 4 * 1.755e9  # warp instructions that an H100 issues in a second

PIPES = {
    "fp32": "FFMA FADD FMUL FSEL FSETP FMNMX FSET FCHK FSWZADD",
    "fp64": "DFMA DADD DMUL DSETP DMNMX",
    "tensor": "HMMA IMMA DMMA",
    "special": "MUFU I2F F2I F2F FRND POPC FLO BREV I2FP F2FP",
    "shared": "LDS STS LDSM STSM ATOMS",
    "global": "LDG STG LDGSTS",
    "generic": "LD ST",  # the compiler does not know which memory
    "atomic": "ATOM ATOMG RED REDG",  # not of shared memory
    "local": "LDL STL",  # spilled registers, arrays with an index
    "warp": "SHFL VOTE MATCH REDUX WARPSYNC",
    "control": "BAR BRA EXIT BSSY BSYNC CALL RET DEPBAR LDGDEPBAR MEMBAR ERRBAR CCTL YIELD NOP",
}
_PIPE_OF = {name: pipe for pipe, names in PIPES.items() for name in names.split()}

_KERNEL = re.compile(r"\.text\.(\w+):")
_LABEL = re.compile(r"(\.L_\w+):")
_INSTRUCTION = re.compile(r"/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?)\s*;")
_TARGET = re.compile(r"`\((\.L_\w+)\)")


class Instruction(NamedTuple):
    """An instruction with its modifiers, LDG.E.128 for one."""

    name: str
    operands: str


@dataclass(frozen=True)
class Loop:
    """The instructions of a loop, the loops inside included, as if each were executed once."""

    instructions: tuple[Instruction, ...]
    innermost: bool
    start: int = 0  # instructions of the kernel before it

    @property
    def end(self) -> int:
        """Instructions of the kernel up to its end."""
        return self.start + self.total

    @property
    def total(self) -> int:
        """The number of instructions."""
        return len(self.instructions)

    @property
    def counts(self) -> Counter[str]:
        """How many instructions have a name, without modifiers: "HMMA", "LDG", "ATOMS"."""
        return Counter(i.name.split(".")[0] for i in self.instructions)

    @property
    def modified(self) -> Counter[str]:
        """How many instructions have a name with its modifiers: "LDG.E.128"."""
        return Counter(i.name for i in self.instructions)

    @property
    def pipes(self) -> Counter[str]:
        """How many instructions each unit takes (PIPES; "integer" is all the rest)."""
        found: Counter[str] = Counter()
        for name, count in self.counts.items():
            found[_PIPE_OF.get(name, "integer")] += count
        return found

    def share(self, useful: Collection[str]) -> float:
        """Return the share of the instructions of these names, without modifiers."""
        return sum(self.counts[name] for name in useful) / self.total


def find_tool() -> str:
    """Return the path of nvdisasm: of the installed distribution, else on the path."""
    try:
        files = metadata.distribution(DISTRIBUTION).files or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.stem == "nvdisasm" and file.parent.name == "bin":
            return str(file.locate())
    found = shutil.which("nvdisasm")
    if found is None:
        raise NoTool("no disassembler: pip install l2ae[cuda-check], or put nvdisasm on PATH")
    return found


def loops(variant: Variant, architecture: str = "sm_90") -> dict[str, list[Loop]]:
    """Compile a variant and return the loops of each of its kernels, in the order of their starts.

    NoTool, NoCompiler: without the extra `cuda-check`.
    """
    return read_loops(disassemble(variant, architecture))


def inner_loop(found: Collection[Loop]) -> tuple[Loop, str] | None:
    """Return the smallest loop with most of what computes, and what that is; None without one.

    That is HMMA, else FFMA or DFMA, of which there are more; where nothing computes in a loop,
    loads (LDG) are what is useful.
    """
    most = Counter[str]()
    for loop in found:
        most |= loop.counts  # the largest of each
    fused = max("FFMA", "DFMA", key=lambda name: most[name])
    useful = next((name for name in ("HMMA", fused, "LDG") if most[name]), None)
    if useful is None:
        return None
    chosen = (loop for loop in found if loop.counts[useful] >= MAIN * most[useful])
    return min(chosen, key=lambda loop: loop.total), useful


def show(found: tuple[Loop, str] | None) -> tuple[str, str]:
    """Return the instructions of an inner loop, and what share is useful, to be read."""
    if found is None:
        return "", ""
    loop, useful = found
    return str(loop.total), f"{loop.share({useful}):.0%} {useful}"


def read_totals(listing: str) -> dict[str, int]:
    """Count the instructions of every kernel in a listing of nvdisasm."""
    parts = _KERNEL.split(listing)[1:]
    found = zip(parts[::2], parts[1::2], strict=True)
    return {name: len(_INSTRUCTION.findall(text)) for name, text in found}


def main_loop(variant: Variant, kernel: str, useful: Collection[str]) -> Loop:
    """Return the loop of a kernel in which the names `useful` have the largest share."""
    return max(loops(variant)[kernel], key=lambda loop: loop.share(useful))


def disassemble(variant: Variant, architecture: str) -> str:
    """Return the listing that nvdisasm makes of a variant."""
    cubin, _ = compile_cubin(variant, architecture, find_compiler())
    return list_instructions(cubin)


def list_instructions(cubin: bytes) -> str:
    """Return the listing that nvdisasm makes of the binary of some kernels."""
    tool = find_tool()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cubin"
        path.write_bytes(cubin)
        done = subprocess.run([tool, "-c", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"nvdisasm: {done.stderr}")
    return done.stdout


def read_loops(listing: str) -> dict[str, list[Loop]]:
    """Find the loops of every kernel in a listing of nvdisasm."""
    parts = _KERNEL.split(listing)[1:]
    return {name: _loops(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _loops(text: str) -> list[Loop]:
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    ends: dict[int, int] = {}  # of the loop that starts there; the last branch to it
    for line in text.splitlines():
        if label := _LABEL.match(line.strip()):
            labels[label[1]] = len(instructions)
        elif found := _INSTRUCTION.search(line):
            instructions.append(Instruction(found[1], found[2]))
            target = _TARGET.search(found[2])
            if target and found[1].startswith("BRA") and target[1] in labels:
                ends[labels[target[1]]] = len(instructions)
    spans = {start: end for start, end in ends.items() if end - start > 1}  # 1: behind the exit
    return [
        Loop(
            tuple(instructions[start:end]),
            not any(start <= s and e <= end for s, e in spans.items() if (s, e) != (start, end)),
            start,
        )
        for start, end in sorted(spans.items())
    ]


def main() -> int:
    """Print the loops of a file's kernels; 2 without the tools."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", help="a file of cuda/source")
    parser.add_argument("define", nargs="*", help="NAME=VALUE")
    parser.add_argument("--all", action="store_true", help="outer loops as well")
    asked = parser.parse_args()
    defines = dict(define.split("=", 1) for define in asked.define)
    try:
        found = loops(Variant(asked.file, defines, {}))
    except (NoTool, NoCompiler) as error:
        print(f"sass: {error}", file=sys.stderr)
        return 2
    for kernel, kernel_loops in found.items():
        for loop in kernel_loops:
            if loop.innermost or asked.all:
                pipes = ", ".join(f"{pipe} {count}" for pipe, count in loop.pipes.most_common())
                print(f"{kernel}: {loop.total} instructions: {pipes}")
                print("    " + ", ".join(f"{n} {c}" for n, c in loop.modified.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
