"""The workloads of a GPU, and the rows of a part of `run.py --device cuda`."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from tqdm import tqdm

from l2ae_bench import peers
from l2ae_bench.choice import Choice
from l2ae_bench.comparison import Measurement
from l2ae_bench.cuda import kmeans, network, rungs, step
from l2ae_bench.cuda.kmeans_peers import PACKAGES
from l2ae_bench.kmeans import SampleSet
from l2ae_kernels.cuda.device import Device

PARTS = ("kmeans", "step", "operations", "rungs")
REPEATS, QUICK = 7, 3
RUNG_SECONDS = 0.05  # in a repeat: there are a hundred rungs
ALL = Choice()
Job = Callable[..., Iterable[Measurement]]  # of `done`, which is called after each repeat


def missing() -> str:
    """Say in one line which peers are not installed; "" when all are."""
    names = [name for name, module in PACKAGES.items() if not peers.installed(module)]
    return f"not installed: {', '.join(names)}; the others stand beside ours" if names else ""


def fits(samples: SampleSet) -> bool:
    """Whether the host has the memory to make the samples: five times what they take."""
    if not hasattr(os, "sysconf"):
        return True  # Windows does not say
    return 20 * samples.n * samples.d < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def rows(
    part: str,
    device: Device,
    choice: Choice = ALL,
    *,
    quick: bool = False,
    progress: bool = True,
) -> Iterator[Measurement]:
    """Yield the measurements of one part, of the workloads that are chosen.

    quick: the smallest samples, one network, one shape an operation, and no torch.compile.
    """
    if part == "rungs" and not rungs.has_library(device):
        tqdm.write("cuBLAS cannot be loaded: rungs of products have no ceiling", file=sys.stderr)
    repeats = QUICK if quick else REPEATS
    jobs = _jobs(part, device, choice, repeats, quick)
    with tqdm(total=len(jobs) * repeats, desc=f"bench {part}", disable=not progress,
              leave=False) as bar:  # fmt: skip
        for name, job in jobs.items():
            bar.set_postfix_str(name)
            if part != "kmeans" or fits(kmeans.WORKLOADS[name]):
                yield from job(done=bar.update)
            else:
                tqdm.write(f"{name} is left out: the host has too little memory", file=sys.stderr)


def _jobs(part: str, device: Device, choice: Choice, repeats: int, quick: bool) -> dict[str, Job]:
    """Return the function of each chosen workload of a part; it takes `done`."""
    if part == "rungs":
        return {
            case.workload: partial(rungs.rows, case, device, choice, repeats, RUNG_SECONDS)
            for case in rungs.cases(choice, quick)
        }
    jobs: dict[str, Job] = {}
    if part == "kmeans":
        for name in list(kmeans.WORKLOADS)[: 1 if quick else None]:
            jobs[name] = partial(kmeans.rows, name, device, repeats)
    elif part == "step":
        for name, (architecture, precision) in step.workloads().items():
            if not quick or step.OF_TABLE4 in name:
                jobs[name] = partial(
                    step.rows, name, architecture, precision, device, repeats, compiled=not quick
                )
    else:
        for name, piece in network.pieces().items():
            jobs[name] = partial(network.rows, name, piece, device, repeats)
    return {name: job for name, job in jobs.items() if choice.takes(name)}
