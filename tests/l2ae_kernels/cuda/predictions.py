"""The time that follows from what a launch executes and moves. Nothing here is a measurement.

The device is an H100 SXM: 132 multiprocessors of 4 schedulers, each of which issues one
instruction of a warp in a cycle of 1 / 1.755 GHz; 3.35 TB/s of memory (an H200, else the same:
4.8). Assumed are 1.3 µs from one launch of a graph to the next. FFMA takes a cycle of a scheduler.
HMMA of 16 × 8 × 8 TF32 takes 3.8 at the peak of 495 TFLOP/s, and 6.2 by mma.sync, which is assumed
to reach 62 % of that peak.

The loops around the main one are nested, outermost first: I_1 ⊃ I_2 ⊃ …, of so many instructions
in SASS, and t_1, t_2, … are their trips. What lies beside them is taken as executed once, but for
what is rare (UNITS). U of the main loop are useful:

    instructions of a warp  i = text − I_1 + t_1 (I_1 − I_2 + t_2 (I_2 − …)),  u = t_1 t_2 … U
    issue    i · warps of the busiest multiprocessor / 4 / 1.755 GHz;  it has ⌈blocks / 132⌉ blocks
    tensor   6.2 u · the same warps / 4 / 1.755 GHz
    memory   bytes / 3.35 TB/s: each array that the launch is given, once
    predicted = max(issue, tensor, memory) + 1.3 µs
    work      = the same with blocks / 132 in place of ⌈blocks / 132⌉, and without the 1.3 µs
    limit     = max(u of all warps at the peak of its unit on all schedulers, memory)

While launches are in a branch beside others, the longest chain of those that wait for each other
counts, or the work of all if that is more.

Left out: latencies, caches, atomics, conflicts of banks, waits at barriers.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from l2ae_kernels.cuda.launch import ceil_div

from . import sass
from .planned import MULTIPROCESSORS, PlannedLaunch
from .variants import Variant

SCHEDULERS, CLOCK = 4, 1.755e9
BANDWIDTH = 3.35e12
BOUNDARY = 1.3e-6
TF32_PEAK, OF_PEAK = 494.7e12, 0.62  # of mma.sync
HMMA = 2 * 16 * 8 * 8  # FLOP
HMMA_CYCLES = HMMA * MULTIPROCESSORS * SCHEDULERS * CLOCK / TF32_PEAK
CYCLES = {"FFMA": 1.0, "HMMA": HMMA_CYCLES}  # of a scheduler, at the peak


class Unit(NamedTuple):
    """What is useful in a kernel, and the trips of the loops around it, outermost first.

    rare: loops beside the main one with this instruction are not executed.
    """

    useful: str
    trips: Callable[[PlannedLaunch], Sequence[float]]
    rare: str = ""


def _steps(launch: PlannedLaunch, depth: float) -> float:
    """Return the steps of 32 of a part of the depth, the last number of a launch."""
    return ceil_div(int(min(launch.numbers[-1], depth)), 32)


def _correlate(launch: PlannedLaunch) -> Sequence[float]:
    s = launch.sizes
    return [_steps(launch, s["KH"] * s["KW"] * s["C"])]


def _adjoint_x(launch: PlannedLaunch) -> Sequence[float]:
    """Return the mean over the residues of the stride."""
    s = launch.sizes
    return [s["KH"] * s["KW"] * s["K"] / 32 / (s["SH"] * s["SW"])]


def _adjoint_W(launch: PlannedLaunch) -> Sequence[float]:
    s = launch.sizes
    return [_steps(launch, launch.numbers[0] * s["OH"] * s["OW"])]


def _thin(launch: PlannedLaunch) -> Sequence[float]:
    s = launch.sizes
    items = s["ROWS"] * ceil_div(s["OW"], 4) * ceil_div(s["K"], 4)
    return [ceil_div(items, 256), s["KH"]]


def _thin_adjoint_x(launch: PlannedLaunch) -> Sequence[float]:
    s = launch.sizes
    rows = min((s["ROWS"] + s["KH"] - 2) // s["SH"] + 1, s["OH"])
    return [ceil_div(rows * s["OW"], 256), ceil_div(s["K"], 4)]


def _thin_adjoint_W(launch: PlannedLaunch) -> Sequence[float]:
    s = launch.sizes
    lanes = 256 // (s["KH"] * min(ceil_div(s["K"], 4), 8))
    pixels = s["ROWS"] * s["OW"] / lanes / 2  # two in an iteration
    return [launch.numbers[1] * ceil_div(s["OH"], s["ROWS"]), pixels]


def _assign_tensor(launch: PlannedLaunch) -> Sequence[float]:
    n, d, k = launch.numbers[:3]
    return [ceil_div(int(n), 128 * launch.grid[0]), ceil_div(int(k), 64), ceil_div(int(d), 32)]


def _lloyd_short(launch: PlannedLaunch) -> Sequence[float]:
    """Return the trips for one run and known clusters, four of which are one of the inner loop."""
    return [ceil_div(int(launch.numbers[0]), 128 * launch.grid[0]), launch.sizes["K"] // 4]


def _resident(launch: PlannedLaunch) -> Sequence[float]:
    """Return the trips of one iteration of one run: numbers are n, k, samples of a slice, …."""
    samples = ceil_div(int(launch.numbers[2]), launch.block[0])
    return [1, 1, 1, samples, launch.sizes["K"] // 4]


# Kernels that are not here have few instructions for what they move: memory alone counts.
UNITS = {
    "correlate_mma": Unit("HMMA", _correlate),
    "correlate_adjoint_x_mma": Unit("HMMA", _adjoint_x),
    "correlate_adjoint_W_mma": Unit("HMMA", _adjoint_W),
    "correlate_thin": Unit("FFMA", _thin),
    "correlate_adjoint_x_thin": Unit("FFMA", _thin_adjoint_x),
    "correlate_adjoint_W_thin": Unit("FFMA", _thin_adjoint_W),
    "assign_tensor": Unit("HMMA", _assign_tensor),
    # Near convergence hardly a label changes: atomic additions are rare.
    "lloyd_short": Unit("FFMA", _lloyd_short, "ATOMS"),
    "lloyd_resident": Unit("FFMA", _resident, "ATOMS"),
}


@dataclass(frozen=True)
class Prediction:
    """What follows for a launch.

    unit: instructions of the main loop; 0 where memory alone counts.
    """

    launch: PlannedLaunch
    unit: int
    share: float  # of useful ones among all instructions of a warp
    issue: float  # seconds, as all below
    tensor: float
    memory: float
    limit: float

    @property
    def work(self) -> float:
        """The time on a device that is busy all the time, with this launch and others."""
        blocks = prod(self.launch.grid)
        share = blocks / MULTIPROCESSORS / ceil_div(blocks, MULTIPROCESSORS)
        return max(share * self.issue, share * self.tensor, self.memory)

    @property
    def seconds(self) -> float:
        """The time from the start of the launch to that of the next."""
        return max(self.issue, self.tensor, self.memory) + BOUNDARY


class Code(NamedTuple):
    """The instructions of a kernel, and its loops."""

    total: int
    loops: Sequence[sass.Loop]

    def nest(self, useful: str) -> list[sass.Loop]:
        """Return the main loop, innermost, and those around it: outermost first."""
        found = sass.inner_loop(self.loops)
        if found is None or found[1] != useful:
            raise ValueError(f"the loops have {found and found[1]} but expected {useful}")
        main = found[0]
        around = [x for x in self.loops if x.start <= main.start and main.end <= x.end]
        return sorted(around, key=lambda loop: -loop.total)


@functools.cache
def code_of(file_name: str, defines: tuple[tuple[str, int | str], ...]) -> dict[str, Code]:
    """Compile a file for an H100 and return what each of its kernels executes."""
    listing = sass.disassemble(Variant(file_name, dict(defines), {}), "sm_90")
    totals = sass.read_totals(listing)
    return {name: Code(totals[name], found) for name, found in sass.read_loops(listing).items()}


def instructions(code: Code, unit: Unit, trips: Sequence[float]) -> tuple[int, float, float]:
    """Return those of the main loop, those of a warp, and the useful ones of a warp.

    ValueError where the trips are not those of the loops that there are.
    """
    nest = code.nest(unit.useful)
    main = nest[-1]
    if len(nest) != len(trips):
        found = [loop.total for loop in nest]
        raise ValueError(f"trips are {list(trips)} but the nested loops have {found} instructions")
    beside = [x for x in code.loops if x.innermost and x.counts[unit.rare] and x is not main]
    spans = [(0, code.total), *((loop.start, loop.end) for loop in nest)]
    sizes = [
        end - start - sum(x.total for x in beside if start <= x.start and x.end <= end)
        for start, end in spans
    ]
    executed = 0.0
    for size, inner, times in zip(sizes[::-1], [0, *sizes[:0:-1]], [*trips[::-1], 1], strict=True):
        executed = times * (size - inner + executed)
    return main.total, executed, prod(trips) * main.counts[unit.useful]


def predict(launch: PlannedLaunch) -> Prediction:
    """Return what follows for a launch."""
    memory = launch.nbytes / BANDWIDTH
    unit = UNITS.get(launch.kernel.name)
    if unit is None:
        return Prediction(launch, 0, 0, 0, 0, memory, memory)
    code = code_of(launch.kernel.file_name, launch.kernel.defines)[launch.kernel.name]
    main, of_warp, useful = instructions(code, unit, unit.trips(launch))
    warps, blocks = ceil_div(prod(launch.block), 32), prod(launch.grid)
    busiest = ceil_div(blocks, MULTIPROCESSORS) * warps / SCHEDULERS / CLOCK
    tensor = busiest * useful * HMMA_CYCLES / OF_PEAK if unit.useful == "HMMA" else 0
    spread = blocks * warps / MULTIPROCESSORS / SCHEDULERS / CLOCK
    limit = max(spread * useful * CYCLES[unit.useful], memory)
    return Prediction(launch, main, useful / of_warp, busiest * of_warp, tensor, memory, limit)


def elapsed(predictions: Iterable[Prediction]) -> float:
    """Return the time of launches as they are queued, some of them beside others."""
    total, forked = 0.0, list[Prediction]()
    for p in predictions:
        if p.launch.joins:
            total, forked = total + _of_branches(forked), []
        if forked or p.launch.beside:
            forked.append(p)
        else:
            total += p.seconds
    return total + _of_branches(forked)


def _of_branches(predictions: Sequence[Prediction]) -> float:
    """Return the time from the begin of a branch to where it is joined."""
    ends = {False: 0.0, True: 0.0}  # of the branch: True
    for p in predictions:
        start = max(ends.values()) if p.launch.beside else ends[False]
        ends[p.launch.beside] = start + p.seconds
    return max(*ends.values(), sum(p.work for p in predictions))
