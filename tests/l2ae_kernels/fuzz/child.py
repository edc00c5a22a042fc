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
from collections import Counter

import numpy as np
from draw import draw
from learn import draw_learning

from l2ae_kernels.cpu.threads import MOST

SECONDS = 20  # that a call may take
COMPILING = 300  # calls of a process that may take ten times as long: kernels are compiled
BYTES = 2 << 30  # that the process may take
WORDS = 3000  # bytes in the file


def main(seed: int, first: int, last: int, file: str) -> None:
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    counted: Counter[str] = Counter()
    for number in range(first, last):
        write(log, f"{number} being drawn")
        patience = SECONDS if number >= first + COMPILING else 10 * SECONDS
        faulthandler.dump_traceback_later(patience, exit=True)
        rng = np.random.default_rng([seed, number])
        call = draw_learning(rng, MOST) if rng.random() < 0.25 else draw(rng, MOST)
        write(log, f"{number} {call}")
        counted[f"{call.operation} {call.check()}"] += 1
        faulthandler.cancel_dump_traceback_later()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert peak <= BYTES, f"the process took {peak >> 20} MiB"
    print(json.dumps(counted))


def write(log: int, words: str) -> None:
    """Let the words be all that the file has: it is read when this process has ended."""
    os.pwrite(log, words.ljust(WORDS).encode()[:WORDS], 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4])
