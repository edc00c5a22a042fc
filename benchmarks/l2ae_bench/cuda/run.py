"""The works of a GPU, and the rows of a part of `run.py --device cuda`."""

import os
import sys
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from l2ae_bench import peers
from l2ae_bench.comparison import TURN, Row
from l2ae_bench.cuda import kmeans, network
from l2ae_bench.cuda.kmeans_peers import PACKAGES
from l2ae_bench.kmeans import Points
from l2ae_kernels.cuda.device import Device

PARTS = ("kmeans", "operations")
ROUNDS, QUICK = 7, 3


def missing() -> str:
    """Say in one line which peers are not installed; "" when all are."""
    names = [name for name, module in PACKAGES.items() if not peers.installed(module)]
    return f"not installed: {', '.join(names)}; the others stand beside ours" if names else ""


def fits(points: Points) -> bool:
    """Whether the host has the memory to make the points: five times what they take."""
    if not hasattr(os, "sysconf"):
        return True  # Windows does not say
    return 20 * points.n * points.d < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def rows(
    part: str, device: Device, *, quick: bool = False, progress: bool = True, turn: float = TURN
) -> Iterator[Row]:
    """Yield the rows of one part; --quick leaves the largest points out."""
    rounds = QUICK if quick else ROUNDS
    works: Sequence[str] = list(kmeans.WORKS)[: 1 if quick else None]
    pieces = network.pieces() if part == "operations" else {}
    works = list(pieces) if part == "operations" else works
    with tqdm(total=len(works) * rounds, desc=f"bench {part}", disable=not progress,
              leave=False) as bar:  # fmt: skip
        for work in works:
            bar.set_postfix_str(work)
            if part == "kmeans" and not fits(kmeans.WORKS[work]):
                tqdm.write(f"{work} is left out: the host has too little memory", file=sys.stderr)
                continue
            if part == "operations":
                yield network.rows(work, pieces[work], device, rounds, turn, bar.update)
            else:
                yield from kmeans.rows(work, device, rounds, turn, done=bar.update)
