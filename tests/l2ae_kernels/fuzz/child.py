"""Makes calls number FIRST … LAST − 1 of a seed; each is written to FILE before it is made.

    python child.py SEED FIRST LAST FILE

A call is drawn from (SEED, number) alone, so one of them can be made again: FIRST is its number.
The first that goes wrong ends the process; else the last line of the output is JSON, with how many
calls were accepted and how many refused.
"""

import faulthandler
import json
import os
import resource
import sys
import warnings
from collections import ChainMap, Counter
from contextlib import suppress

import numpy as np
from calls import Call
from draw import draw, fitting
from guarded import Memory
from learn import draw_learning

from l2ae_core.clustering.kmeans import kmeans
from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import SETS, vectors
from l2ae_kernels.cpu.threads import MOST
from l2ae_kernels.operations import IMPLEMENTATIONS
from l2ae_kernels.ops.checks import AXES

SECONDS = 20  # that a call may take
BYTES = 2 << 30  # that the process may take
WORDS = 3000  # bytes in the file


def main(seed: int, first: int, last: int, file: str) -> None:
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    write(log, f"{first} compiling")
    compile_kernels()
    counted: Counter[str] = Counter()
    for number in range(first, last):
        write(log, f"{number} being drawn")
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        rng = np.random.default_rng([seed, number])
        call = draw_learning(rng, MOST) if rng.random() < 0.25 else draw(rng, MOST)
        write(log, f"{number} {call}")
        counted[f"{call.operation} {call.check()}"] += 1
        faulthandler.cancel_dump_traceback_later()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert peak <= BYTES, f"the process took {peak >> 20} MiB"
    print(json.dumps(counted))


def compile_kernels() -> None:
    """Call every rung once, so that no later call has to wait for a compiler."""
    rng = np.random.default_rng(0)
    for operation in AXES:
        for name, rung in IMPLEMENTATIONS[operation].items():
            for dtype in rung.dtypes if rung.on == "cpu" else ():
                arguments = {**dict(ChainMap(*fitting(operation, rng, dtype.name))), "impl": name}
                for forced in SETS if rung.emitted else ["none"]:
                    with suppress(ValueError):  # chance may have left out the samples
                        Call(operation, arguments, forced, MOST, Memory(), []).make()
    for forced, dtype in ((s, d) for s in (*SETS, "none") for d in ("f4", "f8")):
        for d, k in ((3, 3), (130, 20)):  # short samples, and long ones
            x = rng.standard_normal((300, d)).astype(dtype)
            with vectors(forced):
                kmeans(x, k, n_init=1, rng=rng)
                ops.assign(x, x[:k])


def write(log: int, words: str) -> None:
    """Let the words be all that the file has: it is read when this process has ended."""
    os.pwrite(log, words.ljust(WORDS).encode()[:WORDS], 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4])
