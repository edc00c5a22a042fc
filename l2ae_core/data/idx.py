"""The IDX format of MNIST: a magic number, the sizes, then unsigned bytes.

    bytes 0-1   zero
    byte  2     type of the values; 0x08 is unsigned byte, the only one that MNIST has
    byte  3     number of axes: 3 in a file of images, 1 in a file of labels
    4 bytes     the length of each axis, big-endian
    the rest    the values, last axis fastest

Source: the description on the MNIST page of Y. LeCun, C. Cortes and C. Burges.
"""

import math
import struct

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

IMAGES, LABELS = 3, 1  # number of axes
_KINDS = {IMAGES: "images", LABELS: "labels"}


def parse_idx(data: bytes, axes: int, where: str) -> Array:
    """Return the uint8 array in `data`: (N, H, W) for `axes` IMAGES, (N,) for LABELS.

    `where` names the file in errors. Raises DataError for a wrong magic number, an images file
    where labels belong or the reverse, and for fewer or more bytes than the header says.
    """
    kind, there = _KINDS[axes], counted(len(data), "byte")
    if len(data) < 4:
        raise DataError(f"{where}: truncated: {there}, too short for an IDX header")
    zero, value_type, found = struct.unpack(">HBB", data[:4])
    if (zero, value_type) != (0, 8) or found not in _KINDS:
        raise DataError(
            f"{where}: not an IDX file of {kind}: it starts with 0x{data[:4].hex()} "
            f"but expected the magic number 0x0000080{axes}"
        )
    if found != axes:
        raise DataError(
            f"{where}: a file of {_KINDS[found]} (magic number 0x0000080{found}) "
            f"but expected a file of {kind} (0x0000080{axes})"
        )
    header = 4 + 4 * axes
    if len(data) < header:
        raise DataError(f"{where}: truncated: {there} but the header has {header}")
    shape = struct.unpack(f">{axes}I", data[4:header])
    expected = header + math.prod(shape)
    if len(data) != expected:
        what = "truncated" if len(data) < expected else "too long"
        raise DataError(f"{where}: {what}: {there} but {kind} of shape {shape} take {expected:,}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def parse_digit_labels(data: bytes, where: str) -> Array:
    """Return labels (N,) int64 in 0…9; DataError as `parse_idx`, or for any other label."""
    labels = parse_idx(data, LABELS, where).astype(np.int64)
    wrong = np.flatnonzero(labels > 9)
    if wrong.size:
        raise DataError(
            f"{where}: label {labels[wrong[0]]} at index {wrong[0]} but expected a digit 0…9"
        )
    return labels
