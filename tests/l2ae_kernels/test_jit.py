"""Machine code on disk is made anew when any source of the kernels changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import l2ae_kernels
from l2ae_kernels.cpu import dense
from l2ae_kernels.cpu.sources import digest

CALL = """
from l2ae_kernels.cpu.nearest.short import pass_short  # holds code of sums.py
print(pass_short._cache._cache_file._source_stamp)
"""


def test_the_key_holds_the_sources_of_all_kernels():
    assert digest() in dense._leaky_relu._cache._cache_file._source_stamp


def test_a_change_in_another_file_changes_the_key(tmp_path):
    """Of a copy of the package, one file of which gets a comment more."""
    root = Path(l2ae_kernels.__file__).parent
    shutil.copytree(root, tmp_path / "l2ae_kernels", ignore=shutil.ignore_patterns("__pycache__"))
    stamps = []
    for line in ("", "# another one"):
        with (tmp_path / "l2ae_kernels/cpu/nearest/sums.py").open("a") as file:
            file.write(line)
        run = [sys.executable, "-c", CALL]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
        stamps.append(done.stdout)
    assert stamps[0] != stamps[1]
