"""Samples that are looked at a part at a time: memory maps, and arrays that a copy would double."""

import mmap
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from l2ae_kernels.arrays import Array, DeviceName

BLOCK = 1024  # samples; a part begins at a multiple of it
PART = 1 << 25  # bytes of x that are read where they lie: thousands of blocks, some milliseconds
COPY = 1 << 22  # bytes that are computed from x first: they stay in the last cache
ROWS = 4096  # that a thread computes at a time

Rows: TypeAlias = Callable[[Array], Array]


class PartedSamples:
    """Samples (n, d) of the host, of `source` (n, d), with what is computed from each row alone.

    computed: from rows (m, d) of the source, the samples (m, d) in `dtype`; None: what lies there.
    """

    device_name: DeviceName = "parted"
    ndim = 2

    def __init__(
        self, source: Array, dtype: np.dtype[Any] | None = None, computed: Rows | None = None
    ) -> None:
        self.source, self.computed = source, computed
        self.shape: tuple[int, int] = (len(source), source.shape[1])
        self.dtype = source.dtype if dtype is None else dtype
        self.nbytes = source.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Array:
        """Return the samples of a number, a slice or an array of numbers: (…, d), C-contiguous.

        NumPy's sums depend on the order in memory, and have to be those of samples in one piece.
        """
        taken = np.ascontiguousarray(self.source[rows])
        if self.computed is None:
            return taken
        return self.computed(taken.reshape(-1, taken.shape[-1])).reshape(taken.shape)

    def then(self, computed: Rows, dtype: np.dtype[Any] | None = None) -> "PartedSamples":
        """Return the samples that are computed from each of these, in `dtype`."""
        before = self.computed
        both = computed if before is None else lambda rows: computed(before(rows))
        return PartedSamples(self.source, self.dtype if dtype is None else dtype, both)

    def parts(self) -> Iterator[tuple[int, Array]]:
        """Yield C-contiguous parts (m, d) with the number of their first sample.

        A part may be read until the next is asked for. It begins at a multiple of BLOCK.
        """
        n, d = self.shape
        most = PART if self.computed is None else COPY
        size = max(1, most // max(1, BLOCK * d * self.dtype.itemsize)) * BLOCK
        memory = None if self.computed is None else np.empty((min(n, size), d), self.dtype)
        from l2ae_kernels.cpu.threads import in_ranges  # what imports this needs no compiler

        for first in range(0, n, size):
            part = np.require(self.source[first : first + size], requirements=["C", "A"])
            part = part.view(np.ndarray)
            if memory is not None:
                part, rows = memory[: len(part)], part
                in_ranges(self._compute, -(-len(part) // ROWS), 16 * part.size, part, rows)
            yield first, part

    def _compute(self, out: Array, rows: Array, first: int, last: int) -> None:
        assert self.computed is not None
        for start in range(first * ROWS, min(len(rows), last * ROWS), ROWS):
            out[start : start + ROWS] = self.computed(rows[start : start + ROWS])


def is_memory_map(x: Array) -> bool:
    """Whether x is, or is a view of, what a file holds; a copy in memory of one is not."""
    owner: Any = x
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return owner is not None
