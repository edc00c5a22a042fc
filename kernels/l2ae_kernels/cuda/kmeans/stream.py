"""Rung 8: k-means over samples that stay in the memory of the host, for more than the device holds.

What changed against rung 4: a pass takes x piece by piece. While the kernels of one piece run, the
next is on its way: from x to pinned memory by all threads, since one alone fills a fraction of
the bus, from there to the device by a stream of copies of its own. Two pieces of memory alternate.
Why faster: copies that would wait for kernels, and kernels that would wait for copies, go on side
by side, so a pass takes as long as its copies.

(To lock the pages of x itself would save the first copy, but takes the driver's time for each
page, a limit on locked memory, and memory that may be written; which is faster, only a GPU tells.)

Labels (R, n) and everything else stay on the device, 4 bytes a sample and run. The numbers are
those of rung 4, bit for bit: sums of whole numbers do not mind in which piece a sample is.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array, to_host
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.cuda.device import Device, device_of
from l2ae_kernels.cuda.kmeans import init, restarts, shapes
from l2ae_kernels.cuda.kmeans.assign import assign_best
from l2ae_kernels.reference import restarts as reference

PIECE = 1 << 26  # bytes of x: a few milliseconds of copying, thousands of blocks
SLOTS = 2


class Slot:
    """Memory for one piece: pinned on the host, and on the device."""

    def __init__(self, device: Device, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self.there = device.empty(shape, dtype)
        if not device.emulated:
            import cupyx

            self.pinned = cupyx.empty_pinned(shape, dtype)
            events = device.array_module.cuda.Event
            self.copied, self.used = events(disable_timing=True), events(disable_timing=True)
            # CuPy may hand out memory that kernels in this stream have still to read.
            self.used.record(device.array_module.cuda.get_current_stream())


def pieces(device: Device, x: Array, piece: int = PIECE) -> Iterator[tuple[int, Array]]:
    """Yield x (n, d) of the host piece by piece on the device, with the number of its first sample.

    A piece may be used until the next but one is asked for; it holds whole blocks of 512 samples.
    """
    blocks = max(1, piece // (shapes.TILE * x[:1].nbytes))
    size = min(len(x), blocks * shapes.TILE)
    slots = [Slot(device, (size, x.shape[1]), x.dtype) for _ in range(SLOTS)]
    fetch = _copy if device.emulated else Fetch(device).fetch
    for i, first in enumerate(range(0, len(x), size)):
        part, slot = np.asarray(x[first : first + size]), slots[i % SLOTS]
        fetch(device, part, slot)
        yield first, slot.there[: len(part)]
        if not device.emulated:
            slot.used.record(device.array_module.cuda.get_current_stream())


def _copy(device: Device, part: Array, slot: Slot) -> None:
    device.write(slot.there[: len(part)], part)


def copy_on_threads(to: Array, rows: Array) -> None:
    """Copy rows, of the shape and dtype of `to`, by as many threads as that is worth."""
    in_ranges(_copy_rows, len(rows), rows.nbytes, to, rows)


def _copy_rows(to: Array, rows: Array, first: int, last: int) -> None:
    np.copyto(to[first:last], rows[first:last], casting="no")  # without the GIL


class Fetch:
    """Copies to a GPU on a stream of their own."""

    def __init__(self, device: Device) -> None:
        self.copies = device.array_module.cuda.Stream(non_blocking=True)

    def fetch(self, device: Device, part: Array, slot: Slot) -> None:
        """Let the current stream go on when the part is in the slot; do not wait for that here."""
        slot.copied.synchronize()  # pinned memory is free; an event that was not recorded is done
        pinned = slot.pinned[: len(part)]
        copy_on_threads(pinned, part)
        self.copies.wait_event(slot.used)
        slot.there[: len(part)].set(pinned, stream=self.copies)  # type: ignore[attr-defined]
        slot.copied.record(self.copies)
        device.array_module.cuda.get_current_stream().wait_event(slot.copied)


class Restarts(restarts.Restarts):
    """R runs over samples x (n, d) of the host that go through a device piece by piece."""

    piece = PIECE

    def parts(self) -> Iterator[tuple[int, Array]]:
        """Yield x in parts that lie on the device, each with the number of its first sample."""
        return pieces(self.device, self.x, self.piece)

    @staticmethod
    def nearest_centers(x: Array, centers: Array) -> tuple[Array, Array]:
        """Return labels and squared distances, on the host."""
        return assign(x, centers)

    # Squared distances of all samples do not fit the device: the host keeps them, and draws.
    init_centers = reference.Restarts.init_centers

    def min_sq_distances(self, candidates: Array, nearest: Array, keep: bool) -> Array:
        """See the reference: nearest and the potentials are the host's."""
        self._require_candidates(candidates, nearest)
        there = self.device.to_device(np.asarray(candidates))
        potentials = []
        for first, part in self.parts():
            of_part = nearest[:, first : first + len(part)]
            near = self.device.to_device(of_part)
            potentials.append(to_host(init.min_sq_distances(part, there, near, keep)))
            if keep:
                of_part[...] = to_host(near)
        return np.concatenate(potentials, axis=2)


def assign(x: Array, centers: Array) -> tuple[Array, Array]:
    """Return labels int32 (n,) and squared distances (n,) of samples of the host, on the host."""
    device = device_of(x)
    there = device.to_device(np.asarray(centers))
    labels, nearest = np.empty(len(x), np.int32), np.empty(len(x), x.dtype)
    for first, part in pieces(device, x):
        found = assign_best(part, there)
        for out, new in zip((labels, nearest), found, strict=True):
            out[first : first + len(part)] = to_host(new)
    return labels, nearest
