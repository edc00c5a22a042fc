"""Every reader, on thousands of damaged files: right values, or an error that names the file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("child.py")
SEED = 20
CASES = 10_000
SHARDS = 4  # tests that pytest-xdist gives to free cores
TIMEOUT = 900  # seconds for all cases of a child


def run_cases(folder: Path, first: int, stop: int, step: int) -> subprocess.Popen[str]:
    command = [sys.executable, CHILD, folder / "originals", SEED, first, stop, step]
    environment = os.environ | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="backslashreplace", env=environment,
    )  # fmt: skip


def problems(process: subprocess.Popen[str]) -> tuple[list[str], int]:
    """Return what went wrong in a child, and the case in which it died, or −1."""
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    lines = out.splitlines()
    bad = [line for line in lines if line.startswith("bad")]
    if process.returncode == 0:
        return bad, -1
    begun = [line for line in lines if line.startswith("begin")]
    assert begun, f"no case was begun: {err[-2000:]}"
    status = process.returncode
    died = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return [*bad, f"{begun[-1]}: {died} {err[-500:]}"], int(begun[-1].split()[1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as Linux has them")
@pytest.mark.parametrize("shard", range(SHARDS))
def test_damaged_files_are_read_right_or_named(shard: int, tmp_path: Path) -> None:
    """Case INDEX alone: `python child.py EMPTY_FOLDER SEED INDEX INDEX+1 1`."""
    found, first = [], shard
    while first >= 0 and len(found) < 50:  # go on behind a case that ended the process
        bad, died = problems(run_cases(tmp_path / f"{first}", first, CASES, SHARDS))
        found += bad
        first = died + SHARDS if died >= 0 else -1
    assert not found, f"{len(found)} of {CASES} cases, seed {SEED}:\n" + "\n".join(found[:50])
