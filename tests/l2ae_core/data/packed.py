"""Images to pack, in files of every kind, and which of them were read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core.data import Dataset, Preparation, packing

RNG = np.random.default_rng(3)


GREY = RNG.integers(0, 256, (6, 5), np.uint8)


COLOUR = RNG.integers(0, 256, (6, 5, 3), np.uint8)


CLEAR = RNG.integers(0, 256, (6, 5, 4), np.uint8)


DEEP = RNG.integers(0, 65536, (6, 5), np.uint16)


WIDE = RNG.integers(0, 256, (6, 9), np.uint8)


PLAIN = Preparation()


def write(folder: Path, **images: np.ndarray | bytes) -> Path:
    """Write images by name, "cat__a" to cat/a.png; bytes are no image."""
    for name, pixels in images.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(pixels, bytes):
            path.write_bytes(pixels)
        else:
            Image.fromarray(pixels).save(path)
    return folder


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


def same(found: Dataset, expected: Dataset) -> None:
    np.testing.assert_array_equal(np.asarray(found.images), np.asarray(expected.images))
    assert found.digest == expected.digest
    assert (found.sample_names, found.class_names) == (expected.sample_names, expected.class_names)
    assert (found.labels is None) == (expected.labels is None)


class Reads:
    """Which files are decoded; `stop` at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.stop: str | None = None
        read_image = packing.read_image

        def counted(path: Path, preparation: Preparation) -> np.ndarray:
            if path.stem == self.stop:
                raise KeyboardInterrupt
            self.names.append(path.stem)
            return read_image(path, preparation)

        monkeypatch.setattr(packing, "read_image", counted)

    def taken(self) -> str:
        names, self.names = "".join(self.names), []
        return names
