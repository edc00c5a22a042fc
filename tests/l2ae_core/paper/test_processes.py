"""Runs in other processes: the results of one process, and what a kill or Ctrl-C leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from l2ae_core.paper import Run, schedule
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.schedule import plan
from l2ae_kernels.cpu.threads import MOST, get_threads

from .small_runs import DETECTION, PIXELS, SHORT, do_all, found

PATIENCE = 90.0  # seconds until a started process must have written; it takes about three


@pytest.mark.slow
def test_two_jobs_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also: no more threads than cores, and an error in a process is named."""
    runs = [SHORT, replace(SHORT, system="cae"), PIXELS, DETECTION]
    alone = do_all(runs, tmp_path / "alone")
    monkeypatch.chdir(tmp_path)
    bad = ResultsDir(tmp_path / "two").training(runs[1])  # a file where a folder has to be
    bad.parent.mkdir(parents=True)
    bad.touch()
    with pytest.raises(ValueError, match="1 of 4 runs failed: cae on digits, .*, seed 0: .*xist"):
        do_all(runs, Path("two"), jobs=2)
    assert plan(runs, ResultsDir(tmp_path / "two")) == [[runs[1]]]
    bad.unlink()
    together = do_all(runs, Path("two"), jobs=2)
    assert [found(r) for r in together] == [found(r) for r in alone]
    share = max(1, MOST // 2)
    assert {r.environment.threads for r in together} == {share}
    assert {r.environment.threads for r in alone} == {get_threads()}
    machines = [r.environment.machine for r in alone + together]
    assert len({m.cores for m in machines}) == 1
    assert all(m.blas for m in machines)


LONG = replace(SHORT, epochs=24)
ENDLESS = replace(SHORT, epochs=100_000)
SCRIPT = """
import sys
from pathlib import Path
from l2ae_core.paper.run import ResultsDir, Run
from l2ae_core.paper.schedule import run_missing
runs = [Run(**values) for values in {runs}]
run_missing(runs, ResultsDir(Path({path!r})), jobs={jobs}, progress=False)
"""


def fields(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in run.__dataclass_fields__}


def start(runs: list[Run], path: Path, jobs: int = 1) -> "subprocess.Popen[str]":
    """Start a process, with a group of its own, as a shell does it."""
    text = SCRIPT.format(runs=[fields(run) for run in runs], path=str(path), jobs=jobs)
    return subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE, text=True,
                            start_new_session=True)  # fmt: skip


def wait_for(path: Path, process: "subprocess.Popen[str]", lines: int = 0) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (path.exists() and path.read_bytes().count(b"\n") >= lines):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)


def stop(process: "subprocess.Popen[str]", by: int) -> str:
    """Send a signal to the whole group, as a terminal does it; return what was said."""
    os.killpg(process.pid, by)
    try:
        return process.communicate(timeout=PATIENCE)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")


@pytest.mark.slow
@posix
def test_a_killed_process_is_gone_on_with_to_the_same_result(tmp_path: Path) -> None:
    folder = ResultsDir(tmp_path / "killed")
    process = start([LONG], folder.path)
    wait_for(folder.training(LONG) / "history.jsonl", process, lines=11)
    stop(process, signal.SIGKILL)
    assert not folder.result(LONG).exists()
    lines = (folder.training(LONG) / "history.jsonl").read_text().splitlines()
    assert 11 <= len(lines) < LONG.epochs
    first = (folder.training(LONG) / "history.jsonl").read_text().splitlines()[:10]
    (again,) = do_all([LONG], folder.path)
    (whole,) = do_all([LONG], tmp_path / "whole")
    assert found(again) == found(whole)
    history = (folder.training(LONG) / "history.jsonl").read_text().splitlines()
    assert history[:10] == first  # with its seconds: these epochs were not trained again
    assert len(history) == LONG.epochs


@posix
@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_in_a_terminal(jobs: int, tmp_path: Path) -> None:
    """All processes end, and the result of the finished run is there."""
    folder = ResultsDir(tmp_path)
    process = start([PIXELS, ENDLESS], tmp_path, jobs)
    wait_for(folder.result(PIXELS), process)
    wait_for(folder.training(ENDLESS) / "history.jsonl", process, lines=12)
    said = stop(process, signal.SIGINT)
    assert process.returncode != 0
    assert "stopped after 1 of 2 missing runs" in said
    assert plan([PIXELS, ENDLESS], folder) == [[ENDLESS]]
    history = folder.training(ENDLESS) / "history.jsonl"
    before = history.read_bytes()
    time.sleep(1)
    assert history.read_bytes() == before  # nobody goes on training


@posix
@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_reaches_a_worker_first_is_handled_by_the_parent(
    name: str, tmp_path: Path
) -> None:
    folder, others = ResultsDir(tmp_path), replace(ENDLESS, seed=1)
    process = start([ENDLESS, others], tmp_path, jobs=2)
    history = folder.training(ENDLESS) / "history.jsonl"
    wait_for(history, process, lines=3)
    path = folder.result(ENDLESS)
    lock = path.with_name(f".{path.name}.lock").read_text()  # process 123 on …
    os.kill(int(lock.split()[1]), getattr(signal, name))
    wait_for(history, process, lines=history.read_bytes().count(b"\n") + 3)  # it trains on
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1]
    assert "stopped after 0 of 2 missing runs" in said


@posix
@pytest.mark.slow
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    """The signal reaches the parent alone; its workers notice, and nobody goes on training."""
    folder, others = ResultsDir(tmp_path), replace(ENDLESS, seed=1)
    process = start([ENDLESS, others], tmp_path, jobs=2)
    histories = [folder.training(run) / "history.jsonl" for run in (ENDLESS, others)]
    for history in histories:
        wait_for(history, process, lines=3)
    process.kill()
    process.communicate(timeout=PATIENCE)  # ends when the last of them lets stderr go
    before = [history.read_bytes() for history in histories]
    time.sleep(2)
    assert [history.read_bytes() for history in histories] == before


@posix
@pytest.mark.slow
def test_a_worker_that_was_killed_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does it when memory runs out; the run is sent to a worker with its function."""
    monkeypatch.setattr(schedule, "_in_process", lambda *a: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ChildProcessError, match="killed after 0 of 2 missing runs"):
        do_all([PIXELS, DETECTION], tmp_path, jobs=2)
    monkeypatch.undo()
    assert len(do_all([PIXELS, DETECTION], tmp_path, jobs=2)) == 2


@pytest.fixture
def scheduler() -> Iterator[str]:
    """The address of a Dask cluster: one process with one thread."""
    pytest.importorskip("distributed.client")
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Dask's own
def test_a_cluster_finds_what_one_process_finds(scheduler: str, tmp_path: Path) -> None:
    runs = [SHORT, PIXELS, DETECTION]
    there = do_all(runs, tmp_path / "cluster", cluster=scheduler)
    here = do_all(runs, tmp_path / "here")
    assert [found(r) for r in there] == [found(r) for r in here]
    assert {r.environment.threads for r in there} == {MOST}
    bad = replace(SHORT, seed=1)
    training = ResultsDir(tmp_path / "cluster").training(bad)
    training.touch()
    with pytest.raises(ValueError, match="1 of 1 run failed: cae-l2 on digits, .*, seed 1"):
        do_all([bad, PIXELS], tmp_path / "cluster", cluster=scheduler)
