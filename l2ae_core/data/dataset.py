"""`Dataset`: images, labels where there are any, and a digest that names exactly these numbers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from l2ae_core.data.remembered import remembered
from l2ae_core.data.stored import StoredImages, chosen, joined
from l2ae_core.data.values import pieces
from l2ae_core.images import Images
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

if TYPE_CHECKING:  # importing it takes more than NumPy
    from l2ae_core.data.look import Look

Split: TypeAlias = Literal["all", "train", "test"]
Index: TypeAlias = slice | npt.NDArray[np.bool_] | npt.NDArray[np.integer] | list[int]


@dataclass(frozen=True, eq=False)
class Dataset:
    """N images with values in [0, 1].

    images        (N, H, W, C), every value in [0, 1]: a C-contiguous float32 array, or
                  `StoredImages`, of which those that are asked for become one
    labels        (N,) int64, or None; they are for scores only, never for training
    name          "mnist", "digits/test", a file or folder name
    class_names   name of label l at position l, or None where labels are plain numbers
    sample_names  N file names relative to the folder that was read, or None; of a packed file they
                  are a sequence of less memory than a tuple
    notes         what to tell the user about the reading: files left out, labels not taken

    Raises ValueError when an array has another shape, dtype, layout or range.
    """

    images: Images
    labels: Array | None
    name: str
    class_names: tuple[str, ...] | None = None
    sample_names: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    _look: "Look | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        x, labels, N = self.images, self.labels, len(self.images)
        in_order = not isinstance(x, np.ndarray) or x.flags.c_contiguous
        if len(x.shape) != 4 or 0 in x.shape or x.dtype != np.float32 or not in_order:
            raise ValueError(
                f"Dataset: images of {self.name} is {x.dtype} {x.shape} but expected "
                "C-contiguous float32 (N, H, W, C), not empty"
            )
        if isinstance(x, np.ndarray):  # what is stored was checked when it was read
            low, high = x.min(), x.max()
            if not (low >= 0 and high <= 1):  # written so that NaN fails too
                raise ValueError(
                    f"Dataset: images of {self.name} lie in [{low}, {high}] but expected [0, 1]"
                )
        if labels is not None and (labels.shape != (N,) or labels.dtype != np.int64):
            raise ValueError(
                f"Dataset: labels of {self.name} is {labels.dtype} {labels.shape} but expected "
                f"int64 ({N},), one for each image"
            )
        if self.sample_names is not None and len(self.sample_names) != N:
            raise ValueError(
                f"Dataset: sample_names of {self.name} has "
                f"{counted(len(self.sample_names), 'name')} but expected {N}"
            )

    def __len__(self) -> int:
        """Return N."""
        return len(self.images)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) over shape and bytes of images and labels, little-endian.

        Equal digests mean equal numbers, wherever they came from; `name` does not count.
        Computed at the first use and kept, so do not change the arrays in place; for images in a
        large file it is remembered (`l2ae_core.data.remembered`).
        """
        if not isinstance(self.images, StoredImages):
            return self._digest()
        labels = None if self.labels is None else hashlib.sha256(self.labels.tobytes()).hexdigest()
        of = {**self.images.described(), "labels": labels}
        return remembered(self.images.stored, "digest", of, "[0-9a-f]{64}", self._digest)

    def _digest(self) -> str:
        sha, progress = hashlib.sha256(), getattr(self.images, "progress", False)
        for what, array, dtype in (("images", self.images, "<f4"), ("labels", self.labels, "<i8")):
            if array is not None:
                sha.update(f"{what} {dtype} {array.shape}\n".encode())
                for piece in pieces(array.shape, "digest", progress=progress):
                    sha.update(np.ascontiguousarray(array[piece], dtype).data)
        return sha.hexdigest()

    def look(self, *, progress: bool = False) -> "Look":
        """Return what `look_at` finds among the images; at the first call, and kept."""
        from l2ae_core.data.look import look_at

        if self._look is None:
            object.__setattr__(self, "_look", look_at(self.images, progress=progress))
        assert self._look is not None
        return self._look

    def subset(self, index: Index, name: str | None = None) -> "Dataset":
        """Return the samples at `index`: a slice, a boolean mask (N,) or integer positions.

        Class names stay, so labels keep their meaning even where a class has no sample left.
        """
        positions = np.arange(len(self))[index]
        return Dataset(
            images=chosen(self.images, positions),
            labels=None if self.labels is None else self.labels[positions],
            name=self.name if name is None else name,
            class_names=self.class_names,
            sample_names=None
            if self.sample_names is None
            else tuple(self.sample_names[i] for i in positions),
            notes=self.notes,
        )


def join(train: Dataset, test: Dataset, name: str) -> Dataset:
    """Return the samples of `train`, then those of `test`; labels only where both have them."""
    labels = None
    if train.labels is not None and test.labels is not None:
        labels = np.concatenate([train.labels, test.labels])
    return Dataset(joined(train.images, test.images), labels, name)
