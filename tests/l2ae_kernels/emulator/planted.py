"""Small kernels with one planted fault each (faults/*.cu), and which tool has to catch it.

    python tests/l2ae_kernels/emulator/planted.py     # runs all of them and prints the table

Every kernel is `name(x, y, counter, n)`: numbers x, results y, a counter that is 0. With -DFAULT it
has its fault, without it is the correct twin, which no tool may complain about.

    orders    ascending, descending, shuffled: a wrong result or an error in at least one of them
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
from l2ae_kernels.emulator import EmulatorError, RawModule, SanitizerError, sanitized
from l2ae_kernels.emulator.module import ORDERS

TOOLS = ("orders", "address", "thread")
WORKER = "--inside"  # a process in which the sanitizer is already
BLOCK = 64
Found = dict[str, dict[str, str]]  # "fault" or "twin" → name of the case → what was found, or ""
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
class Case:
    """A fault: its kernel, what it should compute, and which tools have to catch it."""

    name: str
    fault: str
    caught_by: str  # names of TOOLS
    result: Callable[[Numbers], Numbers]  # of the correct twin
    numbers: int = 4 * BLOCK
    blocks: int = 4
    shared_mem: int = 0
    cooperative: bool = False
    count_type: type[np.integer[Any]] = np.int32  # of n where the fault is planted

    def run(self, faulty: bool, order: str = "ascending", seed: int = 0) -> str:
        """Launch the kernel; return what is wrong with its result, or "". May raise."""
        x = np.random.default_rng(0).integers(0, 100, self.numbers).astype(np.float32)
        expected = self.result(x)
        memory = np.zeros(expected.size + BLOCK, np.float32)  # a fault may write behind y
        y, counter = memory[: expected.size], np.zeros(1, np.uint32)
        n = (self.count_type if faulty else np.int32)(self.numbers)
        module = RawModule(
            code=source(),
            options=(f"-I{SOURCE}", *(["-DFAULT"] if faulty else [])),
            enable_cooperative_groups=self.cooperative,
            order=order,
            seed=seed,
        )
        kernel = module.get_function(self.name)
        kernel((self.blocks,), (BLOCK,), (x, y, counter, n), shared_mem=self.shared_mem)
        return "" if np.array_equal(y, expected) else f"wrong result in the {order} order"


def source() -> str:
    """Return all kernels as one text, in which each keeps its own file name and lines."""
    files = sorted(Path(__file__).with_name("faults").glob("*.cu"))
    return "\n".join(f'#line 1 "{path.name}"\n{path.read_text()}' for path in files)


CASES = (
    Case("missing_first_barrier", "no barrier between write and read", "orders thread", _reversed),
    Case("missing_second_barrier", "no barrier between read and overwrite", "orders thread",
         lambda x: np.roll(x.reshape(-1, BLOCK).sum(0), -1), blocks=1),
    Case("missing_loop_barrier", "no barrier in a loop", "orders thread",
         lambda x: x.reshape(-1, BLOCK).sum(1)),
    Case("divergent_barrier", "barrier in a branch", "orders", _first_turned),
    Case("early_return", "return before a barrier", "orders", _ragged, numbers=3 * BLOCK + 10),
    Case("plain_add_in_shared", "+= in shared memory", "thread", _residues),
    Case("plain_add_across_blocks", "+= across blocks", "thread", lambda x: x.sum(keepdims=True)),
    Case("missing_fence", "no fence around a ticket", "thread", _last_block),
    Case("missing_syncwarp", "no __syncwarp", "orders thread", _turned_warps),
    Case("shared_out_of_bounds", "write behind static shared memory", "orders address", _shifted),
    Case("dynamic_out_of_bounds", "read behind dynamic shared memory", "address", _larger,
         shared_mem=4 * BLOCK),
    Case("global_out_of_bounds", "write behind an array", "address", lambda x: 2 * x,
         numbers=3 * BLOCK + 10),
    Case("unset_shared", "shared memory not set", "orders", _residues),
    Case("inactive_lane", "shuffle reads a lane that is not in the mask", "orders",
         lambda x: x.reshape(-1, BLOCK)[:, :16].sum(1)),
    Case("divergent_shuffle", "mask names lanes that do not come", "orders", _swapped),
    Case("wrong_width", "8 bytes for an int", "orders", lambda x: 2 * x, count_type=np.int64),
    Case("missing_wait", "no wait for an asynchronous copy", "orders", _reversed),
    Case("missing_grid_barrier", "no barrier of the grid", "orders thread",
         lambda x: np.concatenate([x, np.roll(x, -BLOCK)]), cooperative=True),
)  # fmt: skip


def found_by(tool: str) -> Found:
    """Return what `tool` finds in every case, with its fault and in its correct twin."""
    if tool == "orders":
        return _all(_in_orders)
    command = [sys.executable, __file__, WORKER]
    status, output, _ = sanitized.run(tool, command, capture=True)
    if status != 0:
        raise EmulatorError(f"planted: the run under {tool} ended with exit status {status}")
    found: Found = json.loads(output.splitlines()[-1])
    return found


def _all(check: Callable[[Case, bool], str]) -> Found:
    return {
        kind: {case.name: check(case, faulty) for case in CASES}
        for kind, faulty in (("fault", True), ("twin", False))
    }


def _in_orders(case: Case, faulty: bool) -> str:
    for order in ORDERS:
        try:
            problem = case.run(faulty, order)
        except (EmulatorError, ValueError) as error:
            problem = str(error)
        if problem:
            return problem
    return ""


def _reported(case: Case, faulty: bool) -> str:
    try:
        case.run(faulty)
    except SanitizerError as error:
        return str(error)
    except (EmulatorError, ValueError):
        return ""  # the emulator's own errors count among the orders
    return ""


def expected() -> dict[str, Found]:
    """What the tools have to find; its table is that of the README."""
    return {
        tool: {
            "fault": {case.name: tool if tool in case.caught_by else "" for case in CASES},
            "twin": {case.name: "" for case in CASES},
        }
        for tool in TOOLS
    }


def table(found: dict[str, Found]) -> str:
    """Return the Markdown table of faults and tools."""
    lines = ["| fault | kernel | " + " | ".join(TOOLS) + " |", "|---|---|---|---|---|"]
    for case in CASES:
        marks = [_mark(case, tool, found[tool]) for tool in TOOLS]
        lines.append(f"| {case.fault} | `{case.name}` | {' | '.join(marks)} |")
    return "\n".join(lines)


def _mark(case: Case, tool: str, found: Found) -> str:
    if found["twin"][case.name]:
        return "FALSE ALARM"
    if found["fault"][case.name]:
        return "caught"
    return "MISSED" if tool in case.caught_by else ""


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
