"""The launcher of biases.cu: the gradients db = Σ_rows dy of the biases of all layers at once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.launch import THREADS, ceil_div, real

MOST_PARTS = 128  # of the rows of a layer
WORTH_A_PART = 1 << 13  # numbers


class Layer(NamedTuple):
    """dy (M, rows, features) from number `dy` of an array on, the parts of db from `db`."""

    dy: int
    db: int
    rows: int
    features: int


class Biases:
    """The layers of M networks whose biases get their gradients together."""

    def __init__(self, device: Device, layers: Sequence[Layer], models: int) -> None:
        self.device, self.models, self.count = device, models, len(layers)
        self.blocks = 0
        table = []
        for layer in layers:
            rows_of_part, parts = _split(layer.rows, layer.features)
            table.append([*layer, rows_of_part, parts, self.blocks])
            self.blocks += ceil_div(layer.features, THREADS) * parts
        self.table = device.to_device(np.array(table, np.int64).reshape(-1, 7))

    def adjoint(self, gradients: Array, parts: Array) -> None:
        """Queue every db in parts (`parts_of`, M, features), to `parts`, of the dy in `gradients`.

        Both are flat. Rows are cut by the shape of one model alone.
        """
        self.device.launch(
            self.device.kernel("biases.cu", "bias_parts", real(parts.dtype)),
            (self.blocks, 1, self.models),
            (THREADS,),
            (gradients, self.table, np.int32(self.count), parts),
        )


def parts_of(rows: int, features: int) -> int:
    """Return how many parts db of a layer comes in."""
    return _split(rows, features)[1]


def _split(rows: int, features: int) -> tuple[int, int]:
    """Return the rows of a part, and how many parts there are."""
    wanted = min(MOST_PARTS, rows * features // WORTH_A_PART, rows)
    rows_of_part = ceil_div(rows, max(1, wanted))
    return rows_of_part, ceil_div(rows, rows_of_part)
