"""The Numba rungs: in Numba's simulator, and on a GPU, if any.

The simulator has to be chosen before Numba is imported: each test has a process of its own.
"""

import os
import subprocess
import sys

import pytest

from l2ae_kernels.cuda.device import Device

PROGRAM = """
import importlib
import sys
import numpy as np
from l2ae_kernels.arrays import to_host
from l2ae_kernels.cuda.kmeans import numba_assign
from l2ae_kernels.reference import kmeans

array_module = importlib.import_module(sys.argv[1])
if array_module is np:
    numba_assign.THREADS = 32  # a Python thread each
for n, d, k in [(1, 1, 1), (33, 10, 10), (70, 3, 7), (5, 300, 4), (3, 1100, 2)]:
    for dtype in (np.float32, np.float64):
        rng = np.random.default_rng(n)
        x, centers = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(k, d)).astype(dtype)
        centers[-1] = centers[0]  # a tie
        labels, distances = kmeans.assign(x, centers)
        there = array_module.asarray(x), array_module.asarray(centers)
        for rung in (numba_assign.assign_naive, numba_assign.assign_shared):
            found, near = map(to_host, rung(*there))
            np.testing.assert_array_equal(found, labels)
            np.testing.assert_allclose(near, distances, rtol=1e-5 if dtype is np.float32 else 1e-13)
"""


def run(array_module: str, simulated: bool) -> None:
    environment = {
        **os.environ,
        "NUMBA_ENABLE_CUDASIM": str(int(simulated)),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, array_module]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.filterwarnings("ignore")
def test_the_numba_assign_in_the_simulator() -> None:
    run("numpy", simulated=True)


@pytest.mark.parametrize("device", ["gpu"], indirect=True)
def test_the_numba_assign_on_a_gpu(device: Device, driver: None) -> None:
    run("cupy", simulated=False)
