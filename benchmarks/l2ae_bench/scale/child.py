"""One cell in a process of its own: `python -m l2ae_bench.scale.child FOLDER CELL`, CELL as JSON.

It does the work once, small, so that kernels are compiled and modules imported, then as asked for.
Workers are others then: they are there before the clock starts, but import the package under it.
Memory is what the process, and its workers, have at most above what the process had before.
"""

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from l2ae_bench.scale.cells import SIZES, Cell
from l2ae_bench.scale.contenders import contender
from l2ae_bench.scale.files import source
from l2ae_bench.scale.memory import anonymous_bytes, sampled_peak

SMALL = SIZES[0]  # samples of the work that is done before: the kernels of fewer are others


def main() -> None:
    folder, cell = Path(sys.argv[1]), Cell(**json.loads(sys.argv[2]))
    path = source(folder, cell)
    with tempfile.TemporaryDirectory(prefix="l2ae-scale-") as small, ExitStack() as stack:
        (Path(small) / "run").symlink_to((folder / "run").resolve())
        few = replace(cell, N=SMALL)
        contender(stack, few, source(Path(small), few), Path(small))()
    with path.open("rb") as file:  # a warm map: what the disk does is not measured
        while file.read(1 << 24):
            pass
    before = anonymous_bytes()
    with sampled_peak() as peak, ExitStack() as stack:
        timed = contender(stack, cell, path, folder)
        started = perf_counter()
        found = timed()
        seconds = perf_counter() - started
    print(json.dumps({"seconds": seconds, "bytes": peak.bytes - before, **found}))


if __name__ == "__main__":
    main()
