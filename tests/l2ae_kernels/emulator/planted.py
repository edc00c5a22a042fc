"""Small kernels with one planted fault each (faults/*.cu), and which tool has to catch it.

    python tests/l2ae_kernels/emulator/planted.py     # runs all of them and prints the table

Every kernel is `name(x, y, counter, n)`: numbers x, results y, a counter that is 0. With -DFAULT it
has its fault, without it is the correct twin, which no tool may complain about.

    orders    ascending, descending, shuffled: a wrong result or an error in at least one of them
    ptx       the same of what NVRTC makes of the text, in the shuffled order
    address   AddressSanitizer has a report
    thread    ThreadSanitizer has a report
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from l2ae_kernels.cuda.text import SOURCE
from l2ae_kernels.emulator import (
    CompileError,
    EmulatorError,
    RawModule,
    SanitizerError,
    sanitized,
)
from l2ae_kernels.emulator.module import ORDERS

TOOLS = ("orders", "ptx", "address", "thread")
WORKER = "--inside"  # a process in which the sanitizer is already
BLOCK = 64
Found = dict[str, dict[str, str]]  # "fault" or "twin" → name → what was found, or ""
Numbers = np.ndarray[Any, np.dtype[np.float32]]


def _reversed(x: Numbers) -> Numbers:
    return x.reshape(-1, BLOCK)[:, ::-1].reshape(-1)


def _residues(x: Numbers) -> Numbers:
    blocks = x.reshape(-1, BLOCK).astype(np.int64) % 4
    return np.stack([(blocks == r).sum(1) for r in range(4)], 1).reshape(-1).astype(np.float32)


def _first_turned(x: Numbers) -> Numbers:
    y = np.zeros((x.size // BLOCK, BLOCK), np.float32)
    y[:, :40] = x.reshape(-1, BLOCK)[:, 39::-1]
    return y.reshape(-1)


def _ragged(x: Numbers) -> Numbers:
    padded = np.zeros(-(-x.size // BLOCK) * BLOCK, np.float32)
    padded[: x.size] = x
    return _reversed(padded)[: x.size]


def _last_block(x: Numbers) -> Numbers:
    sums = x.reshape(-1, BLOCK).sum(1)
    return np.concatenate([sums.sum(keepdims=True), sums])


def _shifted(x: Numbers) -> Numbers:
    y = x.reshape(-1, BLOCK).copy()
    y[:, 1:], y[:, 0] = x.reshape(-1, BLOCK)[:, :-1], 0
    return y.reshape(-1)


def _larger(x: Numbers) -> Numbers:
    blocks = x.reshape(-1, BLOCK)
    return np.maximum(blocks, blocks[:, [*range(1, BLOCK), BLOCK - 1]]).reshape(-1)


def _turned_warps(x: Numbers) -> Numbers:
    return x.reshape(-1, 32)[:, ::-1].reshape(-1)


def _swapped(x: Numbers) -> Numbers:
    lanes = np.arange(32)
    return x.reshape(-1, 32)[:, np.where(lanes < 16, lanes ^ 1, lanes)].reshape(-1)


@dataclass(frozen=True)
class Fault:
    """A fault: its kernel, what it should compute, and which tools have to catch it."""

    name: str
    description: str
    caught_by: str  # names of TOOLS
    result: Callable[[Numbers], Numbers]  # of the correct twin
    numbers: int = 4 * BLOCK
    blocks: int = 4
    shared_mem: int = 0
    cooperative: bool = False
    count_type: type[np.integer[Any]] = np.int32  # of n with the fault

    def run(
        self, faulty: bool, order: str = "ascending", seed: int = 0, backend: str = "cpp"
    ) -> str:
        """Launch the kernel; return what is wrong with its result, or "". May raise."""
        x = np.random.default_rng(0).integers(0, 100, self.numbers).astype(np.float32)
        expected = self.result(x)
        y, counter = np.zeros(expected.size, np.float32), np.zeros(1, np.uint32)
        n = (self.count_type if faulty else np.int32)(self.numbers)
        module = RawModule(
            code=source(),
            options=(f"-I{SOURCE}", *(["-DFAULT"] if faulty else [])),
            enable_cooperative_groups=self.cooperative,
            order=order,
            seed=seed,
            backend=backend,
        )
        kernel = module.get_function(self.name)
        kernel((self.blocks,), (BLOCK,), (x, y, counter, n), shared_mem=self.shared_mem)
        return "" if np.array_equal(y, expected) else f"wrong result in the {order} order"


def source() -> str:
    """Return all kernels as one text, in which each keeps its own file name and lines."""
    files = sorted(Path(__file__).with_name("faults").glob("*.cu"))
    return "\n".join(f'#line 1 "{path.name}"\n{path.read_text()}' for path in files)


FAULTS = (
    Fault("missing_first_barrier", "no barrier between write and read", "orders ptx thread",
         _reversed),
    Fault("missing_second_barrier", "no barrier between read and overwrite", "orders ptx thread",
         lambda x: np.roll(x.reshape(-1, BLOCK).sum(0), -1), blocks=1),
    Fault("missing_loop_barrier", "no barrier in a loop", "orders ptx thread",
         lambda x: x.reshape(-1, BLOCK).sum(1)),
    Fault("divergent_barrier", "barrier in a branch", "orders ptx", _first_turned),
    Fault("early_return", "return before a barrier", "orders ptx", _ragged, numbers=3 * BLOCK + 10),
    Fault("plain_add_in_shared", "+= in shared memory", "thread", _residues),
    Fault("plain_add_across_blocks", "+= across blocks", "thread", lambda x: x.sum(keepdims=True)),
    Fault("missing_fence", "no fence around a ticket", "thread", _last_block),
    Fault("early_last_block", "every block takes itself for the last one", "thread", _last_block),
    Fault("missing_syncwarp", "no __syncwarp", "orders ptx thread", _turned_warps),
    Fault("shared_out_of_bounds", "write behind static shared memory", "orders ptx address",
         _shifted),
    Fault("dynamic_out_of_bounds", "read behind dynamic shared memory", "ptx address", _larger,
         shared_mem=4 * BLOCK),
    Fault("global_out_of_bounds", "write behind an array", "orders ptx address", lambda x: 2 * x,
         numbers=3 * BLOCK + 10),
    Fault("unset_shared", "shared memory not set", "orders ptx", _residues),
    Fault("inactive_lane", "shuffle reads a lane that is not in the mask", "orders ptx",
         lambda x: x.reshape(-1, BLOCK)[:, :16].sum(1)),
    Fault("divergent_shuffle", "mask names lanes that do not come", "orders ptx", _swapped),
    Fault("wrong_width", "8 bytes for an int", "orders ptx", lambda x: 2 * x, count_type=np.int64),
    Fault("missing_wait", "no wait for an asynchronous copy", "orders ptx", _reversed),
    Fault("missing_grid_barrier", "no barrier of the grid", "orders ptx thread",
         lambda x: np.concatenate([x, np.roll(x, -BLOCK)]), cooperative=True),
)  # fmt: skip


def found_by(tool: str) -> Found:
    """Return what `tool` finds in every kernel, with its fault and as the correct twin."""
    if tool == "orders":
        return _all(_in_orders)
    if tool == "ptx":
        return _all(_in_ptx)
    command = [sys.executable, __file__, WORKER]
    status, output, _ = sanitized.run(tool, command, capture=True)
    if status != 0:
        raise EmulatorError(f"planted: the run under {tool} ended with exit status {status}")
    found: Found = json.loads(output.splitlines()[-1])
    return found


def _all(check: Callable[[Fault, bool], str]) -> Found:
    return {
        kind: {fault.name: check(fault, faulty) for fault in FAULTS}
        for kind, faulty in (("fault", True), ("twin", False))
    }


def _in_orders(fault: Fault, faulty: bool) -> str:
    problems = (_problem(fault, faulty, order, "cpp") for order in ORDERS)
    return next((problem for problem in problems if problem), "")


def _in_ptx(fault: Fault, faulty: bool) -> str:
    return _problem(fault, faulty, "shuffled", "ptx")


def _problem(fault: Fault, faulty: bool, order: str, backend: str) -> str:
    try:
        return fault.run(faulty, order, backend=backend)
    except (EmulatorError, ValueError) as error:
        if isinstance(error, CompileError):
            raise
        return str(error)


def _reported(fault: Fault, faulty: bool) -> str:
    try:
        fault.run(faulty)
    except SanitizerError as error:
        return str(error)
    except (EmulatorError, ValueError):
        return ""  # the emulator's own errors count among the orders
    return ""


def expected() -> dict[str, Found]:
    """What the tools have to find; its table is that of the README."""
    return {
        tool: {
            "fault": {fault.name: tool if tool in fault.caught_by else "" for fault in FAULTS},
            "twin": {fault.name: "" for fault in FAULTS},
        }
        for tool in TOOLS
    }


def table(found: dict[str, Found]) -> str:
    """Return the Markdown table of faults and tools."""
    lines = ["| fault | kernel | " + " | ".join(TOOLS) + " |", "|---" * (2 + len(TOOLS)) + "|"]
    for fault in FAULTS:
        marks = [_mark(fault, tool, found[tool]) for tool in TOOLS]
        lines.append(f"| {fault.description} | `{fault.name}` | {' | '.join(marks)} |")
    return "\n".join(lines)


def _mark(fault: Fault, tool: str, found: Found) -> str:
    if found["twin"][fault.name]:
        return "FALSE ALARM"
    if found["fault"][fault.name]:
        return "caught"
    return "MISSED" if tool in fault.caught_by else ""


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit status 1 where a fault is missed or a twin accused."""
    if WORKER in arguments:
        print(json.dumps(_all(_reported)))
        return 0
    tools = tqdm(TOOLS, desc="planted faults", unit="tool", leave=False)
    text = table({tool: found_by(tool) for tool in tools})
    print(text)
    return int("MISSED" in text or "FALSE ALARM" in text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
