"""Files that anybody may have written: regular files only, of a bounded size, in strict JSON.

What cannot be used raises ValueError in one line that begins with the path; what the system
refuses raises its OSError, which names the path, too.
"""

import json
import math
import reprlib
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO, NoReturn

MAX_TEXT = 1 << 26  # bytes; 300,000 epochs make a history of this size, and nothing here a larger
MAX_DEPTH = 50  # of lists and objects in each other; nothing here has more than 6
MAX_NUMBER = 1e39  # that can be drawn; float32 arithmetic ends below
MAX_MESSAGE = 400  # characters; zipfile quotes what stands in the place of a name
MAX_DIGITS = 40  # of an integer: the state of a random generator has 128 bits
_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    tuple: "a tuple",
    str: "text",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    NoneType: "null",
}


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; ValueError for a folder, a FIFO, a socket or a device.

    Opening a FIFO would wait for a writer that may never come.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path}: not a regular file")
    with path.open("rb") as file:
        yield file


def read_bytes(path: Path, limit: int = MAX_TEXT) -> bytes:
    """Return the content of a file of at most `limit` bytes."""
    with open_file(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path}: larger than {limit:,} bytes, the most that is expected here")
    return data


def read_json(path: Path) -> Any:
    """Return the one JSON value of a file in UTF-8; see `parse_json` for what is refused."""
    return parse_json(_text(path), str(path))


def read_json_lines(path: Path, *, complete: bool = False) -> list[Any]:
    """Return the JSON values of a file with one a line.

    The last line may be incomplete, as in a run that is being written or was killed: it is left
    out where it has no end of line and is no JSON, unless the file has to be `complete`.
    ValueError, with its number, for any other.
    """
    *lines, rest = _text(path).split("\n")
    if complete and rest:
        raise ValueError(f"{path}: ends within line {len(lines) + 1}")
    values = [parse_json(line, f"{path}: line {i}") for i, line in enumerate(lines, start=1)]
    try:
        return [*values, parse_json(rest, str(path))] if rest else values
    except ValueError:
        return values


def parse_json(text: str, where: str) -> Any:
    """Return the value of a JSON text; `where` names it in errors.

    Raises ValueError for what is no JSON, NaN and infinite numbers among it, for a name that
    occurs twice in an object, and for a depth that Python cannot follow.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_object,
        )
        _check_depth(value)
    except ValueError as error:
        raise ValueError(f"{where}: not valid JSON: {one_line(error)}") from error
    except RecursionError:
        raise ValueError(f"{where}: not valid JSON: nested too deeply") from None
    return value


def entry(values: Any, name: str, *kinds: type, where: str) -> Any:
    """Return an entry of a JSON object by its dotted name, as "data.digest".

    Raises ValueError, naming it, when it is missing or of none of the `kinds`. An integer counts
    as a number (float), true and false do not.
    """
    value = values
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise ValueError(f"{where}: entry {name!r} is missing")
        value = value[part]
    allowed = {*kinds, int} if float in kinds else {*kinds}
    if type(value) not in allowed:
        expected = " or ".join(_KINDS[kind] for kind in kinds)
        raise ValueError(
            f"{where}: entry {name!r} is {reprlib.repr(value)} but expected {expected}"
        )
    return value


def one_line(error: object) -> str:
    """Return a message on one line, without control characters, cut where it is very long."""
    text = " ".join(str(error)[: 2 * MAX_MESSAGE].split())
    text = text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")  # editors put a mark before the text
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8: {one_line(error)}") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"{text[:MAX_DIGITS]}… is too large")
    return int(text)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        lists = [v for v in level if isinstance(v, list)]
        lists += [list(v.values()) for v in level if isinstance(v, dict)]
        level = [child for children in lists for child in children]
    if level:
        raise ValueError(f"more than {MAX_DEPTH} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"name {twice!r} occurs twice")
    return values
