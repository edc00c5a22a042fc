"""Image files read one after another: the pixels of all, or what is wrong with each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from tqdm import tqdm

from l2ae_core.data.dataset import DataError
from l2ae_core.data.image_file import NotChosenError, read_image
from l2ae_core.data.preparation import Preparation
from l2ae_kernels.arrays import Array

SHOWN = 5  # files, or sizes, that an error names


def read_files(
    paths: Sequence[Path], preparation: Preparation, *, progress: bool = True
) -> "Reading":
    """Read and prepare image files; no error is raised, but kept for `Reading.stacked`."""
    reading = Reading()
    for path in tqdm(paths, desc="images", unit="image", delay=1.0, disable=not progress):
        reading.add(path, preparation)
    return reading


@dataclass(eq=False)
class Reading:
    """What reading files gave: images, in the order of the files, and errors."""

    total: int = 0
    kept: list[int] = field(default_factory=list)  # positions among the files of the images
    unreadable: list[DataError] = field(default_factory=list)
    not_chosen: list[NotChosenError] = field(default_factory=list)
    _pixels: list[Array] = field(default_factory=list)  # empty once sizes differ
    _sizes: dict[tuple[int, int], tuple[int, Path]] = field(default_factory=dict)  # count, first

    @classmethod
    def of_one(cls, path: Path, preparation: Preparation) -> Self:
        """Read one file; raises what is wrong with it."""
        reading = cls()
        reading._keep(path, read_image(path, preparation))
        return reading

    def add(self, path: Path, preparation: Preparation) -> None:
        """Read one file more."""
        try:
            pixels = _read(path, preparation)
        except NotChosenError as error:
            self.not_chosen.append(error)
            self.total += 1
        except DataError as error:
            self.unreadable.append(error)
            self.total += 1
        else:
            self._keep(path, pixels)

    def _keep(self, path: Path, pixels: Array) -> None:
        h, w, _ = pixels.shape
        count, first = self._sizes.get((h, w), (0, path))
        self._sizes[h, w] = (count + 1, first)
        self.kept.append(self.total)
        self.total += 1
        if len(self._sizes) > 1:  # the images go nowhere: let them not fill the memory
            self._pixels.clear()
        else:
            self._pixels.append(pixels)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say how many files are left out."""
        if not self.unreadable:
            return ()
        files = "file that" if len(self.unreadable) == 1 else "files that"
        told = _list([str(error) for error in self.unreadable])
        return (f"left out {len(self.unreadable)} of {self.total} {files} cannot be read:{told}",)

    def stacked(self, where: str, *, skip_unreadable: bool = False) -> Array:
        """Return the images (N, H, W, C) float32 in [0, 1] of files of one size.

        Grey ones are repeated on three channels where others have three. Raises DataError, `where`
        naming the files as a whole, for what was wrong with them.
        """
        unreadable = [] if skip_unreadable else self.unreadable
        errors = [*unreadable, *self.not_chosen]
        if len(errors) == 1 and unreadable:
            raise DataError(f"{errors[0]} (--skip-unreadable goes on without it)") from errors[0]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise DataError(self._all_errors(where, unreadable))
        if not self.kept:
            raise DataError(f"{where}: none of {self.total} files can be read{_list(self.notes)}")
        if len(self._sizes) > 1:
            raise DataError(self._different_sizes(where))
        channels = max(p.shape[2] for p in self._pixels)
        (size,) = self._sizes
        images = np.empty((len(self.kept), *size, channels), np.float32)
        for image, p in zip(images, self._pixels, strict=True):
            # one grey channel is repeated on three
            image[...] = p / np.float32(255) if p.dtype == np.uint8 else p
        self._pixels.clear()
        return images

    def _all_errors(self, where: str, unreadable: list[DataError]) -> str:
        parts = []
        if unreadable:
            told = _list([str(error) for error in unreadable])
            parts.append(
                f"{where}: {len(unreadable)} of {self.total} files cannot be read "
                f"(--skip-unreadable goes on without them):{told}"
            )
        alike: dict[tuple[str, str], list[str]] = {}
        for error in self.not_chosen:
            alike.setdefault((error.what, error.advice), []).append(error.where)
        for (what, advice), files in alike.items():
            others = f" and {len(files) - 1} more of {self.total}" if len(files) > 1 else ""
            parts.append(f"{files[0]}{others}: {what}; {advice}")
        return "\n".join(parts)

    def _different_sizes(self, where: str) -> str:
        sizes = sorted(self._sizes.items(), key=lambda item: -item[1][0])
        told = [
            f"{w}×{h}: {count} {'image' if count == 1 else 'images'}, {first}"
            for (h, w), (count, first) in sizes
        ]
        return (
            f"{where}: images have {len(sizes)} sizes but must be of one; --size 32, say, brings "
            f"them to 32×32 pixels:{_list(told)}"
        )


def _list(lines: Sequence[str]) -> str:
    """Return lines below each other, the first few."""
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*lines[:SHOWN], *more])


def _read(path: Path, preparation: Preparation) -> Array:
    try:
        missing = not path.exists()
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error
    if missing and path.is_symlink():
        raise DataError(f"{path}: a link that leads nowhere; remove it or mend it")
    return read_image(path, preparation)
