"""`gallery.npz` of a folder of seeds: the clusters of every run, and the images that change theirs.

A run numbers its clusters as it likes. So those of each run are matched one to one with those of
the chosen run, as clusters are with classes in Eq. 6; an image changes its cluster in a run that
has it in another one. Clusters without a partner match nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from l2ae_core.array_readers import array_entry, json_entry
from l2ae_core.clustering.metrics import matching
from l2ae_core.data import Dataset
from l2ae_core.files import GALLERY
from l2ae_core.gallery.thumbnails import thumbnails
from l2ae_core.npz import Kind
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_kernels.arrays import Array

KIND = Kind("l2ae-seeds-gallery", "the gallery of runs of several seeds")
UNSTABLE = 60  # images that are shown
NO_PARTNER = -1


@dataclass(frozen=True, eq=False)
class SeedsGallery:
    """Clusters of N images in R runs, and thumbnails of those that change theirs most often."""

    name: str  # of the data set
    labels: Array  # (R, N) int32, as each run numbers its clusters
    chosen: int  # position of the run that the others are compared with
    shown: Array  # (S,) positions of the images that change most often, these first
    thumbnails: Array  # (S, h, w, c) uint8
    names: tuple[str, ...]  # (S,) file names, or numbers

    @classmethod
    def of(cls, labels: Array, chosen: int, dataset: Dataset) -> Self:
        """Return the gallery of the images of `dataset` with labels (R, N) in R runs."""
        share = changes(labels, chosen).mean(axis=0)
        order = np.argsort(-share, kind="stable")[:UNSTABLE]
        shown = order[share[order] > 0]
        names = dataset.sample_names
        return cls(
            dataset.name,
            labels.astype(np.int32),
            chosen,
            shown,
            thumbnails(dataset.images[shown]),
            tuple(f"image {i}" if names is None else names[i] for i in shown.tolist()),
        )

    def save(self, folder: Path) -> None:
        """Write `gallery.npz`, atomically."""
        arrays = {"labels": self.labels, "shown": self.shown, "thumbnails": self.thumbnails}
        texts = {"name": self.name, "chosen": self.chosen, "names": self.names}
        KIND.write(folder / GALLERY, arrays, texts, compress=True)

    @classmethod
    def load(cls, folder: Path, runs: int) -> Self:
        """Read the `gallery.npz` of so many runs; CheckpointError when it cannot be used."""
        path = folder / GALLERY
        where = str(path)
        try:
            entries = KIND.read(path)
            labels = array_entry(entries, "labels", 2, "iu", where)
            shown = array_entry(entries, "shown", 1, "iu", where)
            small = array_entry(entries, "thumbnails", 4, "u", where)
            name, chosen, names = (
                json_entry(entries, n, where) for n in ("name", "chosen", "names")
            )
            R, N = labels.shape
            fits = (
                runs == R,
                N > 0,
                type(chosen) is int and 0 <= chosen < R,
                isinstance(name, str),
                isinstance(names, list) and all(isinstance(n, str) for n in names),
                len(small) == len(shown) and small.itemsize == 1 and 0 not in small.shape[1:],
                small.shape[3] in (1, 3),
                ((shown >= 0) & (shown < N)).all(),
                labels.min(initial=0) >= 0,
            )
            if not all(fits) or len(names) != len(shown):
                raise ValueError(f"{where}: not the gallery of {runs} runs, or garbled")
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        return cls(name, labels, chosen, shown, small, tuple(names))


def matched(labels: Sequence[Array] | Array, chosen: int) -> Array:
    """Return labels (R, N) by the numbers of the chosen run; NO_PARTNER where there is none."""
    reference = labels[chosen]
    rows = []
    for run in labels:
        partner = matching(reference, run)
        values = np.unique(run)
        new = [NO_PARTNER if (p := partner[v]) is None else p for v in values.tolist()]
        rows.append(np.array(new)[np.searchsorted(values, run)])
    return np.stack(rows)


def changes(labels: Array, chosen: int) -> Array:
    """Return which of the R − 1 other runs have an image elsewhere, bool (R − 1, N)."""
    found: Array = np.delete(matched(labels, chosen), chosen, axis=0) != labels[chosen]
    return found
