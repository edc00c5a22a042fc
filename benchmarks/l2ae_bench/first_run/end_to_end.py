"""k-means, trainings, codes and graphs on a device, beside the CPU, without cuBLAS."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_bench.first_run.findings import Findings
from l2ae_core import data
from l2ae_core.clustering.kmeans import Clustering, kmeans
from l2ae_core.devices import DeviceNetwork
from l2ae_core.networks import Architecture, build
from l2ae_core.seeding import rngs
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import Adam
from l2ae_kernels.arrays import Array, to_host
from l2ae_kernels.cuda import products
from l2ae_kernels.cuda.device import Device

RUNS = 3  # whose bits are compared
EPOCHS = 3
NEARLY_ALL = 0.999  # of the labels: a sample between two centers may go to either
# Of losses, relative, and of codes and images, which are below 1: float32 sums of some hundred
# products differ by a few 1e-6, and a dozen steps of Adam make more of it.
LOSSES, CODES = 1e-3, 1e-4


def run(device: Device, findings: Findings, tiny: bool) -> None:
    """Append what each does and how it differs from the CPU."""
    samples = unit_rows(200 if tiny else 70_000)
    images = data.load("digits").images[: 20 if tiny else None]
    parts: dict[str, Callable[[], Any]] = {
        "kmeans on the device": lambda: clusters(samples, device.to_device(samples)),
        "kmeans streamed": lambda: clusters(samples, device.stream(samples)),
        "training": lambda: training(device, images, tiny),
        "resumed training": lambda: resumed(device, images, tiny),
        "codes": lambda: codes(device, images, tiny),
        "a graph beside other arrays": lambda: captured(device),
    }
    if not device.emulated:
        parts["l2ae fit --device cuda"] = command
    for name, part in parts.items():
        findings.attempt("end to end", name, part)


def clusters(on_host: Array, x: Array) -> dict[str, Any]:
    """Cluster x RUNS times: labels and inertia of the CPU's, and whether all bits are equal."""
    cluster = partial(kmeans, n_clusters=10, n_init=3)
    expected = cluster(on_host, rng=np.random.default_rng(2))
    found = [cluster(x, rng=np.random.default_rng(2)) for _ in range(RUNS)]
    labels = float((to_host(found[0].labels) == expected.labels).mean())
    return {
        "labels as the CPU's": labels,
        "nearly all": labels > NEARLY_ALL,
        "inertia, relative": found[0].inertia / expected.inertia - 1,
        "iterations": [found[0].n_iter, expected.n_iter],
        "equal bits": len({_bits(f) for f in found}) == 1,
    }


def training(device: Device, images: Array, tiny: bool) -> dict[str, Any]:
    """Train on the CPU once and on the device twice, from equal weights, on equal batches."""
    expected, _ = _fit(images, None, tiny)
    (losses, weights), (again, same) = (_fit(images, device, tiny) for _ in range(2))
    difference = max(abs(a / b - 1) for a, b in zip(losses, expected, strict=True))
    return {
        "losses": losses,
        "largest relative difference": difference,
        "near the CPU": difference < LOSSES,
        "equal bits": losses == again and weights == same,
    }


def resumed(device: Device, images: Array, tiny: bool) -> dict[str, Any]:
    """Train some epochs, go on from the checkpoint: the bits of a training that never stopped."""
    whole = _fit(images, device, tiny)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        _fit(images, device, tiny, epochs=1, run_dir=here)
        resumed = _fit(images, device, tiny, run_dir=here, resume=True)
        on_cpu, _ = _fit(images, None, tiny, epochs=EPOCHS + 1, run_dir=here, resume=True)
    return {"equal bits": whole == resumed, "losses, the last on the CPU": on_cpu}


def codes(device: Device, images: Array, tiny: bool) -> dict[str, Any]:
    """Encode and decode images: the largest differences from the CPU's."""
    model = build(_architecture(images, tiny), np.random.default_rng(0))
    moved = DeviceNetwork.move(model, device)
    u = model.encode(images)
    found, expected = moved.encode(images), model.encode(images)
    again, wanted = moved.decode(u), model.decode(u)
    u_off, x_off = (float(np.abs(a - b).max()) for a, b in ((found, expected), (again, wanted)))
    return {"codes": u_off, "images": x_off, "near the CPU": max(u_off, x_off) < CODES}


def captured(device: Device) -> dict[str, bool]:
    """Replay a product that is added up in parts, beside arrays made after the capture."""
    rng = np.random.default_rng(0)
    a, W = (rng.standard_normal(s).astype(np.float32) for s in ((16, 784), (784, 20)))
    x, w, y = device.to_device(a), device.to_device(W), device.empty((16, 20), np.float32)
    products.dense(x, w, None, y)
    expected = device.to_host(y)
    with device.capture() as graph:
        products.dense(x, w, None, y)
    others = [device.full((16, 20, 6), 7, np.float32) for _ in range(4)]
    device.write(y, np.zeros((16, 20), np.float32))
    graph.launch()
    device.synchronize()
    return {
        "result equal": bool((device.to_host(y) == expected).all()),
        "other arrays untouched": all(bool((device.to_host(o) == 7).all()) for o in others),
    }


def command() -> str:
    """Train from the command line, and return its last line."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["fit", "--device", "cuda", "--epochs", "2", "--out", str(Path(folder, "run"))]
        done = subprocess.run([sys.executable, "-m", "l2ae_core", *arguments, "--quiet"],
                              capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-400:]}")
    return done.stdout.strip()[-200:]


def unit_rows(n: int) -> Array:
    """Return samples (n, 10) on the unit sphere."""
    x = np.random.default_rng(1).standard_normal((n, 10)).astype(np.float32)
    unit: Array = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit


def _architecture(images: Array, tiny: bool) -> Architecture:
    height, width, channels = images.shape[1:]
    filters = (3, 4) if tiny else (32, 64, 128)
    return Architecture("cae", (height, width, channels), filters=filters,
                        kernels=(5, 5, 3)[: len(filters)])  # fmt: skip


def _fit(
    images: Array, device: Device | None, tiny: bool, *, epochs: int = EPOCHS, **run: Any
) -> tuple[list[float], bytes]:
    """Train from the weights and in the order of seed 0; return losses and the bits of weights."""
    seed = rngs(0)
    model = build(_architecture(images, tiny), seed.init)
    history = fit(model, images, epochs=epochs, optimizer=Adam(), rng=seed.shuffle, device=device,
                  batch_size=8 if tiny else 256, progress=False, **run)  # fmt: skip
    return list(history.losses), b"".join(p.tobytes() for p in model.params.values())


def _bits(found: Clustering) -> tuple[float, bytes, bytes]:
    return found.inertia, to_host(found.centers).tobytes(), to_host(found.labels).tobytes()
