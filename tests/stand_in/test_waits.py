"""Work as late as its waits allow: each wait of a streamed pass is needed, and is there."""

from collections.abc import Callable

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda import copies
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.kmeans import stream

from .device import StandIn
from .schedule import Event, Schedule, Stream

D, K = 10, 10
SAMPLES = 512 * 6 + 100  # seven pieces in two slots


def right_labels(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a streamed pass assigns as the reference does."""
    monkeypatch.setattr(stream.Restarts, "piece", 512 * 4 * D)
    x = np.random.default_rng(0).standard_normal((SAMPLES, D)).astype(np.float32)
    expected, found = ops.restarts(x, K, 1, impl="reference"), ops.restarts(gpu.stream(x), K, 1)
    for restarts in (expected, found):
        restarts.centers[:] = x[:K]
        restarts.assign([0])
    return np.array_equal(gpu.to_host(found.labels), expected.labels)


def no_wait_of_copies(schedule: Schedule, wait: Callable[[Stream, Event], None]) -> object:
    return lambda s, event: wait(s, event) if s is schedule.legacy else None


def no_wait_of_kernels(schedule: Schedule, wait: Callable[[Stream, Event], None]) -> object:
    return lambda s, event: wait(s, event) if s is not schedule.legacy else None


def no_wait(schedule: Schedule, wait: Callable[[Event], None]) -> object:
    return lambda event: None


WAITS = {
    "copies for the kernels that read the slot": ("wait", no_wait_of_copies),
    "kernels for the copy of their piece": ("wait", no_wait_of_kernels),
    "the host for the copy from pinned memory": ("synchronize_event", no_wait),
}


def test_a_streamed_pass_is_right(
    stand_in: StandIn, gpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert right_labels(gpu, monkeypatch)
    assert not stand_in.faults


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("wait", WAITS)
def test_a_streamed_pass_needs_each_of_its_waits(
    stand_in: StandIn, gpu: Device, monkeypatch: pytest.MonkeyPatch, wait: str, eager: bool
) -> None:
    """Without one its labels are wrong; a device that does work at once would not show it."""
    assert right_labels(gpu, monkeypatch)
    schedule = stand_in.schedule
    monkeypatch.setattr(schedule, "eager", eager)
    name, removed = WAITS[wait]
    monkeypatch.setattr(schedule, name, removed(schedule, getattr(schedule, name)))
    assert right_labels(gpu, monkeypatch) == eager


def test_a_large_copy_goes_on_while_the_host_fills_the_other_slot(
    stand_in: StandIn, gpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it needs its wait: without one the slots are filled again before they were copied."""
    monkeypatch.setattr(copies, "PIECE", 1024)
    host = np.random.default_rng(0).integers(0, 256, 5 * 1024, np.uint8)
    assert np.array_equal(gpu.to_host(gpu.to_device(host)), host)
    monkeypatch.setattr(stand_in.schedule, "synchronize_event", lambda event: None)
    assert not np.array_equal(gpu.to_host(gpu.to_device(host)), host)
