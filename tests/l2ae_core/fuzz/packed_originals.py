"""What `l2ae pack` writes, and what reads it."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from l2ae_core import data
from l2ae_core.data import Preparation
from l2ae_core.data.image_folder import image_names
from l2ae_core.data.packing import Packing


def _names(path: Path) -> None:
    data.load(path.with_suffix(""))


def _unfinished(path: Path, source: Path) -> None:
    """Go on with a copy of what an interrupted call left."""
    with tempfile.TemporaryDirectory() as folder:
        work = shutil.copytree(path.parents[1], Path(folder) / "work")
        data.pack(source, work / "a.npy", progress=False)
        data.load(work / "a.npy")


def write_packed(folder: Path) -> list[tuple[str, str, Callable[[Path], None]]]:
    """Write a packed file and an unfinished one; return name, kind and reader of each."""
    source, packed, unfinished = (folder / name for name in ("source", "packed", "unfinished"))
    for i, image in enumerate(np.random.default_rng(2).integers(0, 256, (6, 8, 8), np.uint8)):
        (source / f"class {i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(source / f"class {i % 2}" / f"{i}.png")
    data.pack(source, packed / "a.npy", progress=False)
    unfinished.mkdir()
    names = image_names(source)
    target, read = unfinished / "a.npy", partial(_unfinished, source=source)
    with contextlib.closing(
        Packing.begun(target, str(source), Preparation(), source, names)
    ) as packing:
        packing.read_all(progress=False)
    work = "unfinished/.a.npy.pack"
    return [
        ("packed/a.npy.csv", "text", _names),
        (f"{work}/state.json", "json", read),
        (f"{work}/files.csv", "text", read),
    ]
