"""The files of this library that hold arrays: `.npz`, each with its kind. No entry is a pickle.

Entries: `format` (the name of the kind, a version, sometimes a detail), arrays (those of a group as
"params/0.W"), JSON texts, and `entries`, a JSON text with the sorted names of all others: damage to
the directory of a zip file can hide some of them without a wrong checksum.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core.array_readers import json_entry, read_npz
from l2ae_core.files import atomic_file
from l2ae_core.layers.base import Params
from l2ae_core.readers import one_line
from l2ae_kernels.arrays import Array

DIGITS = 9  # of a version, at most


@dataclass(frozen=True)
class Kind:
    """What an `.npz` file is for, and the newest version of it that is known here."""

    name: str
    what: str  # in messages: "a checkpoint"
    version: int = 1
    detail: str = ""  # must be equal, too
    optional: tuple[str, ...] = ()  # which of `format` and `entries` files of before may lack

    def write(
        self,
        path: Path,
        arrays: Mapping[str, Array | Params],
        texts: Mapping[str, Any],
        *,
        compress: bool = False,
    ) -> None:
        """Write arrays, groups of arrays and JSON values, atomically: the old file or the new one.

        Arrays among the JSON values become lists; TypeError for what JSON does not have.
        """
        mark = [self.name, str(self.version), self.detail]
        entries: Params = {"format": np.array(mark if self.detail else mark[:2])}
        for name, value in arrays.items():
            group = value.items() if isinstance(value, Mapping) else [("", value)]
            for key, a in group:
                entries[f"{name}/{key}" if key else name] = np.asarray(a, order="C")
        entries |= {name: _text(value) for name, value in texts.items()}
        entries["entries"] = _text(sorted(entries))
        save = np.savez_compressed if compress else np.savez
        with atomic_file(path) as file:
            save(file, allow_pickle=False, **entries)

    def read(self, path: Path) -> dict[str, Array]:
        """Return the entries of a file of this kind.

        Raises ValueError, naming the file, for damage, another kind, a newer version, and where an
        entry is missing.
        """
        entries = read_npz(path)
        if "format" in entries or "format" not in self.optional:
            self._check_mark(path, entries.get("format"))
        if "entries" in entries or "entries" not in self.optional:
            self._check_names(path, entries)
        return entries

    def _check_mark(self, path: Path, mark: Array | None) -> None:
        words = [] if mark is None or mark.ndim != 1 else list(map(str, mark))
        known = len(words) == 2 + bool(self.detail) and words[0] == self.name
        if not known or not words[1].isdecimal() or len(words[1]) > DIGITS:
            raise ValueError(f"{path}: an .npz file, but not {self.what} of this library")
        if int(words[1]) > self.version:
            raise ValueError(
                f"{path}: written in format {words[1]}, newer than {self.version}, the newest "
                "known here"
            )
        if words[2:] not in ([], [self.detail]):
            found = one_line(repr(words[2]))
            raise ValueError(f"{path}: holds {found} but expected {self.detail!r}")

    def _check_names(self, path: Path, entries: Params) -> None:
        names = json_entry(entries, "entries", str(path)) if "entries" in entries else None
        missing = set(map(str, names)) - entries.keys() if isinstance(names, list) else {"entries"}
        if missing:
            raise ValueError(f"{path}: lacks {one_line(', '.join(map(repr, sorted(missing))))}")


def _text(value: Any) -> Array:
    return np.array(json.dumps(value, default=lambda a: a.tolist()))
