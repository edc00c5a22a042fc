"""`l2ae look` as a function: what images are like, and what a training on them would be."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from l2ae_core import data
from l2ae_core.classes import classes_of
from l2ae_core.commands.checks import checked_settings, make_architecture
from l2ae_core.commands.outlook import Outlook
from l2ae_core.data.fetch import expand_user
from l2ae_core.data.image_file import SUFFIXES
from l2ae_core.data.image_folder import first_folder, image_names, shown, stray_note
from l2ae_core.data.look import Look
from l2ae_core.data.stored import bytes_held
from l2ae_core.data.survey import Survey, survey
from l2ae_core.settings import DEFAULTS, make_preparation
from l2ae_core.tables import counted

MARGIN = 0.02  # of all pixels, that is told
MOST_SIDE = 64  # of the size that is advised; the larger, the longer a training takes


@dataclass(eq=False)
class Sight:
    """What `look` found: the images, what a training would take, and why it would be refused."""

    name: str
    images: int  # that can be read
    names: list[str] | None  # of these
    classes: dict[str, int] | None  # images of each, None where there are no labels
    look: Look  # positions among the images
    survey: Survey | None  # of files
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # for which `l2ae fit` would refuse
    outlook: Outlook | None = None
    advice: dict[str, str | bool] = field(default_factory=dict)  # options that mend the problems
    advised: Outlook | None = None  # with these

    def named(self, positions: Sequence[int]) -> list[str]:
        """Return the names of images, or their numbers where they have none."""
        return [str(i) if self.names is None else self.names[i] for i in positions]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values; images by name."""
        found: dict[str, Any] = {"name": self.name, "images": self.images, "classes": self.classes}
        if (files := self.survey) is not None:
            found["files"] = {
                "count": files.files, "formats": files.formats, "modes": files.modes,
                "bits": {str(bits): count for bits, count in files.bits.items()},
                "sizes": {f"{w}x{h}": count for (w, h), count in files.sizes.most_common()},
                "unreadable": [str(error) for error in files.reading.unreadable],
                "transparent": files.transparent, "deep": files.deep,
            }  # fmt: skip
        for kind in ("constant", "flat", "dark"):
            found[kind] = self.named(getattr(self.look, kind).tolist())
        found["duplicates"] = [self.named(group.tolist()) for group in self.look.duplicates]
        found |= {"notes": self.notes, "problems": self.problems, "advice": self.advice}
        for kind in ("outlook", "advised"):
            value: Outlook | None = getattr(self, kind)
            found[kind] = None if value is None else vars(value)
        return found


def look(
    source: str,
    given: dict[str, Any],
    *,
    data_dir: str | None = None,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Sight:
    """Look at images as `l2ae fit` would read them, with its settings `given`; nothing is written.

    What a training would be refused for is among the problems of what is returned. Raises
    ValueError where there is nothing to look at, and for settings that mean nothing.
    """
    settings = checked_settings(DEFAULTS, given | {"data": source}, 1)
    path = expand_user(source)
    if source in data.DATASETS or not (path.is_dir() or path.suffix.lower() in SUFFIXES):
        return _look_at_arrays(source, settings, data_dir, progress)
    if not path.exists():
        raise data.DataError(f"look: {path} does not exist")
    folder, inside = (path, image_names(path)) if path.is_dir() else (path.parent, [path.name])
    files, names = [folder / name for name in inside], [*map(shown, inside)]
    found = survey(files, names, make_preparation(settings), progress=progress)
    sight = Sight(
        shown(str(path)), len(found.readable), found.readable, None, found.look, found
    )  # fmt: skip
    if not found.readable:
        sight.problems.append("no file can be read")
        return sight
    if settings["labels"]:
        _class_counts(sight)
    shape = None
    if found.reading.unreadable and not skip_unreadable:
        count, of = len(found.reading.unreadable), counted(found.files, "file")
        sight.problems.append(f"{count:,} of {of} cannot be read")
    try:
        shape = found.reading.one_shape(sight.name, skip_unreadable=True)
    except data.DataError as error:
        sight.problems.append(str(error))
    _look_ahead(sight, shape, settings)
    if sight.problems:
        _advise(sight, settings, skip_unreadable)
    side = int(sight.advice.get("size", 0))
    size = (side, side) if side else settings["size"]
    if size is not None and settings["fit"] == "pad":
        _note_margins(sight, size)
    return sight


def _look_at_arrays(
    source: str, settings: dict[str, Any], data_dir: str | None, progress: bool
) -> Sight:
    """Look at a named data set or a file of arrays; DataError as `data.load`."""
    dataset = data.load(
        source, data_dir=data_dir, split=settings["split"], labels=settings["labels"],
        preparation=make_preparation(settings), progress=progress,
    )  # fmt: skip
    classes = None
    if dataset.labels is not None:
        classes = {str(c): n for c, n in sorted(Counter(classes_of(dataset).tolist()).items())}
    found = dataset.look(progress=progress)
    names = None if dataset.sample_names is None else list(dataset.sample_names)
    sight = Sight(dataset.name, len(dataset), names, classes, found, None)
    H, W, C = dataset.images.shape[1:]
    _look_ahead(sight, (H, W, C), settings, bytes_held(dataset.images))
    return sight


def _class_counts(sight: Sight) -> None:
    """Take over the sub-folders as classes, or say why they are none."""
    assert sight.names is not None
    folders = Counter(map(first_folder, sight.names))
    if folders and None not in folders:
        sight.classes = dict(sorted((name, n) for name, n in folders.items() if name is not None))
    if (note := stray_note(sight.names)) is not None:
        sight.notes.append(note)


def _look_ahead(
    sight: Sight, shape: tuple[int, int, int] | None, settings: dict[str, Any],
    held: int | None = None,
) -> None:  # fmt: skip
    """Say what the training takes, or what it is refused for; `held` as in `Outlook.of`."""
    N, K = sight.images, settings["clusters"]
    if N < K:
        sight.problems.append(
            f"clusters is {K} but there {'is' if N == 1 else 'are'} only {counted(N, 'image')}"
        )
    if N > 1 and len(sight.look.duplicates) == 1 and sight.look.copies == N - 1:
        sight.problems.append(f"all {N} images are equal: there is nothing to tell apart")
    if shape is None:
        return
    try:
        sight.outlook = Outlook.of(N, make_architecture(shape, settings), settings, held)
    except ValueError as error:
        sight.problems.append(str(error))


def _advise(sight: Sight, settings: dict[str, Any], skip_unreadable: bool) -> None:
    """Name the options with which the files go in, and say what the training takes then."""
    found = sight.survey
    assert found is not None
    advice = sight.advice
    sizes = [side for (w, h), n in found.sizes.items() for side in [min(w, h)] * n]
    if settings["size"] is None and len(found.sizes) > 1:
        advice["size"] = str(min(MOST_SIDE, max(8, int(median(sizes)) // 8 * 8)))
    if found.transparent and settings["background"] is None:
        advice["background"] = "white"
    if found.deep and settings["depth"] == "8":
        advice["depth"] = "auto"
    if found.reading.unreadable and not skip_unreadable:
        advice["skip_unreadable"] = True
    if sight.images < settings["clusters"] and sight.images > 2:
        advice["clusters"] = str(min(10, sight.images // 2))
    if not advice or sight.outlook is not None:
        return
    side = int(advice.get("size", 0))
    w, h = next(iter(found.sizes))
    H, W = (side, side) if side else settings["size"] or (h, w)
    changed = settings | {"clusters": int(advice.get("clusters", settings["clusters"]))}
    shape = (H, W, 1 if settings["grey"] else found.channels)
    try:
        sight.advised = Outlook.of(sight.images, make_architecture(shape, changed), changed)
    except ValueError as error:
        sight.problems.append(str(error))


def _note_margins(sight: Sight, size: tuple[int, int]) -> None:
    """Say how much of the prepared images is margin."""
    assert sight.survey is not None
    (H, W), sizes = size, sight.survey.sizes
    covered = [min(w * H, W * h) / max(w * H, W * h) for w, h in sizes.elements()]
    margin = 1 - sum(covered) / len(covered)
    if margin > MARGIN:
        sight.notes.append(
            f"with --size {W}x{H} a share of {margin:.0%} of the pixels is margin, which clusters "
            "may go by: --fit crop or --fit stretch leave none"
        )
