"""What k-means on a device copies between host and device: reads of the host make it wait."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.device_arrays import EmulatedArray

from .samples import blobs, starts


@pytest.fixture
def counts(device: Device, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often arrays are read, written, filled, and kernels launched."""
    if not device.emulated:
        pytest.skip("the calls are those of the emulator's arrays")
    found: Counter[str] = Counter()

    def counted(owner: object, name: str, what: str) -> None:
        method = getattr(owner, name)

        def count(*arguments: object, **named: object) -> object:
            found[what] += 1
            return method(*arguments, **named)

        monkeypatch.setattr(owner, name, count)

    for name in ("to_device", "write"):
        counted(device, name, "write")
    for name in ("zeros", "full"):
        counted(device, name, "fill")
    counted(EmulatedArray, "__setitem__", "fill")
    # Also numbers that are made of an array: each waits for the device.
    for name in ("get", "item", "min", "max", "__int__", "__float__", "__bool__", "__index__"):
        counted(EmulatedArray, name, "read")

    launch = device.launch

    def launched(*arguments: Any, **named: Any) -> None:
        before = found.copy()
        launch(*arguments, **named)
        found.clear()  # of what the emulator does to run a kernel
        found.update(before + Counter(["launch"]))

    monkeypatch.setattr(device, "launch", launched)
    return found


def samples(device: Device, d: int) -> tuple[Array, Array]:
    x = blobs(200, d, 5)
    return device.to_device(x), starts(x, 5, 3)


@pytest.mark.parametrize(("impl", "d"), [("cuda-fused", 3), ("cuda-fused", 40)])
def test_a_pass_reads_once_and_writes_runs_only_when_they_change(
    device: Device, counts: Counter[str], impl: str, d: int
) -> None:
    x, centers = samples(device, d)
    restarts = ops.restarts(x, 5, 3, impl=impl)
    restarts.centers[:] = centers
    for active, writes in (([0, 1, 2], 2), ([0, 1, 2], 1), ([0, 2], 2), ([0, 2], 1)):
        counts.clear()
        restarts.assign(active)
        assert counts == {"launch": 1, "read": 1, "write": writes, "fill": 1}


def test_iterations_ahead_read_once(device: Device, counts: Counter[str]) -> None:
    x, centers = samples(device, 3)
    restarts = ops.restarts(x, 5, 3, impl="cuda-resident")
    restarts.centers[:] = centers
    restarts.assign([0, 1, 2])
    for active in ([0, 1, 2], [1]):
        counts.clear()
        restarts.iterate(active, [4] * len(active), 0.0, False)
        # The centers, the most iterations, and which runs where those are others.
        writes = 2 if active == [0, 1, 2] else 3
        assert counts == {"launch": 1, "read": 1, "write": writes, "fill": 1}


def test_an_adopted_assignment_reads_its_labels_once(device: Device, counts: Counter[str]) -> None:
    x, centers = samples(device, 3)
    restarts = ops.restarts(x, 5, 3)
    restarts.centers[:] = centers
    labels, distances = ops.assign(x, device.to_device(centers[0]))
    counts.clear()
    restarts.apply_assignment(0, labels, distances)
    assert counts["read"] == 2  # the largest label, and the sums


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64, np.uint64])
def test_the_sums_of_given_labels_read_once(
    device: Device, counts: Counter[str], dtype: type
) -> None:
    x, _ = samples(device, 3)
    labels = device.to_device(np.arange(200).astype(dtype) % 5)
    counts.clear()
    ops.update(x, labels, 5)
    assert counts["read"] == 1


OUT_OF_RANGE = [
    (label, dtype)
    for dtype in (np.int32, np.uint32, np.int64, np.uint64, np.int16)
    for label in (5, -1, 2**32, -(2**32))
    if np.iinfo(dtype).min <= label <= np.iinfo(dtype).max
]


@pytest.mark.parametrize(("label", "dtype"), OUT_OF_RANGE)
def test_labels_out_of_range_are_an_error_on_a_device(
    device: Device, label: int, dtype: type
) -> None:
    x = device.to_device(blobs(200, 3, 5))
    labels = np.zeros(200, dtype)
    labels[77] = label
    span = f"{min(label, 0)} to {max(label, 0)}"
    with pytest.raises(ValueError, match=f"update: labels span {span} but expected 0 to 4"):
        ops.update(x, device.to_device(labels), 5)
    if dtype == np.int32:
        restarts = ops.restarts(x, 5, 1)
        distances = device.to_device(np.zeros(200, np.float32))
        with pytest.raises(ValueError, match=f"labels span {span} but expected 0 to 4"):
            restarts.apply_assignment(0, device.to_device(labels), distances)
