"""How much memory `l2ae fit`, `cluster` and `score` take for each image of a file, and foretell."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core.commands import Outlook
from l2ae_core.networks import Architecture
from l2ae_core.settings import DEFAULTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is of Linux"),
]

FEW, MANY = 100_000, 600_000  # many values more than are in memory together
D = 10
SCORES = 110  # bytes of an image beside its code: what is saved, and the orders that it is found by
SLACK = 16e6  # bytes: how allocators hold what was given back

# An epoch ends after its first batches: its memory is that of all of them, which are drawn.
COMMAND = """
import sys, threading
from l2ae_core.cli import main
from l2ae_core.training.hooks import Hooks

def own():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))

def watch():
    while not ended.wait(0.002):
        peaks.append(max(peaks.pop(), own()))

peaks, ended, whole = [0], threading.Event(), Hooks.batches
Hooks.batches = lambda *arguments: whole(*arguments)[:20]
watching = threading.Thread(target=watch)
watching.start()
status = main(sys.argv[1:])
ended.set()
watching.join()
print(peaks[0])
sys.exit(status)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bytes of images in files, each of another one."""
    folder = tmp_path_factory.mktemp("memory")
    rng = np.random.default_rng(0)
    for count in (FEW, MANY):
        x = rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
        np.save(folder / f"{count}.npy", x)
    peak("fit", "--data", f"{FEW}.npy", *OPTIONS, "--out", "run", folder=folder)
    return folder


DENSE = {"model": "dense", "latent_dim": 64}
NARROW = {**DENSE, "hidden": (16,)}
Fitted = tuple[int, tuple[int, int, int], dict[str, Any]]  # images, their shape, the network

OPTIONS = ("--model", "dense", "--hidden", "16", "--latent-dim", str(D), "--epochs", "1",
           "--n-init", "2", "--threads", "2")  # fmt: skip


def peak(*arguments: str, folder: Path) -> int:
    """Return the peak of RssAnon of a command of l2ae."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments, "--quiet"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=600,
        env=os.environ | {"L2AE_CACHE_DIR": str(folder)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.splitlines()[-1])


def growth(folder: Path, command: Callable[[int], tuple[str, ...]]) -> float:
    """Return the bytes by which a command grows from FEW images to MANY."""
    few, many = (peak(*command(count), folder=folder) for count in (FEW, MANY))
    return many - few


@pytest.mark.parametrize(("command", "suffix"), [("cluster", "csv"), ("score", "npy")])
def test_a_table_takes_the_memory_of_a_part(command: str, suffix: str, folder: Path) -> None:
    grown = growth(
        folder, lambda n: (command, "run", "--data", f"{n}.npy", "--out", f"table-{n}.{suffix}")
    )
    assert grown < SLACK
    assert (folder / f"table-{MANY}.{suffix}").stat().st_size > 8 * MANY


def test_the_least_normal_images_take_the_memory_of_a_few_parts(folder: Path) -> None:
    grown = growth(
        folder, lambda n: ("score", "run", "--data", f"{n}.npy", "--top", "50", "--out", "top.csv")
    )
    assert grown < SLACK


def test_a_training_holds_codes_and_scores_and_no_images(folder: Path) -> None:
    grown = growth(folder, lambda n: ("fit", "--data", f"{n}.npy", *OPTIONS, "--out", f"{n}"))
    assert grown < MANY * (4 * D + SCORES) + SLACK
    assert grown > MANY * 4 * D, "codes are in memory"


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ((FEW, (8, 8, 1), NARROW), (MANY, (8, 8, 1), NARROW)),
        ((100, (8, 8, 1), DENSE), (1500, (64, 64, 3), DENSE)),
        ((100, (8, 8, 1), {"model": "cae"}), (1500, (64, 64, 3), {"model": "cae"})),
    ],
    ids=["images", "parameters", "pixels"],
)
def test_a_training_takes_what_was_foretold(small: Fitted, large: Fitted, tmp_path: Path) -> None:
    """What grows is compared: the libraries of a process take more on one machine than another."""
    foretold, taken = [], []
    for i, (count, shape, network) in enumerate((small, small, large)):
        x = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
        np.save(tmp_path / "images.npy", x)
        chosen = {name: v[0] if isinstance(v, tuple) else v for name, v in network.items()}
        given = [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()]
        call = "fit", "--data", "images.npy", *given, "--epochs=1", "--n-init=2", "--threads=2"
        taken.append(peak(*call, "--out", f"{i}", folder=tmp_path))
        architecture = Architecture(input_shape=shape, **network)
        outlook = Outlook.of(count, architecture, DEFAULTS | {"n_init": 2}, held=0)
        foretold.append(outlook.memory_bytes)
    grown, expected = taken[2] - taken[1], foretold[2] - foretold[1]  # the first compiles kernels
    assert grown - SLACK < expected < 1.15 * grown + SLACK
