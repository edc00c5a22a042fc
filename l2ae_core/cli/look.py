"""`l2ae look`: what images are like, and what a training on them would be."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from l2ae_core.cli.fit import add_settings
from l2ae_core.cli.options import DATA_HELP, add_common
from l2ae_core.files import check_out, given_path, write_json
from l2ae_core.tables import counted

if TYPE_CHECKING:  # importing it takes the kernels, which a help needs not
    from l2ae_core.commands import Sight

ROWS = """
rows about the images:
  constant              one value in each channel
  nearly constant       no channel varies by more than 8 of 255 levels
  dark                  at most 1 % of the pixels are brighter than 0.32, where white is 1
  equal                 groups of images with the same pixels
  refused, try          why `l2ae fit` would refuse them, and a command that works"""
SHOWN = 8  # names in a line
GROUPS = 20  # of equal images
SIZES = 6


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae look` its options."""
    parser.description = f"{parser.description}\n{ROWS}"
    parser.add_argument("source", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--json", type=given_path, metavar="FILE",
                        help="write all that was found, with every name")  # fmt: skip
    add_settings(parser)
    add_common(parser)


def main(
    source: str, json: Path | None, data_dir: str | None, skip_unreadable: bool, quiet: bool,
    **given: Any,
) -> int:  # fmt: skip
    """Do what the command line says."""
    from l2ae_core import commands

    if json is not None:
        check_out(json, ".json", argument="json")
    sight = commands.look(
        source, given, data_dir=data_dir, skip_unreadable=skip_unreadable, progress=not quiet
    )
    skipping = {"skip_unreadable": True} if skip_unreadable else {}
    print("\n".join([*_lines(sight), *_training(sight, source, given | skipping)]))
    if json is not None:
        write_json(json, sight.to_json())
    return 0


def _lines(sight: "Sight") -> Iterator[str]:
    """Yield what was found about the images."""
    yield f"{sight.name}: {counted(sight.images, 'image')}"
    if sight.classes is not None:
        yield _row("classes", f"{len(sight.classes)}: {_counts(sight.classes)}")
    files = sight.survey
    if files is not None and files.readable:
        yield _row("formats", _counts(files.formats))
        yield _row("modes", _counts(files.modes))
        yield _row("bits", _counts(files.bits))
        sizes = {f"{w}×{h}": count for (w, h), count in files.sizes.most_common()}
        yield _row("sizes", f"{len(sizes)}: {_counts(sizes, SIZES)}")
        for title, names in (("transparent", files.transparent), ("> 8 bits", files.deep)):
            if names:
                yield _row(title, _names(names))
    if files is not None and (errors := files.reading.unreadable):
        yield _row("unreadable", f"{len(errors):,} of {counted(files.files, 'file')}")
        yield from (f"    {error}" for error in errors)
    for title, positions in (
        ("constant", sight.look.constant), ("nearly constant", sight.look.flat),
        ("dark", sight.look.dark),
    ):  # fmt: skip
        if len(positions):
            yield _row(title, _names(sight.named(positions.tolist())))
    if groups := sight.look.duplicates:
        copies = "a copy" if sight.look.copies == 1 else f"{sight.look.copies} copies"
        yield _row("equal", f"{copies} of other images; equal are")
        for group in groups[:GROUPS]:
            yield f"    {_names(sight.named(group.tolist()))}"
        if len(groups) > GROUPS:
            yield f"    and {counted(len(groups) - GROUPS, 'group')} more; --json FILE has all"
    yield from (_row("note", note) for note in sight.notes)


def _training(sight: "Sight", source: str, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a training would take, or what stands in its way and how to go on."""
    yield from (_row("refused", problem) for problem in sight.problems)
    if sight.advice:
        yield _row("try", f"l2ae fit --data {quote(source)} {_options({**given, **sight.advice})}")
    outlook = sight.advised or sight.outlook
    if outlook is not None:
        yield _row("l2ae fit", outlook.describe())
        yield from (_row("warning", warning) for warning in outlook.warnings())


def _options(given: Mapping[str, Any]) -> str:
    """Return options as they stand on a command line, with a RUN to fill in."""
    parts = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if name == "size" and isinstance(value, tuple):
            value = f"{value[1]}x{value[0]}"
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        if isinstance(value, bool):
            parts.append(option if value else "--no-labels")
        else:
            parts.append(f"{option} {quote(str(value))}")
    return " ".join([*parts, "--out RUN"])


def _row(title: str, text: str) -> str:
    first, *others = text.split("\n")
    return "\n".join([f"  {title:<17}{first}", *(f"{'':19}{line}" for line in others)])


def _counts(counts: Mapping[Any, int], most: int = SHOWN) -> str:
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:most]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names):,}: {', '.join(names[:SHOWN])}{more}"
