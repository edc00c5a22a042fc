"""Damage to files: by bytes, to the values of JSON, to the entries of .npz; all from one generator.

`damage` returns the new content; what it does depends on nothing but the original and the
generator, so a seed and the index of a case are enough to make the same file again.
"""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

EDGES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
VALUES = (
    None, True, False, 0, 1, -1, 3, 10**30, -(10**12), 0.0, -0.5, 1e308, -1e308, 1e-320, "", "x",
    "0.5", "\ud800", "a\nb", "9" * 50, [], {}, [[]], [None], [1, "2"], {"x": None}, [0] * 1000,
)  # fmt: skip
TEXTS: tuple[Callable[[str], bytes], ...] = (
    lambda t: b"\xef\xbb\xbf" + t.encode(),  # a byte order mark
    lambda t: t.encode("utf-16"),
    lambda t: t.encode("latin-1", "replace").replace(b"e", b"\xe9", 1),
    lambda t: t.replace("1", "NaN", 1).encode(),
    lambda t: t.replace("0", "Infinity", 1).encode(),
    lambda t: t.replace("1", "1e999", 1).encode(),
    lambda t: t.replace("1", "1" * 5000, 1).encode(),
    lambda t: t.replace('"', '"\0', 1).encode(),
    lambda t: t.replace(",", ", ,", 1).encode(),
    lambda t: t.replace("{", '{"version": 1, "version": 1, ', 1).encode(),
    lambda t: ("[" * 100_000).encode(),
    lambda t: ('{"a":' * 900 + "1" + "}" * 900).encode(),
    lambda t: (t.strip() + t).encode(),
    lambda t: b"",
    lambda t: b"\n\n",
)


def damage(kind: str, content: bytes, others: list[bytes], rng: Generator) -> tuple[bytes, bool]:
    """Return damaged content, and whether it was done byte by byte, so that checksums hold it."""
    by_value = rng.random() < 0.6
    if by_value and kind in ("json", "result"):
        return _json(content, kind == "result", rng), False
    if by_value and kind == "jsonl":
        return _json_lines(content, rng), False
    if by_value and kind == "npz":
        return _npz(content, rng), False
    if by_value and kind in ("npy", "idx", "image"):
        return _header(content, rng), True
    return _bytes(content, others, rng), True


def _bytes(content: bytes, others: list[bytes], rng: Generator) -> bytes:
    raw, way = bytearray(content), rng.integers(6)
    if way == 0:  # some flips
        for _ in range(rng.integers(1, 8)):
            raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
    elif way == 1:
        del raw[rng.integers(len(raw)) :]
    elif way == 2:  # a piece of the same or of another file, over or between
        other = others[rng.integers(len(others))]
        start, at = rng.integers(len(other)), rng.integers(len(raw))
        piece = other[start : start + rng.integers(1, 200)]
        raw[at : at + int(rng.integers(2)) * len(piece)] = piece
    elif way == 3:
        at = rng.integers(len(raw))
        edge = EDGES[rng.integers(len(EDGES))]
        raw[at : at + len(edge)] = edge
    elif way == 4:
        at = rng.integers(len(raw))
        del raw[at : at + rng.integers(1, 50)]
    else:
        raw += bytes(rng.integers(0, 256, rng.integers(1, 300), dtype=np.uint8))
    return bytes(raw)


def _header(content: bytes, rng: Generator) -> bytes:
    """Change the first 150 bytes alone, where sizes and types stand."""
    raw = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = rng.integers(min(150, len(raw)))
        if rng.random() < 0.5:
            raw[at] = rng.integers(256)
        else:
            edge = EDGES[rng.integers(len(EDGES))]
            raw[at : at + len(edge)] = edge
    if content.startswith(b"\x93NUMPY") and rng.random() < 0.5:
        new = (b"(-1,)", b"()", b"(9" + b"9" * 30 + b",)", b"(0, 99999999999999)", b"(1.5,)")
        shape = content[content.index(b"(") : content.index(b")") + 1]
        raw = bytearray(content.replace(shape, new[rng.integers(len(new))].ljust(len(shape)), 1))
    return bytes(raw)


def _json(content: bytes, rename: bool, rng: Generator) -> bytes:
    if rng.random() < 0.2:
        return TEXTS[rng.integers(len(TEXTS))](content.decode())
    value = _changed(json.loads(content), rng)
    if rename and rng.random() < 0.8 and isinstance(value, dict) and "config" in value:
        from l2ae_core.paper.run import id_of

        value["id"] = id_of(value["config"])
    return json.dumps(value).encode()


def _json_lines(content: bytes, rng: Generator) -> bytes:
    lines = content.splitlines()
    at = rng.integers(len(lines))
    lines[at] = _json(lines[at], False, rng)
    return b"\n".join(lines) + b"\n" * int(rng.integers(2))


def _changed(value: Any, rng: Generator) -> Any:
    """Return a JSON value with one part of it replaced, removed or renamed."""
    places: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        here = waiting.pop()
        keys = here if isinstance(here, dict) else range(len(here))
        found = [(here, key) for key in keys]
        places += found[:20]  # of a long list the first entries
        waiting += [here[k] for _, k in found[:20] if isinstance(here[k], dict | list)]
    if not places:
        return VALUES[rng.integers(len(VALUES))]
    parent, key = places[rng.integers(len(places))]
    way = rng.integers(8)
    if way == 0:
        del parent[key]
    elif way == 1 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    elif way == 2 and isinstance(parent, list):
        parent.append(VALUES[rng.integers(len(VALUES))])
    else:
        parent[key] = VALUES[rng.integers(len(VALUES))]
    return value


def _npz(content: bytes, rng: Generator) -> bytes:
    """Write the archive again with one entry changed; its checksums are right."""
    with np.load(io.BytesIO(content)) as archive:
        entries: dict[str, Any] = {name: archive[name] for name in archive.files}
    name = list(entries)[rng.integers(len(entries))]
    a = entries[name]
    if rng.random() < 0.5 and a.dtype.kind == "U" and not a.shape and a.item()[:1] in "[{":
        entries[name] = np.array(_json(a.item().encode(), False, rng).decode("utf-8", "replace"))
        return _archive(entries, {}, rng)
    changes: tuple[Callable[[], Any], ...] = (
        lambda: a[None],
        lambda: a.reshape(-1)[:-1],
        lambda: a.reshape(-1)[:0],
        lambda: np.array("text"),
        lambda: np.array(7),
        lambda: np.array(np.nan),
        lambda: a.astype("S50") if a.dtype.kind != "U" else a.astype(object),
        lambda: a.astype(np.float16) if a.dtype.kind == "f" else np.zeros(a.shape, complex),
        lambda: np.full(a.shape, np.nan),
        lambda: np.full(a.shape, -(2**40)),
        lambda: np.full(a.shape, 1e300),
        lambda: np.full((1,) * 40, 1.0),
        lambda: np.zeros(3, "i4,f8"),
        lambda: np.zeros(a.shape, "M8[s]"),
        lambda: np.zeros(a.shape, "V5"),
        lambda: np.asfortranarray(a),
        lambda: np.frombuffer(b"\xff" * 40, "U5").copy(),
    )
    way = rng.integers(len(changes) + 4)
    members: dict[str, bytes] = {}
    if way < len(changes):
        entries[name] = changes[way]()
    elif way == len(changes):
        del entries[name]
    elif way == len(changes) + 1:
        entries[f"{name}x"] = entries.pop(name)
    elif way == len(changes) + 2:
        del entries[name]
        members[f"{name}.npy"] = _header(_npy(a), rng)
    else:
        members["readme.txt"] = b"hello"
    return _archive(entries, members, rng)


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _archive(entries: dict[str, Any], members: dict[str, bytes], rng: Generator) -> bytes:
    file = io.BytesIO()
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
    method = methods[rng.integers(len(methods))]
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in entries.items():
            archive.writestr(f"{name}.npy", _npy(array))
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()
