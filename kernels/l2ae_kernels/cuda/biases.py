"""Launchers of biases.cu: the gradients db = Σ_rows dy of the biases of all layers at once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.launch import THREADS, ceil_div, real

MOST_PARTS = 128  # of the rows of a layer
WORTH_A_PART = 1 << 13  # numbers


class Layer(NamedTuple):
    """dy (M, rows, features) from number `dy` of an array on, db (M, features) from `db`."""

    dy: int
    db: int
    rows: int
    features: int


class Biases:
    """The layers of M networks whose biases get their gradients together."""

    def __init__(self, device: Device, layers: Sequence[Layer], models: int) -> None:
        self.device, self.models, self.count = device, models, len(layers)
        self.blocks, self.tiles = 0, 0  # of the two kernels
        table = []
        for layer in layers:
            rows_of_part, parts = _split(layer.rows, layer.features)
            table.append([*layer, rows_of_part, parts, self.blocks, self.tiles])
            tiles = ceil_div(layer.features, THREADS)
            self.blocks, self.tiles = self.blocks + tiles * parts, self.tiles + tiles
        self.table = device.to_device(np.array(table, np.int64).reshape(-1, 8))

    def adjoint(self, gradients: Array, grads: Array) -> None:
        """Queue every db, to `grads`, of the dy in `gradients`; both are flat.

        Rows are cut into parts by the shape of one model alone, and parts are added in order.
        """
        device, dtype = self.device, grads.dtype
        table, count = self.table, np.int32(self.count)
        sums = device.empty((self.models, self.blocks, THREADS), dtype)
        device.launch(
            device.kernel("biases.cu", "bias_parts", real(dtype)),
            (self.blocks, 1, self.models),
            (THREADS,),
            (gradients, table, count, sums),
        )
        device.launch(
            device.kernel("biases.cu", "bias_finish", real(dtype)),
            (self.tiles, 1, self.models),
            (THREADS,),
            (sums, table, count, np.int64(self.blocks), grads),
        )


def _split(rows: int, features: int) -> tuple[int, int]:
    """Return the rows of a part, and how many parts there are."""
    wanted = min(MOST_PARTS, rows * features // WORTH_A_PART, rows)
    rows_of_part = ceil_div(rows, max(1, wanted))
    return rows_of_part, ceil_div(rows, rows_of_part)
