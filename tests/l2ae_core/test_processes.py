"""Ctrl-C and fork at any time, in processes of their own: none crashes, none hangs."""

import os
import subprocess
import sys

import pytest

from l2ae_kernels.cpu.codegen.vectors import get_vectors

pytestmark = pytest.mark.slow
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

FITS = """
import _thread, threading
import numpy as np
from l2ae_core.estimators import AutoEncoderClusterer

x = np.random.default_rng(0).random((4000, 28, 28)).astype("f4")
AutoEncoderClusterer(5, model="dense", epochs=1, random_state=0).fit(x[:500])
for i in range(5):
    timer = threading.Timer(0.6 + 0.15 * i, _thread.interrupt_main)
    timer.start()
    try:
        AutoEncoderClusterer(5, model="dense", epochs=500, random_state=0).fit(x)
    except KeyboardInterrupt:
        print("heard")
    timer.join()
print(AutoEncoderClusterer(5, model="dense", epochs=1, random_state=0).fit(x).labels_.shape)
"""

STEPS = """
import _thread, sys, threading
import numpy as np
from l2ae_core.networks import Architecture, build
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import make_step

rng = np.random.default_rng(0)
step = make_step(build(Architecture(sys.argv[1], (28, 28, 1)), rng), Adam())
images = rng.random((256, 28, 28, 1), np.float32)
step(images)
for i in range(25):
    timer = threading.Timer(0.02 + 0.003 * i, _thread.interrupt_main)
    timer.start()
    try:
        while True:
            step(images.copy())
    except KeyboardInterrupt:
        pass
    timer.join()
print(np.isfinite(step(images)))
"""

FORKS = """
import hashlib, os, sys, threading, time
import numpy as np
from l2ae_core.clustering.kmeans import kmeans
from l2ae_kernels import ops

rng = np.random.default_rng(0)
x, W = rng.random((20_000, 10), np.float32), rng.random((300, 300))

def work():
    found = kmeans(x, 10, n_init=2, max_iter=30, rng=np.random.default_rng(0))
    arrays = [found.centers, found.labels]
    if not others:  # OpenBLAS by itself hangs in a fork while another thread multiplies
        arrays.append(ops.dense(W, W))
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).digest()

def for_ever():
    while not done.is_set():
        work()

others, compiled = int(sys.argv[1]), sys.argv[2] == "compiled"
expected = work() if compiled else None
done = threading.Event()
threads = [threading.Thread(target=for_ever) for _ in range(others)]
for thread in threads:
    thread.start()
children = []
for i in range(20 if compiled else 3):
    time.sleep(0.01 + 0.003 * i if compiled else 0.3)
    child = os.fork()
    if not child:
        os._exit(0 if expected in (None, work()) else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children] == [0] * len(children))
done.set()
for thread in threads:
    thread.join()
"""


def output(code, *arguments):
    """What a process prints; it ends by itself, and in time."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1]


def test_a_clusterer_fits_after_interrupted_fits():
    assert output(FITS) == ["heard"] * 5 + ["(4000,)"]


@pytest.mark.skipif(get_vectors() is None, reason="no kernels are emitted here")
@pytest.mark.parametrize("kind", ["dense", "cae"])
def test_a_network_trains_on_after_interrupts(kind):
    assert output(STEPS, kind) == ["True"]


@forks
@pytest.mark.parametrize("others", [0, 1, 2])
def test_children_cluster_whatever_the_parent_does(others):
    """The same bits as in the parent, where no thread or two of it cluster meanwhile."""
    assert output(FORKS, str(others), "compiled") == ["True"]


@forks
def test_children_of_a_parent_that_compiles_do_not_wait_for_it():
    assert output(FORKS, "2", "first use") == ["True"]
