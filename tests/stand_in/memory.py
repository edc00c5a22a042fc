"""Memory of the stand-in: the host's, of which a kernel and the copies get only what was allocated.

New memory and freed memory hold 0xFF in every byte: NaN as a number, −1 as an integer. Bytes around
each block tell whether something wrote beyond its end. Freed blocks are kept for a while, so that
work which uses one too late reads and writes nothing else.
"""

import ctypes
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

POISON = 0xFF
GUARD = 512  # bytes on either side of a block
GUARDED = 0xA5
ALIGNMENT = 256  # of cudaMalloc
KEPT = 1 << 26  # bytes of freed blocks


@dataclass(frozen=True, eq=False)
class Block:
    """Bytes [start, start + size) in the middle of guards."""

    start: int
    size: int
    memory: np.ndarray[tuple[int], np.dtype[np.uint8]]

    @classmethod
    def of(cls, size: int) -> "Block":
        """Return a new one, poisoned."""
        memory = np.full(GUARD + ALIGNMENT + size + GUARD, GUARDED, np.uint8)
        first = memory.ctypes.data + GUARD
        block = cls(-(-first // ALIGNMENT) * ALIGNMENT, size, memory)
        block.poison()
        return block

    def poison(self) -> None:
        """Fill it with what no result is."""
        ctypes.memset(self.start, POISON, self.size)

    def overrun(self) -> bool:
        """Whether something was written beside it since the last time."""
        begin = self.start - self.memory.ctypes.data
        found = False
        for guard in (self.memory[:begin], self.memory[begin + self.size :]):
            found |= bool((guard != GUARDED).any())
            guard[:] = GUARDED
        return found


class Memory:
    """Blocks by address."""

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}
        self._starts: list[int] = []
        self._freed: deque[Block] = deque()

    def allocate(self, size: int) -> int:
        """Return the address of new memory."""
        block = Block.of(size)
        self._blocks[block.start] = block
        insort(self._starts, block.start)
        return block.start

    def free(self, address: int) -> Block | None:
        """Take back the block that begins here; None where none does."""
        block = self._blocks.pop(address, None)
        if block is not None:
            self._starts.remove(address)
            block.poison()
            self._freed.append(block)
            while len(self._freed) > 1 and sum(b.size for b in self._freed) > KEPT:
                self._freed.popleft()
        return block

    def holds(self, address: int, size: int = 1) -> bool:
        """Whether all these bytes lie in one block."""
        i = bisect_right(self._starts, address)
        if i == 0:
            return False
        block = self._blocks[self._starts[i - 1]]
        return address + size <= block.start + block.size

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks.values())
