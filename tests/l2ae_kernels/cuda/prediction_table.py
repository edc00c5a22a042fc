"""Predictions at the paper's sizes as tables in Markdown; no device has measured them.

Launchers queue a step and three passes of k-means on a `Plan`, so grids, splits and launches are
those of an H100. Sectors and passes are counted in the PTX of small workloads of the same kernels
(counts.py), each over the least that the same bytes take.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2ae_core.networks import Architecture, build
from l2ae_core.paper.on_device import groups_of
from l2ae_core.paper.protocols import KEEP
from l2ae_core.paper.run import ResultsDir, Run
from l2ae_core.training.lower import lower
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.block import Impl
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.kmeans.resident import Resident
from l2ae_kernels.cuda.kmeans.restarts import Restarts
from l2ae_kernels.cuda.launch import ceil_div
from l2ae_kernels.cuda.training import DeviceTraining
from l2ae_kernels.emulator.ptx import Traffic
from l2ae_kernels.stages import AdamSettings

from . import workloads
from .planned import Plan, PlannedLaunch
from .predictions import Prediction, elapsed, predict

BEGIN, END = "<!-- predictions -->", "<!-- /predictions -->"
PAPER = Architecture("cae", (28, 28, 1))
SMALL = Architecture("cae", (8, 8, 1), filters=(32, 64), kernels=(5, 3))
BATCH = 256
PRECISIONS: dict[Impl, str] = {"tensor": "3×TF32", "tf32": "TF32"}
# Table IV: 20 partitions of each digit. MNIST's training images of the digits 0 … 9.
TABLE4 = [
    Run("detection", "cae-l2", "mnist", seed, 200, d) for seed in range(20) for d in range(10)
]
MNIST = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
HEADS = ("kernel", "shape", "launches", "inner loop", "useful", "sectors", "passes",
         "predicted µs", "limit µs", "measured µs")  # fmt: skip


def step(device: Device, network: Architecture, images: int, models: int, impl: Impl) -> None:
    """Queue a training step of M models on a batch of images."""
    model = build(network, np.random.default_rng(0), np.dtype(np.float32))
    stages = lower(model)
    assert stages is not None
    training = DeviceTraining(
        device, stages, [model.params] * models, np.zeros((images, *network.input_shape), np.uint8),
        batch_size=images, settings=AdamSettings(), impl=impl,
    )  # fmt: skip
    training.run([np.arange(images)])


def cae_step(impl: Impl, models: int = 1) -> list[PlannedLaunch]:
    """Return the launches of a step of the paper's network."""
    plan = Plan()
    step(plan, PAPER, BATCH, models, impl)
    return plan.launches


def resident(device: Device, n: int, d: int, k: int) -> None:
    """Queue one iteration of one run in shared memory."""
    Resident(device.empty((n, d), np.float32), k, 1).iterate([0], [1], 0.0, False)


def one_pass(device: Device, n: int, d: int, k: int) -> None:
    """Queue a pass of one run."""
    Restarts(device.empty((n, d), np.float32), k, 1).assign([0])


KMEANS = {  # its kernels, without those that are launched once for many iterations
    "70k×10, k=10": (resident, (70_000, 10, 10), ("lloyd_resident",)),
    "100M×10, k=10": (one_pass, (100_000_000, 10, 10), ("lloyd_short",)),
    "1M×128, k=1024": (
        one_pass,
        (1_000_000, 128, 1024),
        ("split_centers", "assign_tensor", "label_distances", "assign_tiled",
         "lloyd_apply_assignment"),
    ),
}  # fmt: skip


def kmeans_pass(name: str) -> list[PlannedLaunch]:
    """Return the launches of an iteration of a workload of KMEANS."""
    queue, shape, kernels = KMEANS[name]
    plan = Plan()
    queue(plan, *shape)
    return [launch for launch in plan.launches if launch.kernel.name in kernels]


# --- sectors and passes


class Moved(NamedTuple):
    """Sectors of global memory and passes over shared memory, each with the least."""

    sectors: Traffic
    passes: Traffic


def _samples(device: Device, n: int, d: int) -> Array:
    return device.to_device(np.random.default_rng(n).normal(size=(n, d)).astype(np.float32))


@functools.cache
def moved() -> Mapping[str, Moved]:
    """Run small workloads of whole vectors and rows, and return what each kernel moved."""
    device = emulate(order="ptx", seed=1, count=True)
    step(device, SMALL, 4, 1, "tensor")
    for n, d, k, of in ((256, 10, 10, Restarts), (256, 10, 10, Resident), (128, 64, 64, Restarts)):
        x = _samples(device, n, d)
        runs = of(x, k, 1)
        runs.centers[0] = device.to_host(x)[:k]
        runs.iterate([0], [1], 0.0, False)
    ops.assign(_samples(device, 256, 10), _samples(device, 10, 10), impl="cuda-registers")
    workloads.dense(device, 64, 96, 64)
    for queue in (workloads.starts, workloads.normalizations, workloads.bias):
        queue(device)
    found: dict[str, Moved] = {}
    for launch in device.counts or []:
        before = found.get(launch.kernel, Moved(Traffic(), Traffic()))
        found[launch.kernel] = Moved(
            before.sectors + launch.loads + launch.stores, before.passes + launch.shared
        )
    return found


def ratio(traffic: Traffic) -> str:
    """Return what was moved over the least, to be read."""
    return f"{traffic.cost / traffic.least:.2f}" if traffic.least else ""


# --- tables


def _shape(launch: PlannedLaunch) -> str:
    """Return the geometry of a convolution, and how it is computed; else the blocks."""
    s = launch.sizes
    if "OH" not in s:
        blocks = int(np.prod(launch.grid))
        return f"{blocks:,} block{'s' * (blocks > 1)}"
    terms = {1: ", TF32", 3: ", 3×TF32"}.get(s.get("TERMS", 0), "")
    return f"{s['H']}×{s['W']}×{s['C']} ↔ {s['OH']}×{s['OW']}×{s['K']}{terms}"


def rows(found: Iterable[tuple[str, Prediction]]) -> list[tuple[str, ...]]:
    """Return a line for each kernel and shape: the times of all its launches together."""
    same: dict[tuple[str, str], list[Prediction]] = {}
    for shape, prediction in found:
        same.setdefault((prediction.launch.kernel.name, shape), []).append(prediction)
    lines = []
    for (kernel, shape), each in same.items():
        first, counted = each[0], moved().get(kernel, Moved(Traffic(), Traffic()))
        loop = (str(first.unit), f"{first.share:.0%}") if first.unit else ("", "")
        times = (_microseconds(x) for x in (seconds(each), sum(p.limit for p in each)))
        lines.append(
            (f"`{kernel}`", shape, str(len(each)), *loop, *map(ratio, counted), *times, "")
        )
    return lines


def seconds(predictions: Iterable[Prediction]) -> float:
    """Return the time of launches one after the other."""
    return sum(p.seconds for p in predictions)


def _microseconds(time: float) -> str:
    return f"{1e6 * time:,.0f}" if time >= 1e-4 else f"{1e6 * time:.1f}"


def _markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    ruled = [heads, ["---:" if "µs" in head else "---" for head in heads], *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in ruled)


def kernels_table() -> str:
    """Return the kernels of a step in float32, the tiles of one in TF32, and those of k-means."""
    found = [(_shape(launch), predict(launch)) for launch in cae_step("tensor")]
    found += [
        (_shape(launch), predict(launch))
        for launch in cae_step("tf32")
        if launch.kernel.file_name == "conv_mma.cu"
    ]
    found += [(name, predict(launch)) for name in KMEANS for launch in kmeans_pass(name)]
    return _markdown(HEADS, rows(found))


def table4_steps() -> dict[int, int]:
    """Return the steps of Table IV by how many networks make one at once.

    Groups are those of `reproduce`; one has the steps of its network with most batches.
    """
    steps: dict[int, int] = {}
    for group in groups_of(TABLE4, ResultsDir(Path("none"))):
        of_digits = [MNIST[run.digit] for run in group if run.digit is not None]
        images = max(sum(MNIST) - n + round(KEEP * n) for n in of_digits)
        epochs = group[0].epochs
        steps[len(group)] = steps.get(len(group), 0) + epochs * ceil_div(images, BATCH)
    return steps


def goals_table() -> str:
    """Return what follows for the goals: G1 to G4."""
    lines: list[tuple[str, ...]] = []
    asked = "≥ 10× PyTorch eager, ≥ 2× the best graph"
    for impl, name in PRECISIONS.items():
        each = [predict(launch) for launch in cae_step(impl)]
        what = f"step of the CAE, batch {BATCH}, {name}: {len(each)} launches, of which "
        what += f"{sum(p.launch.beside for p in each)} are beside others"
        limit = f"{_microseconds(sum(p.limit for p in each))} µs"
        lines.append(("G1", what, f"{_microseconds(elapsed(each))} µs", limit, asked, ""))
    for impl, name in PRECISIONS.items():
        steps = table4_steps()
        of_step = {m: [predict(launch) for launch in cae_step(impl, m)] for m in steps}
        times = (
            sum(n * elapsed(of_step[m]) for m, n in steps.items()),
            sum(n * p.limit for m, n in steps.items() for p in of_step[m]),
        )
        which = " + ".join(f"{n:,} steps of {m} at once" for m, n in steps.items())
        what = f"Table IV: {len(TABLE4)} trainings, all digits together, {which}, {name}"
        lines.append(("G2", what, *(f"{t:.0f} s" for t in times), "≤ 600 s", ""))
    goals = {
        "70k×10, k=10": ("G3", "≤ 5 µs"),
        "100M×10, k=10": ("G4", "≥ 80 % of copying: ≤ 1,642 µs"),
        "1M×128, k=1024": ("G4", "≥ 1.1× the best peer"),
    }
    for name, (goal, asked) in goals.items():
        each = [predict(launch) for launch in kmeans_pass(name)]
        times = seconds(each), sum(p.limit for p in each)
        lines.append(
            (goal, f"k-means {name}, an iteration", *(f"{_microseconds(t)} µs" for t in times),
             asked, "")
        )  # fmt: skip
    return _markdown(("goal", "work", "predicted", "limit", "goal asks", "measured"), lines)


def write(text: str) -> str:
    """Return a text with both tables between its markers."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{goals_table()}\n\n{kernels_table()}\n\n{END}{after}"
