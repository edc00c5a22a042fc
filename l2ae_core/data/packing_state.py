"""What of an unfinished file is there: `state.json` in the folder of a `Packing`."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_core.data.preparation import Preparation
from l2ae_core.files import write_json
from l2ae_core.readers import one_line, read_json
from l2ae_core.typed_json import from_json, to_json

HEADER = 128  # bytes; that of an array with four axes is not longer
STATE, FILES = "state.json", "files.csv"
ANEW = "finish that, or remove its folder to begin anew"
VERSION = 1
LARGEST = 1 << 48  # count


@dataclass(frozen=True)
class State:
    """What of an unfinished file is there."""

    source: str  # absolute path of a folder or file; "" for a list of files
    preparation: dict[str, Any]
    version: int = VERSION
    files: int = 0  # that were read
    rows: int = 0  # bytes of files.csv
    images: int = 0
    shape: list[int] = field(default_factory=list)  # (H, W, C)
    dtype: str = "|u1"

    def __post_init__(self) -> None:
        counts = (self.files, self.rows, self.images)
        sides = self.shape and (len(self.shape) != 3 or min(self.shape) < 1)
        too_large = max(*counts, *self.shape) > LARGEST
        if self.version != VERSION or min(counts) < 0 or too_large or sides:
            raise ValueError("not the state of a pack that is known here")
        if self.dtype not in ("|u1", "<f4") or (self.images and not self.shape):
            raise ValueError(f"images of {self.dtype} {self.shape}")

    def write(self, folder: Path) -> None:
        """Write the file, atomically, with a checksum: what it says is gone by."""
        write_json(folder / STATE, {**to_json(self), "crc32": self._crc32()})

    def _crc32(self) -> int:
        return crc32(json.dumps(to_json(self), sort_keys=True).encode())

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def data(self) -> str:
        """Name of the file with the images."""
        return f"images-{self.dtype.strip('|<')}-{self.shape[2] if self.shape else 1}"


def work_folder(target: Path) -> Path:
    """Return where an unfinished file is kept."""
    return target.with_name(f".{target.name}.pack")


def read_state(folder: Path) -> State | None:
    """Return the state of an unfinished file, None where there is none; DataError for damage."""
    try:
        content = read_json(folder / STATE)
        checksum = content.pop("crc32", None) if isinstance(content, dict) else None
        state = from_json(State, content)
        if checksum != state._crc32():
            raise ValueError("another checksum")
        Preparation.from_dict(state.preparation)
        if not (folder / state.data).exists():
            return None
        if not (folder / FILES).exists():
            raise ValueError(f"{FILES} is missing")
        return state
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise DataError(f"{folder / STATE}: damaged: {one_line(error)}; {ANEW}") from error
