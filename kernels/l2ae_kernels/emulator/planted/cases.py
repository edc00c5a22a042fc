"""Kernels with one fault each, and what has to catch it.

Every kernel is `name(x, y, counter, n)`: numbers x, results y, a counter that is 0. With -DFAULT it
has its fault, without it is the correct twin, which no tool may complain about.

    orders    ascending, descending, shuffled: a wrong result or an error in at least one of them
    address   AddressSanitizer has a report
    thread    ThreadSanitizer has a report
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import l2ae_kernels
from l2ae_kernels.emulator import RawModule

TOOLS = ("orders", "address", "thread")
HEADERS = Path(l2ae_kernels.__file__).parent / "cuda" / "source"
BLOCK = 64
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
    result: Callable[[Numbers], Numbers]  # of the correct twin
    caught_by: frozenset[str]
    numbers: int = 4 * BLOCK
    blocks: int = 4
    shared_mem: int = 0
    cooperative: bool = False
    count_type: type[np.integer[Any]] = field(default=np.int32)  # of n where the fault is planted

    def run(self, faulty: bool, order: str = "ascending", seed: int = 0) -> str:
        """Launch the kernel; return what is wrong with its result, or "". May raise."""
        x = np.random.default_rng(0).integers(0, 100, self.numbers).astype(np.float32)
        expected = self.result(x)
        memory = np.zeros(expected.size + BLOCK, np.float32)  # a fault may write behind y
        y, counter = memory[: expected.size], np.zeros(1, np.uint32)
        n = (self.count_type if faulty else np.int32)(self.numbers)
        module = RawModule(
            code=source(),
            options=(f"-I{HEADERS}", *(["-DFAULT"] if faulty else [])),
            enable_cooperative_groups=self.cooperative,
            order=order,
            seed=seed,
        )
        kernel = module.get_function(self.name)
        kernel((self.blocks,), (BLOCK,), (x, y, counter, n), shared_mem=self.shared_mem)
        return "" if np.array_equal(y, expected) else f"wrong result in the {order} order"


def source() -> str:
    """Return all kernels as one text, in which each keeps its own file name and lines."""
    files = sorted(Path(__file__).parent.glob("*.cu"))
    return "\n".join(f'#line 1 "{path.name}"\n{path.read_text()}' for path in files)


def _case(
    name: str, fault: str, result: Callable[[Numbers], Numbers], *by: str, **how: Any
) -> Case:
    return Case(name, fault, result, frozenset(by), **how)


ORDERS, ADDRESS, THREAD = TOOLS
CASES = (
    _case("missing_first_barrier", "no barrier between write and read", _reversed, ORDERS, THREAD),
    _case(
        "missing_second_barrier",
        "no barrier between read and overwrite",
        lambda x: np.roll(x.reshape(-1, BLOCK).sum(0), -1),
        ORDERS,
        THREAD,
        blocks=1,
    ),
    _case(
        "missing_loop_barrier",
        "no barrier in a loop",
        lambda x: x.reshape(-1, BLOCK).sum(1),
        ORDERS,
        THREAD,
    ),
    _case("divergent_barrier", "barrier in a branch", _first_turned, ORDERS),
    _case("early_return", "return before a barrier", _ragged, ORDERS, numbers=3 * BLOCK + 10),
    _case("plain_add_in_shared", "+= in shared memory", _residues, THREAD),
    _case("plain_add_across_blocks", "+= across blocks", lambda x: x.sum(keepdims=True), THREAD),
    _case("missing_fence", "no fence around a ticket", _last_block, THREAD),
    _case("missing_syncwarp", "no __syncwarp", _turned_warps, ORDERS, THREAD),
    _case("shared_out_of_bounds", "write behind static shared memory", _shifted, ORDERS, ADDRESS),
    _case(
        "dynamic_out_of_bounds",
        "read behind dynamic shared memory",
        _larger,
        ADDRESS,
        shared_mem=4 * BLOCK,
    ),
    _case(
        "global_out_of_bounds",
        "write behind an array",
        lambda x: 2 * x,
        ADDRESS,
        numbers=3 * BLOCK + 10,
    ),
    _case("unset_shared", "shared memory not set", _residues, ORDERS),
    _case(
        "inactive_lane",
        "shuffle reads a lane that is not in the mask",
        lambda x: x.reshape(-1, BLOCK)[:, :16].sum(1),
        ORDERS,
    ),
    _case("divergent_shuffle", "mask names lanes that do not come", _swapped, ORDERS),
    _case("wrong_width", "8 bytes for an int", lambda x: 2 * x, ORDERS, count_type=np.int64),
    _case("missing_wait", "no wait for an asynchronous copy", _reversed, ORDERS),
    _case(
        "missing_grid_barrier",
        "no barrier of the grid",
        lambda x: np.concatenate([x, np.roll(x, -BLOCK)]),
        ORDERS,
        THREAD,
        cooperative=True,
    ),
)
