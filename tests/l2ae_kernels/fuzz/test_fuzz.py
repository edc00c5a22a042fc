"""Ten thousand calls with hostile arguments: none may crash, hang, or give a wrong number.

The calls are made by children (child.py), with a page behind every array that may not be touched.
One that goes wrong ends its child; the next child goes on behind it, so that all are found.
"""

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("child.py")
SEED = 0
CALLS = 10_000
CHILDREN = 4  # two at a time
MOST = 5  # faults of a child's share, after which it is left
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pages are guarded on Linux alone")


def make_calls(first: int, last: int, log: Path) -> tuple[Counter[str], list[str]]:
    """Make calls in children; return how they ended, and what went wrong in which call."""
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    while first < last and len(wrong) < MOST:
        command = [sys.executable, str(CHILD), str(SEED), str(first), str(last), str(log)]
        log.unlink(missing_ok=True)
        child = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if child.returncode == 0:
            counted.update(json.loads(child.stdout.splitlines()[-1]))
            break
        number, _, call = log.read_text().partition(" ") if log.exists() else (str(last), "", "")
        end = child.stderr.strip().splitlines()
        wrong.append(f"call {number}, exit status {child.returncode}: {call.strip()}\n" + "\n".join(
            [*end[:2], "...", *end[-4:]]
        ))  # fmt: skip
        first = int(number) + 1
    return counted, wrong


@pytest.mark.slow
def test_no_call_crashes_or_gives_a_wrong_number(tmp_path: Path) -> None:
    cuts = [CALLS * i // CHILDREN for i in range(CHILDREN + 1)]
    logs = [tmp_path / f"{i}.log" for i in range(CHILDREN)]
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(make_calls, cuts, cuts[1:], logs))
    wrong = [fault for _, faults in ends for fault in faults]
    assert not wrong, "\n\n".join(wrong)
    counted = sum((counts for counts, _ in ends), Counter())
    assert counted.total() == CALLS
    for operation in {name.split()[0] for name in counted}:  # neither all fit nor all are hostile
        assert counted[f"{operation} accepted"] > 20, counted
        assert counted[f"{operation} refused"] > 20, counted
