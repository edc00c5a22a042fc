"""What a launch executed and moved, read from a library that counts.

Numbers of instructions are those of PTX, a warp's, not a thread's: what ptxas makes of them is in
the SASS alone. An instruction whose guard keeps all lanes out is counted too.
"""

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Traffic:
    """Requests of warps to a memory, and how many sectors or passes they take.

    cost: sectors of 32 bytes in global memory, passes over the 32 banks in shared memory.
    least: what the same bytes take at best, close together or without a conflict.
    """

    requests: int = 0
    cost: int = 0
    least: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.requests + other.requests, self.cost + other.cost, self.least + other.least
        )


@dataclass(frozen=True)
class Site:
    """An instruction that reaches memory, and what it moved in a launch."""

    space: str  # global or shared
    writes: bool
    text: str
    file: str
    line: int
    traffic: Traffic


@dataclass(frozen=True)
class LaunchCounts:
    """What one launch did."""

    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    instructions: Mapping[str, int]  # of all warps, by kind
    lanes: int  # instructions of all threads
    sites: Sequence[Site]

    @property
    def warps(self) -> int:
        """How many warps ran."""
        return int(np.prod(self.grid)) * -(-int(np.prod(self.block)) // 32)

    @property
    def total(self) -> int:
        """Instructions of all warps."""
        return sum(self.instructions.values())

    @property
    def loads(self) -> Traffic:
        """Sectors that loads of global memory take."""
        return _sum(self.sites, "global", False)

    @property
    def stores(self) -> Traffic:
        """Sectors that stores to global memory take."""
        return _sum(self.sites, "global", True)

    @property
    def shared(self) -> Traffic:
        """Passes over shared memory."""
        return _sum(self.sites, "shared", False) + _sum(self.sites, "shared", True)


def _sum(sites: Iterable[Site], space: str, writes: bool) -> Traffic:
    chosen = (s.traffic for s in sites if s.space == space and s.writes == writes)
    return sum(chosen, Traffic())


def take(
    code: ctypes.CDLL,
    description: Mapping[str, Any],
    kernel: str,
    grid: Sequence[int],
    block: Sequence[int],
) -> LaunchCounts:
    """Return the counts of the launch that has just ended, and set them to zero."""
    counted = description["counted"]
    blocks, sites = counted["blocks"], counted["sites"]
    numbers = np.zeros(2 * len(blocks) + 3 * len(sites), np.uint64)
    code.ptx_take_counts(ctypes.c_void_p(numbers.ctypes.data))
    visits = numbers[: 2 * len(blocks)].reshape(-1, 2).tolist()
    instructions: dict[str, int] = {}
    lanes = 0
    for kinds, (by_warps, by_threads) in zip(blocks, visits, strict=True):
        for kind, count in kinds.items():
            if by_warps:
                instructions[kind] = instructions.get(kind, 0) + count * by_warps
            lanes += count * by_threads
    moved = numbers[2 * len(blocks) :].reshape(-1, 3).tolist()
    found = tuple(
        Site(s["space"], s["writes"], s["text"], s["file"], s["line"], Traffic(*traffic))
        for s, traffic in zip(sites, moved, strict=True)
        if traffic[0]
    )
    return LaunchCounts(kernel, tuple(grid), tuple(block), instructions, lanes, found)
