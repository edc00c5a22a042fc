"""The tile of the dense products: no bit depends on its shape; it is chosen once for a machine."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import SETS, best, vectors
from l2ae_kernels.cpu.microkernels import dense_tile, dense_tile_times
from l2ae_kernels.cpu.microkernels.library import DENSE, FAMILIES, WINOGRAD, Kernels
from l2ae_kernels.cpu.threads import threads
from l2ae_kernels.stages import AdamSettings, Stage

AVX512 = SETS["avx512"]
SHAPES = [shape for each in SETS.values() for shape in dense_tile.shapes(each)[1:]]
# Two blocks of inputs and samples and more, and widths that end within a tile, and within a vector.
STAGES = [
    Stage("dense", "a", (300,), (277,), 0.25),
    Stage("dense", "b", (277,), (5,)),
    Stage("l2_normalize", "c", (5,), (5,), eps=0.5),
    Stage("dense", "d", (5,), (129,), 0.0, code=True),
    Stage("dense", "e", (129,), (300,)),
]
SAMPLES = (1, 29, 270)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("L2AE_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv(dense_tile.ENVIRONMENT, raising=False)
    return tmp_path


@pytest.fixture
def timed(monkeypatch):
    """Make the second shape the fastest; return the names of the vectors that were timed."""
    names = []

    def times(vectors):
        names.append(vectors.name)
        return np.array([[3.0, 3.0], *([2.0, 2.0] for _ in dense_tile.shapes(vectors)[1:])])

    monkeypatch.setattr(dense_tile_times, "times", times)
    return names


@cache
def kernels_of(lanes, shape):
    """Kernels with a tile of this shape, compiled when they are first asked for."""
    return Kernels(SETS[lanes])


def trained(count, monkeypatch, lanes, shape):
    """All bits of what the kernels make: losses, gradients, and parameters after steps of Adam."""
    monkeypatch.setenv(dense_tile.ENVIRONMENT, shape)
    monkeypatch.setattr("l2ae_kernels.cpu.step.dense.library", lambda _: kernels_of(lanes, shape))
    rng = np.random.default_rng(0)
    params = {
        f"{s.name}.{name}": (0.1 * rng.standard_normal(size)).astype("f4")
        for s in STAGES
        for name, size in s.parameters.items()
    }
    x = rng.standard_normal((count, 300)).astype("f4")
    m, v = ({name: np.zeros_like(p) for name, p in params.items()} for _ in "mv")
    with vectors(lanes), threads(1):
        step = ops.training_step(STAGES, params, (300,), None, impl="compiled")
        found = [np.array(step.loss(x)), *(g.copy() for g in step.grads().values())]
        for t in (1, 2):
            found.append(np.array(step.loss(x)))
            step.adam(m, v, AdamSettings(), t)
    return [a.tobytes() for a in (*found, *params.values(), *m.values(), *v.values())]


@pytest.mark.skipif(best() == "none", reason="no kernels are emitted for this machine")
@pytest.mark.parametrize(
    "shape", SHAPES, ids=lambda shape: f"{shape.name}-{dense_tile.name_of(shape)}"
)
def test_no_bit_depends_on_the_shape(shape, monkeypatch):
    for count in SAMPLES:
        default, other = (
            trained(count, monkeypatch, shape.name, name)
            for name in ("default", dense_tile.name_of(shape))
        )
        assert other == default


def test_another_shape_must_be_clearly_faster():
    """In its fastest repeat, and in the median."""
    for ours, others, taken in [
        ([10, 10, 12], [], 0),
        ([10, 10, 12], [[9, 9, 11]], 1),
        ([10, 10, 12], [[9.9, 9.9, 11.9]], 0),  # too little
        ([10, 10, 12], [[11, 11, 12]], 0),
        ([10, 10, 12], [[9, 10, 12]], 0),  # faster once
        ([10, 12, 12], [[9.9, 11, 11]], 0),  # never as fast as that
        ([10, 10, 12], [[9, 9, 11], [8, 8, 10]], 2),
    ]:
        assert dense_tile.fastest(np.array([ours, *others])) == taken, others


@pytest.mark.parametrize("name", SETS)
def test_every_shape_is_timed(name, monkeypatch):
    monkeypatch.setattr(dense_tile_times, "REPEATS", 2)
    seconds = dense_tile_times.times(SETS[name])
    assert seconds.shape == (len(dense_tile.shapes(SETS[name])), 2)
    assert (seconds > 0).all()
    for shape in dense_tile.shapes(SETS[name]):
        assert dense_tile_times.ROWS % shape.rows == dense_tile_times.COLUMNS % shape.columns == 0


def test_a_shape_is_chosen_once(folder, timed):
    assert dense_tile.known(AVX512) is None
    chosen = dense_tile_times.chosen(AVX512)
    assert chosen == dense_tile.shapes(AVX512)[1]
    assert (chosen, chosen) == (dense_tile_times.chosen(AVX512), dense_tile.known(AVX512))
    dense_tile_times.chosen(SETS["avx2"])
    assert timed == ["avx512", "avx2"]
    assert len([*folder.iterdir()]) == 2


@pytest.mark.parametrize(
    "changed",
    ["microkernels.dense_tile.digest", "codegen.cache.processor", "codegen.cache.host"],
)
def test_it_is_chosen_again_where_it_may_differ(changed, folder, timed, monkeypatch):
    dense_tile_times.chosen(AVX512)
    monkeypatch.setattr(f"l2ae_kernels.cpu.{changed}", lambda: "another")
    dense_tile_times.chosen(AVX512)
    assert len(timed) == 2


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + b"9", lambda b: b""])
def test_a_damaged_choice_is_made_again(damage, folder, timed):
    chosen = dense_tile_times.chosen(AVX512)
    (path,) = folder.iterdir()
    good = path.read_bytes()
    path.write_bytes(damage(good))
    assert dense_tile.known(AVX512) is None
    assert dense_tile_times.chosen(AVX512) == chosen
    assert path.read_bytes() == good
    assert len(timed) == 2


def test_where_nothing_can_be_kept_a_process_keeps_its_choice(tmp_path, timed, monkeypatch):
    """Its threads, too."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("L2AE_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    monkeypatch.delenv(dense_tile.ENVIRONMENT, raising=False)
    kernels = Kernels(AVX512)
    with ThreadPoolExecutor(4) as pool:
        found = {*pool.map(kernels.vectors_of, [DENSE] * 8)}
    assert found == {dense_tile.shapes(AVX512)[1]}
    assert len(timed) == 1


def test_only_the_dense_products_have_it(folder, timed):
    kernels = Kernels(AVX512)
    others = [build for build in FAMILIES if build not in (DENSE, *WINOGRAD)]
    assert {kernels.vectors_of(build) for build in others} == {AVX512}
    assert not timed
    assert kernels.vectors_of(DENSE) == dense_tile.shapes(AVX512)[1]


def test_the_environment_chooses(folder, timed, monkeypatch):
    for name, shape in (("default", AVX512), ("6x4", AVX512), ("12x2", (12, 2))):
        monkeypatch.setenv(dense_tile.ENVIRONMENT, name)
        found = dense_tile_times.chosen(AVX512)
        assert found == shape or (found.rows, found.columns) == shape
    assert not timed
    assert not [*folder.iterdir()]
    monkeypatch.setenv(dense_tile.ENVIRONMENT, "7x9")
    expected = r"L2AE_DENSE_TILE: '7x9' is not one of \['default', '6x4', '8x3', '12x2'\], .*avx512"
    with pytest.raises(ValueError, match=expected):
        Kernels(AVX512).load(["run", "dense"])
    monkeypatch.setenv(dense_tile.ENVIRONMENT, "")
    dense_tile_times.chosen(AVX512)
    assert timed == ["avx512"]


@pytest.mark.slow
def test_processes_that_start_at_once_leave_one_choice(folder):
    script = (
        "from l2ae_kernels.cpu.codegen.vectors import AVX512\n"
        "from l2ae_kernels.cpu.microkernels import dense_tile, dense_tile_times\n"
        "dense_tile_times.REPEATS = 3\n"
        "print(dense_tile.name_of(dense_tile_times.chosen(AVX512)))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    found = {p.communicate()[0].strip() for p in processes}
    assert found <= {dense_tile.name_of(shape) for shape in dense_tile.shapes(AVX512)}
    assert [path.suffix for path in Path(folder).iterdir()] == [".tile"]
    assert dense_tile.known(AVX512) is not None


FORK = """
import os, signal, time
from threading import Thread
from l2ae_kernels.cpu.codegen.vectors import AVX512
from l2ae_kernels.cpu.microkernels import dense_tile, dense_tile_times
from l2ae_kernels.cpu.microkernels.library import DENSE, Kernels

real, begun, kernels = dense_tile_times.times, [], Kernels(AVX512)

def slowly(vectors):
    begun.append(os.getpid())
    time.sleep(0.3)
    return real(vectors)

dense_tile_times.times, dense_tile_times.REPEATS = slowly, 3
thread = Thread(target=kernels.vectors_of, args=(DENSE,))
thread.start()
while not begun:
    time.sleep(0.001)
if os.fork() == 0:
    signal.alarm(30)
    kernels.vectors_of(DENSE)
    os._exit(len(begun) - 1)
thread.join()
print(os.wait()[1], len(begun))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_waits_for_the_choice_and_has_it(folder):
    run = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.split() == ["0", "1"]
