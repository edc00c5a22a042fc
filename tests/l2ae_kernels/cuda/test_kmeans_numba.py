"""The Numba rungs in Numba's simulator, which has to be chosen before Numba is imported."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from l2ae_kernels.cuda.kmeans import numba_assign
from l2ae_kernels.reference import kmeans

numba_assign.THREADS = 32  # a Python thread each
for n, d, k in [(1, 1, 1), (33, 10, 10), (70, 3, 7), (5, 300, 4), (3, 1100, 2)]:
    for dtype in (np.float32, np.float64):
        rng = np.random.default_rng(n)
        x, centers = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(k, d)).astype(dtype)
        centers[-1] = centers[0]  # a tie
        labels, distances = kmeans.assign(x, centers)
        for rung in (numba_assign.assign_naive, numba_assign.assign_shared):
            found, near = rung(x, centers)
            np.testing.assert_array_equal(found, labels)
            np.testing.assert_allclose(near, distances, rtol=1e-5 if dtype is np.float32 else 1e-13)
"""


@pytest.mark.filterwarnings("ignore")
def test_the_numba_assign_in_the_simulator() -> None:
    environment = {
        **os.environ,
        "NUMBA_ENABLE_CUDASIM": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
