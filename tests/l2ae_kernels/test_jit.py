"""Machine code on disk: made anew when any source of the kernels changed, or when it is damaged."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba import config
from numba.core.caching import CompileResultCacheImpl, UserProvidedCacheLocator

import l2ae_kernels
from l2ae_kernels.cpu import jit as jit_module
from l2ae_kernels.cpu.jit import jit

CALL = """
from l2ae_kernels.cpu.kmeans.short import pass_short  # holds code of sums.py
print(pass_short._cache.sources)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder in which Numba looks for code here."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "numba"))
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [UserProvidedCacheLocator])
    return tmp_path / "numba"


def doubled(*numbers):
    """Double each number by a kernel made anew; return how many signatures it had to compile."""

    def double(x):
        return 2 * x

    kernel = jit()(double)
    assert [kernel(x) for x in numbers] == [2 * x for x in numbers]
    return sum(kernel.stats.cache_misses.values())


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_signature_is_compiled_once(folder):
    assert doubled(1) == 1
    assert doubled(1, 1.5) == 1
    assert doubled(1.5, 1) == 0
    assert len(files(folder)) == 2


def test_damaged_code_is_compiled_again(folder):
    doubled(1)
    (path,) = files(folder)
    path.write_bytes(path.read_bytes()[:-1])
    assert doubled(1) == 1
    assert doubled(1) == 0


def test_code_of_other_sources_is_neither_taken_nor_kept(folder, monkeypatch):
    doubled(1)
    (before,) = files(folder)
    monkeypatch.setattr(jit_module, "digest", lambda: "other")
    assert doubled(1) == 1
    (after,) = files(folder)
    assert before.name != after.name


def test_a_folder_that_cannot_be_made_only_costs_time(folder):
    folder.write_text("in the way")
    assert [doubled(1), doubled(1)] == [1, 1]


def test_a_folder_that_is_lost_only_costs_time(folder):
    def double(x):
        return 2 * x

    kernel = jit()(double)
    shutil.rmtree(folder)
    folder.write_text("in the way")
    assert kernel(3) == 6


@pytest.mark.slow
def test_a_change_in_another_file_changes_the_key(tmp_path):
    """Of a copy of the package, one file of which gets a comment more."""
    root = Path(l2ae_kernels.__file__).parent
    shutil.copytree(root, tmp_path / "l2ae_kernels", ignore=shutil.ignore_patterns("__pycache__"))
    stamps = []
    for line in ("", "# another one"):
        with (tmp_path / "l2ae_kernels/cpu/kmeans/sums.py").open("a") as file:
            file.write(line)
        run = [sys.executable, "-c", CALL]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
        stamps.append(done.stdout)
    assert stamps[0] != stamps[1]


USE = """
from collections import Counter
import numpy as np
from numba.core import event
from l2ae_core.clustering.kmeans import kmeans
from l2ae_kernels import ops

class Names(event.Listener):
    def on_start(self, started):
        function = started.data["dispatcher"].py_func
        compiled[f"{function.__module__}.{function.__qualname__}"] += 1

    def on_end(self, ended):
        pass

compiled = Counter()
event.register("numba:compile", Names())
rng = np.random.default_rng(0)
x = rng.integers(-9, 9, (300, 5))
print(round(kmeans(x.astype("f"), 4, n_init=2, rng=np.random.default_rng(0)).inertia, 3))
images, W = rng.integers(-9, 9, (4, 8, 8, 2)), rng.integers(-9, 9, (3, 3, 2, 4))
for rung, b in (("tiled", None), ("tiled", np.ones(4, "f")), (None, None)):
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "impl": rung}
    print(ops.correlate(images.astype("f"), W.astype("f"), b, **geometry).sum())
# For one dtype a kernel is compiled once, and no words of errors that it does not raise.
print([f for f, n in compiled.items() if f.startswith("l2ae") and n > 1 or "unicode" in f])
"""

ASSIGN = """
import numpy as np
from l2ae_kernels import ops
x = np.random.default_rng(0).integers(-9, 9, (300, 5))
for dtype in "fd":
    labels, distances = ops.assign(x.astype(dtype), x[:4].astype(dtype))
    print(labels.sum(), distances.sum(), ops.update(x.astype(dtype), labels, 4)[0].sum())
"""


def used(cwd, **environment):
    """What USE prints in a process with other environment variables."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE], cwd=cwd, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
def test_kernels_run_as_python_where_numba_compiles_nothing(tmp_path):
    assert used(tmp_path, NUMBA_DISABLE_JIT="1") == used(tmp_path)


@pytest.mark.slow
def test_kernels_run_where_no_cache_can_be_written(tmp_path):
    """A read-only installation, a user without a home, caches that point to files and devices."""
    root = Path(l2ae_kernels.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root, tmp_path / "l2ae_kernels", ignore=ignore)
    for path in [tmp_path / "l2ae_kernels", *(tmp_path / "l2ae_kernels").rglob("*")]:
        if path.is_dir():
            (path / "__pycache__").touch()
    nowhere = {
        "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache", "L2AE_CACHE_DIR": "/proc",
        "NUMBA_CACHE_DIR": "/dev/null/numba", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    assert used(tmp_path, **nowhere) == used(tmp_path.parent)


@pytest.mark.slow
def test_processes_that_compile_at_once_do_not_disturb_each_other(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "L2AE_CACHE_DIR": str(tmp_path)}
    run = [sys.executable, "-W", "error", "-c", ASSIGN]
    both = [
        subprocess.Popen(run, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    third = subprocess.run(run, env=environment, stdout=subprocess.PIPE, text=True, timeout=300)
    assert outputs == [third.stdout] * 2
    assert third.returncode == 0
    assert any(tmp_path.iterdir())
    assert not list(tmp_path.rglob("*.tmp"))
