"""The workloads of a GPU, and the rows of a part of `run.py --device cuda`."""

import os
import sys
from collections.abc import Iterator

from tqdm import tqdm

from l2ae_bench import peers
from l2ae_bench.comparison import Measurement
from l2ae_bench.cuda import kmeans, network
from l2ae_bench.cuda.kmeans_peers import PACKAGES
from l2ae_bench.kmeans import SampleSet
from l2ae_kernels.cuda.device import Device

PARTS = ("kmeans", "operations")
REPEATS, QUICK = 7, 3


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
    part: str, device: Device, *, quick: bool = False, progress: bool = True
) -> Iterator[Measurement]:
    """Yield the measurements of one part; --quick leaves the largest samples out."""
    repeats = QUICK if quick else REPEATS
    pieces = network.pieces() if part == "operations" else {}
    workloads = list(pieces) or list(kmeans.WORKLOADS)[: 1 if quick else None]
    with tqdm(total=len(workloads) * repeats, desc=f"bench {part}", disable=not progress,
              leave=False) as bar:  # fmt: skip
        for name in workloads:
            bar.set_postfix_str(name)
            if name in pieces:
                yield from network.rows(name, pieces[name], device, repeats, done=bar.update)
            elif fits(kmeans.WORKLOADS[name]):
                yield from kmeans.rows(name, device, repeats, done=bar.update)
            else:
                tqdm.write(f"{name} is left out: the host has too little memory", file=sys.stderr)
