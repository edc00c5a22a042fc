"""Read damaged files, one after the other, and say on stdout what each reader did.

    python child.py ORIGINALS SEED FIRST STOP STEP      cases FIRST, FIRST + STEP, ... below STOP

A line "begin INDEX NAME" stands before each case, and "bad INDEX NAME: ..." after one that did
something else than return or raise a ValueError or OSError in one line that names the file. The
process dies of SIGALRM in a case that takes longer than LIMIT seconds.
"""

import resource
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from damage import damage
from originals import Original, write_originals

LIMIT = 20  # seconds
MEMORY = 2 << 30  # bytes, beyond what the imports take


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    seed, first, stop, step = map(int, sys.argv[2:])
    originals = write_originals(folder)
    others = [(folder / one.name).read_bytes() for one in originals]
    for one in originals:  # compiles what has to be, and shows that good files are read
        one.read(folder / one.name)
    order = [*[one for one in originals if not one.slow] * 6, *(o for o in originals if o.slow)]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for index in range(first, stop, step):
        rng = np.random.default_rng((seed, index))
        one = order[index % len(order)]
        print(f"begin {index} {one.name}", flush=True)
        signal.alarm(LIMIT)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            path = _prepare(folder, one, Path(work))
            content, by_bytes = damage(one.kind, path.read_bytes(), others, rng)
            path.write_bytes(content)
            told = _told(one, folder / one.name, path, by_bytes)
        signal.alarm(0)
        if told:
            print(f"bad {index} {one.name}: {told}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"end, {peak} MiB at most", flush=True)


def _prepare(folder: Path, one: Original, work: Path) -> Path:
    source = folder / one.unit
    if source.is_dir():
        shutil.copytree(source, work / one.unit)
    else:
        shutil.copy(source, work / one.unit)
    return work / one.name


def _told(one: Original, whole: Path, path: Path, by_bytes: bool) -> str:
    """Return what the reader did wrong; "" for nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = one.read(path)
        except (ValueError, OSError) as error:
            problem = _of_message(str(error), one, path)
        except Exception as error:  # noqa: BLE001 - the point is to see any other
            problem = f"raised {type(error).__module__}.{type(error).__name__}: {error}"
        else:
            problem = ""
            if by_bytes and one.checksums and not _equal(found, one.read(whole)):
                problem = "other values, with no error"
    if caught:
        problem = f"{problem} warned: {caught[0].category.__name__}: {caught[0].message}".strip()
    return problem


def _of_message(message: str, one: Original, path: Path) -> str:
    """A run may be inconsistent, and then the error may name another of its files."""
    names = [path.name]
    if one.unit != one.name:
        names += [other.name for other in path.parent.iterdir()]
    if not any(name in message for name in names):
        return f"a message without the name of the file: {message}"
    if not message.isprintable():
        return f"a message of several lines or with control characters: {message!r}"
    return "" if len(message) < 2000 else f"a message of {len(message)} characters"


def _equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


if __name__ == "__main__":
    main()
