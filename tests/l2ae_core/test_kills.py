"""A killed training goes on to the bits of one that was not; a killed writer leaves whole files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed.py")
PATIENCE = 1200.0  # seconds; the longest part takes a minute where nothing else runs
AT_LEAST = {
    "every": 70, "labels": 110, "interrupt": 110, "full": 110, "random": 50, "change": 30,
    "save": 10, "save_run": 30, "results": 90,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="trials are forked")
@pytest.mark.parametrize("part", AT_LEAST)
def test_nothing_is_lost_by(part: str, tmp_path: Path) -> None:
    """every: SIGKILL at every fsync, rename, removal, new file, and some writes of `l2ae fit`
    labels: the same at every second of these with `--self-label`, as are the next two
    interrupt: Ctrl-C at every third of these, twice
    full: an error of a full disk at every second
    random: 50 SIGKILLs at random moments of trainings, each followed by a resume
    change: SIGKILL at all these of a resume with another number of clusters
    save: SIGKILL at all these of an estimator's `save`
    save_run: the same of its `save_run`
    results: SIGKILL at every third of a run of `l2ae reproduce`
    """
    done = subprocess.run(
        [sys.executable, str(SCRIPT), part, str(tmp_path)], capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) >= AT_LEAST[part]
