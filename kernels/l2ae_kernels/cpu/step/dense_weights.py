"""What to call for the gradients of a dense layer and for Adam on them.

dW = xᵀ dy takes all samples at once, a few outputs a call: see microkernels/dense_gradients.py.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from l2ae_kernels.cpu.codegen.amx import SIDE
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels import amx_gradients, dense_gradients
from l2ae_kernels.cpu.microkernels.amx_operands import operand_bytes
from l2ae_kernels.cpu.microkernels.dense_gradients import DENSE_ADAM, DENSE_GRADIENT, TILES
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.geometry import Pair

MAX_INPUTS = 512  # of one call for a gradient: enough calls to keep all threads busy to the end


class Addresses(NamedTuple):
    """Of what lies like W (I, O) and b (O,) of a layer: gradients, moments, …"""

    W: int
    b: int


class WeightGradient(NamedTuple):
    """dW = xᵀ dy and db = Σ dy of a layer: x in tiles, dy (samples, O), `one` 1.0.

    With `parts`, x is an operand of AMX, split into so many parts.
    """

    x: int
    dy: int
    one: int
    samples: int
    I: int
    O: int
    together: int  # outputs of a call
    parts: int = 0

    def tiles(self, source: int, rows: int, first: int) -> Iterator[Call]:
        """Put rows `first` … of x, which begin at `source`, into their place in tiles."""
        for i, inputs in self._ranges_of_inputs():
            yield Call(kernel("tiles", self.parts), TILES.row(
                source=source + i * FLOAT, rows=rows, columns=inputs, stride=self.I,
                tiles=self._tiles(i), height=self.samples, first=first,
            ))  # fmt: skip

    def calls(self, d: Addresses) -> Iterator[Call]:
        """Write dW and db, some outputs a call."""
        for numbers, _ in self._outputs(d):
            yield Call(kernel("dense_gradient", self.parts), DENSE_GRADIENT.row(**numbers))

    def adam_calls(
        self, d: Addresses, to: Addresses, m: Addresses, v: Addresses, numbers: int
    ) -> Iterator[Call]:
        """Apply the gradients to W, b and their moments; `d` is workspace for partial sums."""
        for part, (W, b) in self._outputs(d):
            yield Call(kernel("dense_adam", self.parts), DENSE_ADAM.row(
                **part, numbers=numbers, W=to.W + W, b=to.b + b, W_m=m.W + W, b_m=m.b + b,
                W_v=v.W + W, b_v=v.b + b,
            ))  # fmt: skip

    def _outputs(self, d: Addresses) -> Iterator[tuple[dict[str, int], Pair]]:
        """Arguments for some inputs and some outputs; where they begin in W and b, in bytes."""
        for i, inputs in self._ranges_of_inputs():
            for o in range(0, self.O, self.together):
                W, b = (i * self.O + o) * FLOAT, o * FLOAT
                part = {
                    "tiles": self._tiles(i),
                    "rows": inputs,
                    "dy": self.dy + b,
                    "O": self.O,
                    "samples": self.samples,
                    "columns": min(self.together, self.O - o),
                    "one": self.one,
                    "bias": int(i == 0),
                    "dW": d.W + W,
                    "db": d.b + b,
                }
                yield part, (W, b)

    def _ranges_of_inputs(self) -> Iterator[Pair]:
        """Cut the inputs into equal ranges, of whole tiles of AMX: first input and how many."""
        count, unit = -(-self.I // MAX_INPUTS), SIDE if self.parts else 1
        units = -(-self.I // unit)
        for k in range(count):
            first, end = (units * n // count * unit for n in (k, k + 1))
            yield first, min(end, self.I) - first

    def _tiles(self, first: int) -> int:
        """Where the tiles of the inputs from `first` on begin."""
        return self.x + tile_floats(first, self.samples, self.parts) * FLOAT


def tile_floats(inputs: int, samples: int, parts: int) -> int:
    """Return the floats that so many inputs of all samples take in tiles."""
    return operand_bytes(inputs, samples, parts) // FLOAT if parts else inputs * samples


def gradient_workspace(vectors: Vectors) -> int:
    """Return the floats of the workspace that a thread needs."""
    if vectors.parts:
        return amx_gradients.workspace_floats(vectors)
    return dense_gradients.workspace_floats(vectors)


def kernel(name: str, parts: int) -> str:
    """Return the name of the kernel that takes the same arguments in parts of bfloat16."""
    return f"amx_{name}" if parts else name


def in_ranges_of_work(
    run: Callable[[int, int], None], calls: Sequence[Call], multiply_adds: int
) -> None:
    """Make run(first, last) for ranges of calls that have about equal work, over threads.

    A call belongs to the range in which the middle of its work lies.
    """
    work = np.array([_weights(call) for call in calls], np.int64)
    end = 2 * np.cumsum(work)
    middles = end - work

    def shares(first: int, last: int) -> None:
        run(*np.searchsorted(middles, (first, last)).tolist())

    in_ranges(shares, int(end[-1]), multiply_adds)


def _weights(call: Call) -> int:
    """Return how many weights a call makes the gradients of; of others 1: they are short."""
    if not call.kernel.removeprefix("amx_").startswith("dense"):
        return 1
    numbers = dict(zip(DENSE_GRADIENT.names, call.row.tolist(), strict=False))
    return int(numbers["rows"] * numbers["columns"])
