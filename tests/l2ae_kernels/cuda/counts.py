"""What the CUDA kernels execute and move in the workloads of workloads.py, as a table in Markdown.

    python -m tests.l2ae_kernels.cuda.counts [--lines] [WORKLOAD …]    # in the project's folder

The PTX that NVRTC makes runs in the emulator. For every kernel: instructions a warp, those that
compute (fp32, fp64, tensor), sectors of global memory and passes over shared memory, each over the
least that the same bytes take. --lines adds the lines that take more than twice the least. A
workload is named by its number in WORKLOADS; without one all are run.

The workloads are small and ragged: costs that a large input hides show here.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.emulator.errors import CompileError
from l2ae_kernels.emulator.ptx import LaunchCounts, Traffic

from .workloads import WORKLOADS

HEADS = ("kernel", "launches", "warps", "instructions a warp", "computing", "fp32", "tensor",
         "atomic", "loads", "stores", "shared")  # fmt: skip
COMPUTING = ("fp32", "fp64", "tensor")
NONE = Traffic()


def row(kernel: str, launches: Sequence[LaunchCounts]) -> tuple[str, ...]:
    """Return the line of a kernel: all its launches together."""
    warps = sum(c.warps for c in launches)
    total = sum(c.total for c in launches)
    kinds = {k: sum(c.instructions.get(k, 0) for c in launches) for k in (*COMPUTING, "atomic")}
    useful = sum(kinds[k] for k in COMPUTING)
    loads, stores, shared = (
        sum((getattr(c, what) for c in launches), NONE) for what in ("loads", "stores", "shared")
    )
    return (
        f"`{kernel}`", str(len(launches)), str(warps), f"{total / warps:.0f}",
        f"{useful / total:.0%}", *(f"{kinds[k] / warps:.0f}" for k in ("fp32", "tensor", "atomic")),
        *(_over_least(traffic) for traffic in (loads, stores, shared)),
    )  # fmt: skip


def _over_least(traffic: Traffic) -> str:
    return f"{traffic.cost} / {traffic.least}" if traffic.requests else ""


def table(counts: Iterable[LaunchCounts]) -> str:
    """Return the table, a line a kernel, in the order of their first launches."""
    kernels: dict[str, list[LaunchCounts]] = {}
    for launch in counts:
        kernels.setdefault(launch.kernel, []).append(launch)
    rows = [HEADS, ("---",) * len(HEADS), *(row(name, found) for name, found in kernels.items())]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def expensive(counts: Iterable[LaunchCounts]) -> str:
    """Return the lines that take more than twice the least, the most expensive one first."""
    lines: dict[tuple[str, str], Traffic] = {}
    for launch in counts:
        for site in launch.sites:
            key = launch.kernel, f"{Path(site.file).name}:{site.line} {site.text}"
            lines[key] = lines.get(key, NONE) + site.traffic
    chosen = [(k, t) for k, t in lines.items() if t.cost > 2 * t.least]
    chosen.sort(key=lambda found: found[1].least - found[1].cost)
    return "\n".join(f"{t.cost} / {t.least}  {kernel}  {line}" for (kernel, line), t in chosen)


def main() -> int:
    """Print the table; 2 without NVRTC."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", action="store_true", help="add the lines that cost most")
    parser.add_argument("workload", nargs="*", type=int, help="numbers of workloads, from 0 on")
    arguments = parser.parse_args()
    device = emulate(order="ptx", seed=1, count=True)
    chosen = arguments.workload or range(len(WORKLOADS))
    try:
        for number in tqdm(chosen, desc="workloads", leave=False):
            WORKLOADS[number](device)
    except CompileError as error:
        print(f"counts: {error}", file=sys.stderr)
        return 2
    counts = device.counts or []
    print(table(counts))
    if arguments.lines:
        print("\n" + expensive(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
