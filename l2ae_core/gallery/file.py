"""`gallery.npz` of a run directory: what a page shows of the images, without the images."""

from dataclasses import dataclass, fields
from functools import cached_property
from math import floor, log10
from pathlib import Path

import numpy as np

from l2ae_core.array_readers import array_entry, json_entry
from l2ae_core.data.look import Look
from l2ae_core.files import GALLERY
from l2ae_core.gallery.choose import NOTHING, Picks
from l2ae_core.npz import Kind
from l2ae_core.tables import counted
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_kernels.arrays import Array

KIND = Kind("l2ae-gallery", "the gallery of a run")
PICKS = tuple(field.name for field in fields(Picks))
SIMILAR = ("constant", "flat", "dark")  # of Look, beside the duplicates


@dataclass(frozen=True, eq=False)
class Gallery:
    """N images in K clusters: scores of all, thumbnails of those that are shown.

    Thumbnails are (h, w, c) uint8 with h and w at most 64 and c = 1 or 3.
    """

    name: str  # of the data set
    image_shape: tuple[int, int, int]  # (H, W, C)
    variance: float  # of the values of all images around the mean image: an error to stand beside
    labels: Array  # (N,) int32, the cluster of each image
    v: Array  # (N,) float32, Eq. 5
    error: Array  # (N,) float64, of the reconstruction, Σ over pixels
    classes: Array | None  # (N,) int64, the labels of the data set, for comparison alone
    class_names: tuple[str, ...] | None  # name of class l at position l
    picks: Picks
    look: Look
    sample: Array  # (S,) positions of the codes that are kept, ascending
    codes: Array  # (S, D) float32, u of these
    shown: Array  # (P,) positions of the thumbnails, ascending
    thumbnails: Array  # (P, h, w, c) uint8
    names: tuple[str, ...] | None  # P file names, where images are files
    reconstructions: Array  # (Q, h, w, c) uint8, of picks.explained
    error_maps: Array  # (Q, h, w) int8, reconstruction − image; 127 is 1 and more

    @property
    def n_clusters(self) -> int:
        """K."""
        return len(self.picks.typical)

    @cached_property
    def v_digits(self) -> int:
        """Decimals by which v is written: more where all are close to 1."""
        span = max(1 - float(self.v.min()), 1e-6)
        return min(max(2 - floor(log10(span)), 3), 6)

    def __len__(self) -> int:
        """Return N."""
        return len(self.labels)

    def thumbnail(self, i: int) -> Array:
        """Return the thumbnail (h, w, c) of image i, which is shown."""
        small: Array = self.thumbnails[self._position(i)]
        return small

    def image_name(self, i: int) -> str:
        """Return the file name of image i, which is shown, or its number."""
        return f"image {i}" if self.names is None else self.names[self._position(i)]

    def _position(self, i: int) -> int:
        return int(np.searchsorted(self.shown, i))

    def save(self, folder: Path) -> None:
        """Write `gallery.npz`, atomically."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        arrays["variance"] = np.array(self.variance)
        arrays |= {name: getattr(self.picks, name) for name in PICKS}
        arrays |= {name: getattr(self.look, name) for name in SIMILAR}
        groups = [np.stack([g, np.full_like(g, i)]) for i, g in enumerate(self.look.duplicates)]
        arrays["duplicates"] = np.concatenate(groups or [np.empty((2, 0), np.int64)], axis=1)
        if self.classes is not None:
            arrays["classes"] = self.classes
        texts = {name: getattr(self, name) for name in TEXTS}
        KIND.write(folder / GALLERY, arrays, texts, compress=True)

    @classmethod
    def load(cls, folder: Path) -> "Gallery":
        """Read `gallery.npz`; CheckpointError, naming it, when it cannot be used."""
        path = folder / GALLERY
        try:
            return _read(path)
        except ValueError as error:
            raise CheckpointError(str(error)) from error


ARRAYS: dict[str, tuple[int, str]] = {  # axes and kinds of dtype
    "labels": (1, "iu"), "v": (1, "f"), "error": (1, "f"), "sample": (1, "iu"), "codes": (2, "f"),
    "shown": (1, "iu"), "thumbnails": (4, "u"), "reconstructions": (4, "u"), "error_maps": (3, "i"),
}  # fmt: skip
TEXTS = ("name", "image_shape", "class_names", "names")


def _read(path: Path) -> Gallery:
    where, entries = str(path), KIND.read(path)
    a = {name: array_entry(entries, name, *how, where) for name, how in ARRAYS.items()}
    a |= {n: array_entry(entries, n, 2 if "typical" in n else 1, "i", where) for n in PICKS}
    a |= {n: array_entry(entries, n, 1, "iu", where) for n in SIMILAR}
    a["duplicates"] = array_entry(entries, "duplicates", 2, "iu", where)
    t = {name: json_entry(entries, name, where) for name in TEXTS}
    classes = array_entry(entries, "classes", 1, "i", where) if "classes" in entries else None
    variance = float(array_entry(entries, "variance", 0, "f", where))
    _check_arrays(a, classes, where)
    names, class_names = (_texts(t[name], name, where) for name in ("names", "class_names"))
    shape = t["image_shape"]
    if not isinstance(t["name"], str) or not (
        isinstance(shape, list) and len(shape) == 3 and all(type(s) is int and s > 0 for s in shape)
    ):
        raise ValueError(f"{where}: name and image_shape are not those of a data set")
    if names is not None and len(names) != len(a["shown"]):
        raise ValueError(f"{where}: {counted(len(names), 'name')} but expected {len(a['shown'])}")
    if class_names is not None and (classes is None or not _within(classes, 0, len(class_names))):
        raise ValueError(f"{where}: class_names are not those of the classes")
    groups = tuple(
        a["duplicates"][0, a["duplicates"][1] == g] for g in np.unique(a["duplicates"][1])
    )
    return Gallery(
        name=t["name"],
        image_shape=(shape[0], shape[1], shape[2]),
        variance=variance,
        classes=classes,
        class_names=class_names,
        names=names,
        picks=Picks(**{name: a[name] for name in PICKS}),
        look=Look(**{name: a[name] for name in SIMILAR}, duplicates=groups),
        **{name: a[name] for name in ARRAYS},
    )


def _check_arrays(a: dict[str, Array], classes: Array | None, where: str) -> None:
    """Raise ValueError unless the arrays fit each other, and positions are those of images."""
    N, K = len(a["labels"]), len(a["typical"])
    explained = np.union1d(a["least_normal"], a["worst"])
    small = a["thumbnails"].shape[1:]
    expected = {
        "v": (N,), "error": (N,), "codes": (len(a["sample"]), a["codes"].shape[1]),
        "thumbnails": (len(a["shown"]), *small), "reconstructions": (len(explained), *small),
        "error_maps": (len(explained), *small[:2]), "duplicates": (2, a["duplicates"].shape[1]),
        "atypical": (K, a["atypical"].shape[1]),
    }  # fmt: skip
    found = {name: a[name].shape for name in expected}
    if classes is not None:
        found["classes"], expected["classes"] = classes.shape, (N,)
    for name, shape in expected.items():
        if found[name] != shape:
            raise ValueError(f"{where}: entry {name!r} is {found[name]} but expected {shape}")
    for name in ("thumbnails", "reconstructions", "error_maps"):
        if a[name].itemsize != 1 or 0 in small or (a[name].ndim == 4 and small[2] not in (1, 3)):
            raise ValueError(f"{where}: entry {name!r} is {a[name].dtype} {a[name].shape}")
    if not N or not K or not _within(a["labels"], 0, K):
        raise ValueError(f"{where}: entry 'labels' is not of {K} clusters")
    for name in ("sample", "shown", *PICKS, *SIMILAR):
        if not _within(a[name], NOTHING if "typical" in name else 0, N):
            raise ValueError(f"{where}: entry {name!r} has positions that are not of {N} images")
    if not _within(a["duplicates"][0], 0, N) or not _within(a["duplicates"][1], 0, N):
        raise ValueError(f"{where}: entry 'duplicates' has positions that are not of {N} images")
    pictured = [a[name].ravel() for name in PICKS]
    wanted = np.setdiff1d(np.concatenate(pictured), [NOTHING])
    if (np.diff(a["shown"]) <= 0).any() or not np.isin(wanted, a["shown"]).all():
        raise ValueError(f"{where}: entry 'shown' lacks an image or is not in ascending order")


def _within(positions: Array, low: int, stop: int) -> bool:
    return bool(((positions >= low) & (positions < stop)).all())


def _texts(value: object, name: str, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{where}: entry {name!r} is no list of texts")
    return tuple(value)
