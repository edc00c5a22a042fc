"""`python benchmarks/run.py profile`: time, print the tables, write rows and figure."""

import re
import sys
from argparse import Namespace

from tqdm import tqdm

from l2ae_bench import peak, peers
from l2ae_bench.comparison import Measurement
from l2ae_bench.cpu import PEAK_REPEATS, QUICK
from l2ae_bench.machine import describe, in_words
from l2ae_bench.profile import PART
from l2ae_bench.profile.measure import Profile, networks, profile
from l2ae_bench.profile.show import figure, table
from l2ae_core.figures import save
from l2ae_core.files import write_json
from l2ae_kernels.cpu.codegen.vectors import use_vectors
from l2ae_kernels.cpu.threads import MOST

REPEATS = 21


def refused(arguments: Namespace) -> str | None:
    """The argument that the part does not go with, and why; None: there is none."""
    if arguments.parts != [PART]:
        return f"PART: {PART} is measured alone"
    if arguments.device != "cpu":
        return f"PART: {PART} is not for a GPU"
    if arguments.compare is not None or arguments.fail_above is not None:
        return f"--compare: is not for {PART}"
    return f"--tables: is not for {PART}" if arguments.tables else None


def run(arguments: Namespace) -> int:
    """Profile the networks that -k chooses, for one thread and for all; return 0."""
    if arguments.vectors is not None:
        use_vectors(arguments.vectors)
    machine = describe()
    print("\n".join(in_words(machine)), file=sys.stderr)
    chosen = [name for name in networks() if re.search(arguments.pattern, name)]
    if not chosen:
        raise ValueError(f"{PART}: no network with a compiled step is chosen")
    counts = sorted({1, MOST}) if arguments.threads is None else [arguments.threads]
    repeats = QUICK if arguments.quick else REPEATS
    ceilings, done = list[Measurement](), list[Profile]()
    for threads in counts:
        with peers.all_use(threads):
            ceilings += peak.rows(threads, QUICK if arguments.quick else PEAK_REPEATS)
    jobs = [(name, threads) for name in chosen for threads in counts]
    with tqdm(total=len(jobs) * repeats, desc=PART, disable=arguments.quiet, leave=False) as bar:
        for name, threads in jobs:
            bar.set_postfix_str(f"{name}, {threads}")
            with peers.all_use(threads):
                done.append(profile(name, threads, repeats, ceilings, bar.update))
            print(f"{table(done[-1])}\n")
    if arguments.json is not None:
        rows = [each.to_dict() for each in done]
        write_json(arguments.json, {"machine": machine, "profiles": rows})
    if arguments.figure is not None:
        save(figure(done), arguments.figure, dpi=110)
    return 0
