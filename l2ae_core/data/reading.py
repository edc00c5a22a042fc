"""Image files read one after another: the pixels of all, or what is wrong with each of them."""

from array import array
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_core.data.image_file import NotChosenError, read_image
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.stored import StoredImages
from l2ae_core.images import Images
from l2ae_core.progress import Bar
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

SKIP = "--skip-unreadable, or load(…, skip_unreadable=True),"
SHOWN = 5  # files, or sizes, that an error names


def read_files(
    paths: Sequence[Path], preparation: Preparation, *, progress: bool = True
) -> "Reading":
    """Read and prepare image files; no error is raised, but kept for `Reading.stacked`."""
    reading = Reading()
    for path in Bar(paths, desc="images", unit="image", delay=1.0, disable=not progress):
        try:
            require_there(path)
            reading.keep(path, read_image(path, preparation))
        except DataError as error:
            reading.fail(error)
    return reading


def require_there(path: Path) -> None:
    """Raise DataError for a link to nothing."""
    try:
        missing = not path.exists()
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error
    if missing and path.is_symlink():
        raise DataError(f"{path}: a link that leads nowhere; remove it or mend it")


@dataclass(eq=False)
class Reading:
    """What reading files gave: images, in the order of the files, and errors."""

    store: bool = True  # False: shapes are kept, images are not
    total: int = 0
    # positions among the files of the images
    kept: MutableSequence[int] = field(default_factory=lambda: array("q"))
    channels: int = 0  # the largest number
    unreadable: list[DataError] = field(default_factory=list)
    not_chosen: list[NotChosenError] = field(default_factory=list)
    _pixels: list[Array] = field(default_factory=list)  # empty once sizes differ
    _sizes: dict[tuple[int, int], tuple[int, Path]] = field(default_factory=dict)  # count, first

    def fail(self, error: DataError) -> None:
        """Take an error in the place of the image of the next file, without what it was raised in.

        Its traceback would keep the pixels of every file that is refused in memory.
        """
        error.__cause__ = error.__context__ = None
        error.with_traceback(None)
        if isinstance(error, NotChosenError):
            self.not_chosen.append(error)
        else:
            self.unreadable.append(error)
        self.total += 1

    def keep(self, path: Path, pixels: Array) -> None:
        """Take the prepared pixels (H, W, C) of the next file."""
        h, w, C = pixels.shape
        count, first = self._sizes.get((h, w), (0, path))
        self._sizes[h, w] = (count + 1, first)
        self.channels = max(self.channels, C)
        self.kept.append(self.total)
        self.total += 1
        if len(self._sizes) > 1:  # the images go nowhere: let them not fill the memory
            self._pixels.clear()
        elif self.store:
            self._pixels.append(pixels)

    @property
    def refused(self) -> bool:
        """Whether they do not go together, or not without another preparation."""
        return bool(self.not_chosen) or len(self._sizes) > 1

    @property
    def notes(self) -> tuple[str, ...]:
        """Say how many files are left out."""
        if not self.unreadable:
            return ()
        told = _list([str(error) for error in self.unreadable])
        of = counted(self.total, "file")
        return (f"left out {len(self.unreadable):,} of {of}, which cannot be read:{told}",)

    def one_shape(self, where: str, *, skip_unreadable: bool = False) -> tuple[int, int, int]:
        """Return the shape (H, W, C) of all images.

        Raises DataError, `where` naming the files as a whole, for what was wrong with them.
        """
        unreadable = [] if skip_unreadable else self.unreadable
        errors = [*unreadable, *self.not_chosen]
        if len(errors) == 1 and unreadable:
            raise DataError(f"{errors[0]} ({SKIP} goes on without it)") from errors[0]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise DataError(self._all_errors(where, unreadable))
        if not self.kept:
            raise DataError(f"{where}: no file can be read{_list(self.notes)}")
        if len(self._sizes) > 1:
            raise DataError(self._different_sizes(where))
        ((H, W),) = self._sizes
        return H, W, self.channels

    def stacked(self, where: str, *, skip_unreadable: bool = False) -> Images:
        """Return the images (N, H, W, C) of files of one size.

        Grey ones are repeated on three channels where others have three. Raises what `one_shape`
        raises.
        """
        shape = self.one_shape(where, skip_unreadable=skip_unreadable)
        bytes_ = all(p.dtype == np.uint8 for p in self._pixels)
        images = np.empty((len(self.kept), *shape), np.uint8 if bytes_ else np.float32)
        for image, p in zip(images, self._pixels, strict=True):
            # one grey channel is repeated on three
            image[...] = p / np.float32(255) if p.dtype == np.uint8 and not bytes_ else p
        self._pixels.clear()
        return StoredImages(images) if bytes_ else images

    def _all_errors(self, where: str, unreadable: list[DataError]) -> str:
        parts = []
        if unreadable:
            told = _list([str(error) for error in unreadable])
            parts.append(
                f"{where}: {len(unreadable):,} of {counted(self.total, 'file')} cannot be read "
                f"({SKIP} goes on without them):{told}"
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
        told = [f"{w}×{h}: {counted(count, 'image')}, {first}" for (h, w), (count, first) in sizes]
        return (
            f"{where}: images have {len(sizes)} sizes but must be of one; --size 32, say, or "
            f"Preparation(size=32) brings them to 32×32 pixels:{_list(told)}"
        )


def _list(lines: Sequence[str]) -> str:
    """Return lines below each other, the first few."""
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*lines[:SHOWN], *more])
