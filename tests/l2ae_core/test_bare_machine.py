"""Imports where platformdirs and pooch are not installed, as on a machine without a registry."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from l2ae_core.data.fetch import ENVIRONMENT as DATA
from l2ae_kernels.checked_files import ENVIRONMENT as CACHE

WITHOUT = "import sys; sys.modules.update(platformdirs=None, pooch=None)\n"
EVERYTHING = """
import numpy as np
import l2ae_core.cli, l2ae_core.method, l2ae_kernels.cuda.device
from l2ae_kernels import ops
x, W = np.ones((4, 3), "f4"), np.ones((3, 2), "f4")
np.testing.assert_array_equal(ops.dense(x, W, np.ones(2, "f4")), 4)
labels, _ = ops.assign(x, np.stack([x[0], 2 * x[0]]))
assert not labels.any()
"""
A_FOLDER = "from l2ae_kernels import checked_files; checked_files.cache_folder()"
A_DOWNLOAD = "from l2ae_core.data import fetch, mnist; fetch.obtain(mnist.FILES['test'][0], None)"


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    named = {k: v for k, v in os.environ.items() if k not in (CACHE, DATA)}
    named |= {"PYTHONPATH": os.pathsep.join(sys.path), **environment}
    command = [sys.executable, "-c", WITHOUT + program]
    return subprocess.run(command, env=named, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_kernels_and_the_method_need_neither(tmp_path: Path) -> None:
    ended = run(EVERYTHING, **{CACHE: str(tmp_path)})
    assert ended.returncode == 0, ended.stderr


def test_what_needs_one_of_them_says_so() -> None:
    """And what stands in for it: a folder that is named."""
    for program, words in (
        (A_FOLDER, f"ImportError: the folder of compiled kernels: .*{CACHE}"),
        (A_DOWNLOAD, f"DataError: a download needs pooch: .*{DATA}"),
    ):
        ended = run(program)
        assert ended.returncode == 1
        last = ended.stderr.splitlines()[-1]
        error, variable = words.split(".*")
        assert error in last
        assert variable in last
