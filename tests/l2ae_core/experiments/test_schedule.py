"""What is run, in which order, side by side, and what a kill, Ctrl-C or an error leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from l2ae_core.experiments import Result, Run, run_missing, schedule
from l2ae_core.experiments.methods import refined
from l2ae_core.experiments.run import Folder
from l2ae_core.experiments.schedule import plan
from l2ae_core.training.history import TrainingError
from l2ae_kernels.cpu.threads import MOST

PATIENCE = 90.0  # seconds until a started process must have written; it takes about three
SHORT = Run("clustering", "cae-l2", "digits", 0, 2, n_init=2)
PIXELS = Run("clustering", "pixels", "digits", 0, 0, n_init=2)
DETECTION = Run("detection", "pixels", "digits", 0, 0, 6, n_init=2)
Done = list[Run]


def do_all(runs: list[Run], path: Path, **how: Any) -> list[Result]:
    return run_missing(runs, Folder(path), progress=False, **how)


def found(result: Result) -> dict[str, Any]:
    """What must be equal: all but the seconds and the circumstances."""
    return {"config": result.config, "scores": result.scores, "chance": result.chance,
            "details": result.details}  # fmt: skip


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Done:
    """The runs that were done, in order; nothing is trained, but results and networks are there."""
    calls: Done = []

    def do(run: Run, folder: Folder, progress: bool) -> None:
        calls.append(run)
        folder.training(run).mkdir(parents=True, exist_ok=True)
        (folder.training(run) / "checkpoint.npz").touch()
        Result(run.config, {}, {}, {}, {}, {}).write(folder.result(run))

    monkeypatch.setattr(schedule, "do", do)
    return calls


def clustering(system: str, seed: int = 0) -> Run:
    return Run("clustering", system, "digits", seed, 2)


def test_only_what_is_missing_is_run(done: Done, tmp_path: Path) -> None:
    cae, l2, dense = (clustering(s) for s in ("cae", "cae-l2", "ae"))
    assert [r.id for r in do_all([cae, l2, cae], tmp_path)] == [cae.id, l2.id]
    assert done == [cae, l2]
    do_all([l2, cae], tmp_path)
    assert done == [cae, l2]
    results = do_all([dense, l2, cae], tmp_path)
    assert done == [cae, l2, dense]
    assert [r.id for r in results] == [dense.id, l2.id, cae.id]


def test_a_start_comes_before_what_goes_on_from_it(done: Done, tmp_path: Path) -> None:
    dec, idec, ae, cae = (clustering(s) for s in ("dec", "idec", "ae", "cae"))
    results = do_all([dec, cae, idec], tmp_path)
    assert done == [cae, ae, dec, idec]
    assert [r.id for r in results] == [dec.id, cae.id, idec.id]


def test_a_start_that_is_trained_is_not_trained_again(done: Done, tmp_path: Path) -> None:
    do_all([clustering("ae")], tmp_path)
    do_all([clustering("dec")], tmp_path)
    assert done == [clustering("ae"), clustering("dec")]


def test_a_start_without_its_network_is_trained_again(done: Done, tmp_path: Path) -> None:
    ae, dec, folder = clustering("ae"), clustering("dec"), Folder(tmp_path)
    do_all([ae], tmp_path)
    (folder.training(ae) / "checkpoint.npz").unlink()
    assert plan([ae], folder) == []
    assert plan([dec], folder) == [[ae], [dec]]
    do_all([ae], tmp_path)
    (folder.training(ae) / "checkpoint.npz").touch()
    folder.result(ae).unlink()
    assert plan([dec], folder) == [[ae], [dec]]


def test_a_folder_without_an_end_of_a_training_is_gone_on_with(tmp_path: Path) -> None:
    """The result is what says that a run is done, not its training."""
    (result,) = do_all([SHORT], tmp_path)
    Folder(tmp_path).result(SHORT).unlink()
    (again,) = do_all([SHORT], tmp_path)
    assert found(again) == found(result)
    assert again.seconds["training"] == result.seconds["training"]  # nothing was trained


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, which: Run) -> None:
    plain = schedule.do

    def do(run: Run, folder: Folder, progress: bool) -> None:
        if run == which:
            raise error
        plain(run, folder, progress)

    monkeypatch.setattr(schedule, "do", do)


@pytest.mark.parametrize("error", [TrainingError("diverged"), OSError("disk"), ValueError("bad")])
def test_an_error_is_named_and_the_others_go_on(
    error: Exception, done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cae, l2, dense = (clustering(s, seed=3) for s in ("cae", "cae-l2", "ae"))
    failing(monkeypatch, error, l2)
    message = f"1 of 3 runs failed: cae-l2 on digits, seed 3: {error}"
    with pytest.raises(ValueError, match=message):
        do_all([cae, l2, dense], tmp_path)
    assert done == [cae, dense]


def test_an_error_of_a_start_is_not_one_of_chance_for_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, TrainingError("diverged"), clustering("cae"))
    with pytest.raises(ValueError, match="2 of 2 runs failed: cae.*diverged; dcec.*not finished"):
        do_all([clustering("dcec")], tmp_path)


def test_a_bug_is_raised_as_it_is(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ZeroDivisionError("a bug"), clustering("cae"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        do_all([clustering("cae")], tmp_path)


def test_ctrl_c_keeps_what_had_finished_and_says_how_to_go_on(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cae, l2 = clustering("cae"), clustering("cae-l2")
    failing(monkeypatch, KeyboardInterrupt(), l2)
    with pytest.raises(KeyboardInterrupt) as caught:
        do_all([cae, l2], tmp_path)
    assert caught.value.__notes__ == [
        "stopped after 1 of 2 missing runs; the same command goes on"
    ]  # fmt: skip
    assert plan([cae, l2], Folder(tmp_path)) == [[l2]]


def test_the_bar_counts_runs_and_says_what_ended(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_missing([clustering("cae"), clustering("cae-l2")], Folder(tmp_path))
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "done: cae-l2 on digits, seed 0" in shown


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_below_one_are_refused(jobs: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"jobs is {jobs} but expected at least 1"):
        do_all([PIXELS], tmp_path / "x", jobs=jobs)
    assert not (tmp_path / "x").exists()


def test_a_cluster_without_dask_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"cluster needs Dask: pip install 'l2ae\[dist\]'"):
        do_all([PIXELS], tmp_path, cluster="tcp://127.0.0.1:1")


def test_a_damaged_result_is_not_run_over(tmp_path: Path) -> None:
    path = Folder(tmp_path).result(PIXELS)
    path.write_text("{}")
    with pytest.raises(ValueError, match=f"{path.name}: not the result of a run"):
        do_all([PIXELS], tmp_path)
    assert path.read_text() == "{}"


def test_two_jobs_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also: no more threads than cores, and an error in a process is named."""
    runs = [SHORT, replace(SHORT, system="cae"), PIXELS, DETECTION]
    alone = do_all(runs, tmp_path / "alone")
    monkeypatch.chdir(tmp_path)
    bad = Folder(tmp_path / "two").training(runs[1])  # a file where a folder has to be
    bad.parent.mkdir(parents=True)
    bad.touch()
    with pytest.raises(ValueError, match="1 of 4 runs failed: cae on digits, seed 0: .*xist"):
        do_all(runs, Path("two"), jobs=2)
    assert plan(runs, Folder(tmp_path / "two")) == [[runs[1]]]
    bad.unlink()
    together = do_all(runs, Path("two"), jobs=2)
    assert [found(r) for r in together] == [found(r) for r in alone]
    share = max(1, MOST // 2)
    assert {r.environment["threads"] for r in together} == {share}
    assert {r.environment["threads"] for r in alone} == {MOST}
    cores = {r.environment["machine"]["cores"] for r in alone + together}
    assert len(cores) == 1


LONG = replace(SHORT, epochs=30)
ENDLESS = replace(SHORT, epochs=100_000)
SCRIPT = """
import sys
from pathlib import Path
from l2ae_core.experiments import Run, run_missing
from l2ae_core.experiments.run import Folder
runs = [Run(**values) for values in {runs}]
run_missing(runs, Folder(Path({path!r})), jobs={jobs}, progress=False)
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


@posix
def test_a_killed_process_is_gone_on_with_to_the_same_result(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "killed")
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
    folder = Folder(tmp_path)
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
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    """The signal reaches the parent alone; its workers notice, and nobody goes on training."""
    folder, others = Folder(tmp_path), replace(ENDLESS, seed=1)
    process = start([ENDLESS, others], tmp_path, jobs=2)
    histories = [folder.training(run) / "history.jsonl" for run in (ENDLESS, others)]
    for history in histories:
        wait_for(history, process, lines=3)
    process.kill()
    process.communicate(timeout=PATIENCE)  # ends when the last of them lets stderr go
    before = [history.read_bytes() for history in histories]
    time.sleep(2)
    assert [history.read_bytes() for history in histories] == before


@pytest.mark.slow
def test_a_real_refinement_goes_on_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the files of its start, as others may at the same time, and writes none of them."""
    runs = [Run("clustering", s, "digits", 0, 1, n_init=2) for s in ("idec", "dec")]
    folder, clustering_start = Folder(tmp_path), replace(runs[0], system="ae")
    assert {run.start for run in runs} == {clustering_start}
    do_all([clustering_start], tmp_path)
    training = folder.training(clustering_start)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in training.iterdir()}
    plain = refined.settings
    monkeypatch.setattr(refined, "settings", lambda run: replace(plain(run), max_iter=2))
    assert len(do_all(runs, tmp_path)) == 2
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in training.iterdir()}


@pytest.fixture
def scheduler() -> Iterator[str]:
    """The address of a Dask cluster: one process with one thread."""
    if find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
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
    assert {r.environment["threads"] for r in there} == {MOST}
    bad = replace(SHORT, seed=1)
    training = Folder(tmp_path / "cluster").training(bad)
    training.touch()
    with pytest.raises(ValueError, match="1 of 1 runs failed: cae-l2 on digits, seed 1"):
        do_all([bad, PIXELS], tmp_path / "cluster", cluster=scheduler)


def test_methods_write_nothing_but_their_training(tmp_path: Path) -> None:
    """Scores of a run are in one file, and images for the report in another."""
    do_all([SHORT, PIXELS], tmp_path)
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    files = ("config.json", "history.jsonl", "checkpoint.npz", "clusters.npz", "metrics.json")
    training = {f"trainings/{SHORT.id}/{name}" for name in files}
    assert names == training | {f"{SHORT.id}.json", f"{PIXELS.id}.json", f"arrays/{SHORT.id}.npz"}
