"""What every folder of tests shares.

`device` is where tests run CUDA kernels: on the emulator, and on a GPU, if any. Its shuffled order
finds every planted fault that another one finds (emulator/test_planted.py). The two others, and
"ptx", which runs what NVRTC makes of the kernels, have the marker `orders`, and are for tests of
kernels: what calls them has one order. Where a GPU must be there,
REQUIRE_GPU=1 turns its absence from a skip into a failure, and so does REQUIRE_NVRTC=1 for NVRTC.
NO_POOL=1 gives every array of a GPU memory of its own, so that compute-sanitizer sees its end.

A shell lets what it runs in the background ignore SIGINT, nohup SIGHUP, and children inherit that.
Several tests send signals to processes of their own: these handle them wherever pytest was started.
"""

import gc
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2ae_kernels.cpu.codegen.vectors import SETS, best, get_vectors
from l2ae_kernels.cpu.threads import MOST, threads, use_threads
from l2ae_kernels.cuda.device import Device, NoDevice, find_device
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.emulator import toolchain
from l2ae_kernels.emulator.errors import CompileError

OF_KERNELS = tuple(Path(__file__).parent / "l2ae_kernels" / name for name in ("cuda", "emulator"))
WIDEST = SETS[best()].lanes if best() in SETS else 0
NARROWER = {name for name, vectors in SETS.items() if vectors.lanes < WIDEST}
NARROWER.add("amx6")  # amx3 with more products
THRESHOLDS = gc.get_threshold()
RUN_KERNELS = {"cxx", "nvrtc", "device"}  # fixtures without which nothing finds a compiler

DEFAULTS = {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGHUP": signal.SIG_DFL,  # none on Windows
}
for name, handler in DEFAULTS.items():
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_configure(config: pytest.Config) -> None:
    """Let CuPy find a device where there is none, if L2AE_STAND_IN=1 (stand_in/README.md).

    Processes of pytest-xdist share the cores: more threads than cores wait for each other. With
    TEST_THREADS=all, each uses all cores.
    """
    if os.environ.get("TEST_THREADS") != "all":
        use_threads(max(1, MOST // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))
    if os.environ.get("L2AE_STAND_IN") == "1":
        from .stand_in.plugin import StandInPlugin

        config.pluginmanager.register(StandInPlugin(), StandInPlugin.NAME)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what compiles or runs CUDA in the emulator `cuda`, but for what is marked `everyday`.

    Kernels that a test has emitted for narrower vectors than this processor's are `slow`.
    """
    stale: dict[str, bool] = {}  # a fragment of ids that is in none
    for item in items:
        if not NARROWER.isdisjoint(re.split(r"[][-]", item.name)):
            item.add_marker("slow")
        runs_kernels = not RUN_KERNELS.isdisjoint(getattr(item, "fixturenames", ()))
        if not runs_kernels and not any(folder in item.path.parents for folder in OF_KERNELS):
            continue
        fragments = [f for mark in item.iter_markers("everyday") for f in mark.args or ("",)]
        found = [fragment in item.name for fragment in fragments]
        if not any(found):
            item.add_marker("cuda")
        for fragment, here in zip(fragments, found, strict=True):
            name = f"{item.nodeid.partition('[')[0]}: {fragment!r}"
            stale[name] = stale.get(name, True) and not here
    if any(stale.values()) and not any("::" in argument for argument in config.args):
        raise pytest.UsageError(f"everyday: no case has it: {[n for n, s in stale.items() if s]}")


def pytest_sessionstart() -> None:
    """Collect no garbage while tests are collected: they stay, and each pass visits all of them.

    Not by gc.disable(): what Dask decorates at its import would leave it disabled after each call.
    """
    gc.set_threshold(0)


def pytest_collection_finish() -> None:
    """Collect garbage again, but for what is there to stay."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what judges emitted kernels where none are emitted."""
    if item.get_closest_marker("needs_vectors") and get_vectors() is None:
        pytest.skip("no kernels are emitted: L2AE_VECTORS=none, or a processor without AVX2")


@pytest.fixture(scope="session")
def cxx() -> None:
    """The compiler of CUDA's emulator. Without one a test is skipped; where CI is set, it fails."""
    try:
        toolchain.current()
    except CompileError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def nvrtc(cxx: None) -> None:
    """NVIDIA's compiler, of the extra `cuda-check`; a test is skipped without it."""
    from l2ae_kernels.emulator.ptx.compile import nvrtc_version

    try:
        nvrtc_version()
    except CompileError as error:
        if os.environ.get("REQUIRE_NVRTC") == "1":
            raise
        pytest.skip(str(error))


ONE_ORDER = ("shuffled", "gpu")
EVERY_ORDER = (
    *ONE_ORDER,
    *(
        pytest.param(order, marks=pytest.mark.orders)
        for order in ("ascending", "descending", "ptx")
    ),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each order of threads and blocks, and on a GPU."""
    named = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "device" in metafunc.fixturenames and "device" not in named:
        of_kernels = "l2ae_kernels" in metafunc.definition.path.parts
        orders = EVERY_ORDER if of_kernels else ONE_ORDER
        metafunc.parametrize("device", orders, indirect=True, scope="session")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """A device; its parameter is the order of the emulator, or "gpu"."""
    if request.param != "gpu":
        request.getfixturevalue("nvrtc" if request.param == "ptx" else "cxx")
        yield emulate(order=request.param, seed=1)
        return
    try:
        found = find_device()
    except NoDevice as error:
        if os.environ.get("REQUIRE_GPU") == "1":
            raise
        pytest.skip(str(error))
    if os.environ.get("NO_POOL") == "1":
        found.array_module.cuda.set_allocator(None)
    yield found


@pytest.fixture(scope="session")
def other_order(device: Device) -> Device:
    """A device of the same arithmetic as `device`, its threads in another order: bits must agree.

    PTX has fused multiply-adds where C++ has none.
    """
    if not device.emulated:
        return device
    as_ptx = device.properties.name == "emulator, ptx"
    return emulate("ptx", seed=2) if as_ptx else emulate()


@pytest.fixture
def all_cores() -> Iterator[None]:
    """Use as many threads as there are cores, under pytest-xdist, too."""
    with threads(MOST):
        yield


@pytest.fixture
def driver(device: Device) -> None:
    """What others than CuPy need to find the device: a driver, which a stand-in does not have."""
    if device.properties.name == "stand-in":
        pytest.skip("the stand-in is CuPy's alone: others ask the driver")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bars be drawn on stderr, as on a terminal."""
    monkeypatch.setattr("l2ae_core.progress.on_terminal", lambda: True)


@pytest.fixture
def alarm() -> Iterator[None]:
    """End a test that waits for a writer of a FIFO."""

    def stop(*_: object) -> None:
        raise TimeoutError("still waiting")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
