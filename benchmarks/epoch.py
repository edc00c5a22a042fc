"""One epoch of the convolutional auto-encoder on MNIST-sized images, ours beside PyTorch's.

    pip install -e '.[bench]'
    python benchmarks/epoch.py [--images 70000] [--threads 2] [--json FILE]

Both sides train the same network from the same weights in one process, taking turns of a few steps,
so that whatever else the machine does hits both. Before anything is timed their gradients are
compared. PyTorch gets its fastest variant for this network: channels_last, fused Adam, inputs
already in its layout.
"""

import argparse
import json
import platform
from pathlib import Path
from time import perf_counter

import numba
import numpy as np
import torch
from torch_cae import TorchCAE

from l2ae_core.models import Architecture, build
from l2ae_core.training.loop import train_step
from l2ae_core.training.loss import reconstruction_loss
from l2ae_core.training.optim import Adam
from l2ae_kernels.cpu.threads import MOST, use_threads

TURN = 8  # steps before the other side is on
AGREEMENT = 2e-3  # float32 gradients, largest difference over largest entry: ReLU gates may flip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=70_000)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=MOST)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    result = epoch(arguments.images, arguments.side, arguments.batch_size)
    result |= {"threads": arguments.threads, "processor": processor(), "numpy": np.__version__}
    result |= {"numba": numba.__version__, "torch": torch.__version__}
    print(json.dumps(result, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


def epoch(count: int, side: int, batch_size: int) -> dict[str, float]:
    """Return seconds of one epoch for both sides, and how far their first gradients differ."""
    rng = np.random.default_rng(0)
    images = rng.random((count, side, side, 1), dtype=np.float32)
    ours = build(Architecture("cae", (side, side, 1)), rng)
    theirs = TorchCAE(ours)
    agreement = largest_difference(ours, theirs, images[:batch_size])
    if agreement > AGREEMENT:
        raise SystemExit(f"gradients differ by {agreement:.1e}: nothing was timed")
    optimizer = Adam()
    steps = {
        "ours": lambda i: train_step(ours, images[i], optimizer, "mean"),
        "torch": lambda i: theirs.train_step(images[i]),
    }
    order = rng.permutation(count)
    batches = [order[i : i + batch_size] for i in range(0, count, batch_size)]
    for step in steps.values():  # warm up: compilation, allocator, thread pools
        for _ in range(3):
            step(batches[0])
    times: dict[str, list[float]] = {name: [] for name in steps}
    for first in range(0, len(batches), TURN):
        for name, step in steps.items():
            for batch in batches[first : first + TURN]:
                start = perf_counter()
                step(batch)
                times[name].append(perf_counter() - start)
    report: dict[str, float] = {f"{name}_seconds": sum(t) for name, t in times.items()}
    report |= {f"{name}_median_step_ms": 1e3 * float(np.median(t)) for name, t in times.items()}
    report |= {f"{name}_fastest_step_ms": 1e3 * min(t) for name, t in times.items()}
    report["torch_over_ours"] = report["torch_seconds"] / report["ours_seconds"]
    return report | {"images": count, "side": side, "gradient_difference": agreement}


def largest_difference(ours, theirs, x) -> float:
    """Largest difference of two gradients, each relative to the largest entry of its array."""
    x_hat, cache = ours.forward(x, train=True)
    gradients = ours.gradients(reconstruction_loss(x_hat, x)[1], cache)
    expected = theirs.gradients(x)
    return max(
        float(np.abs(gradients[name] - g).max() / np.abs(g).max()) for name, g in expected.items()
    )


def processor() -> str:
    """Name of the processor; Linux tells it in one file, elsewhere Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
