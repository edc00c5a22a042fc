"""What is run, in which order, and what an error or Ctrl-C leaves."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from l2ae_core.locks import locked
from l2ae_core.paper import Run, schedule
from l2ae_core.paper.methods import refined
from l2ae_core.paper.result import write_results
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.schedule import plan
from l2ae_core.training.history import TrainingError

from .small_runs import PIXELS, SHORT, do_all, found, made_up

Done = list[Run]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Done:
    """The runs that were done, in order; nothing is trained, but results and files are there."""
    calls: Done = []

    def do(run: Run, folder: ResultsDir, progress: bool) -> None:
        calls.append(run)
        folder.training(run).mkdir(parents=True, exist_ok=True)
        (folder.training(run) / "metrics.json").touch()
        made_up(run).write(folder.result(run))

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
    ae, dec, folder = clustering("ae"), clustering("dec"), ResultsDir(tmp_path)
    do_all([ae], tmp_path)
    (folder.training(ae) / "metrics.json").unlink()
    assert plan([ae], folder) == []
    assert plan([dec], folder) == [[ae], [dec]]
    do_all([ae], tmp_path)
    (folder.training(ae) / "metrics.json").touch()
    assert plan([dec], folder) == [[dec]]
    folder.result(ae).unlink()
    assert plan([dec], folder) == [[ae], [dec]]


@pytest.mark.slow
def test_nothing_goes_on_from_a_half_trained_network_beside_an_old_result(tmp_path: Path) -> None:
    """A result copied without its network: the network is trained anew, and stopped half-way."""
    dec, ae = clustering("dec"), clustering("ae")
    folder = ResultsDir(tmp_path)
    made_up(ae).write(folder.result(ae))
    do_all([replace(ae, epochs=1)], folder.path)  # as far as it came
    folder.training(replace(ae, epochs=1)).rename(folder.training(ae))
    (folder.training(ae) / "metrics.json").unlink()
    assert plan([dec], folder) == [[ae], [dec]]
    with pytest.raises(
        ValueError, match="dec on digits, 2 epochs, seed 0 goes on from ae .* not finished"
    ):
        schedule.do(dec, folder, progress=False)
    assert not folder.result(dec).exists()


@pytest.mark.slow
def test_a_folder_without_an_end_of_a_training_is_gone_on_with(tmp_path: Path) -> None:
    """The result is what says that a run is done, not its training."""
    (result,) = do_all([SHORT], tmp_path)
    ResultsDir(tmp_path).result(SHORT).unlink()
    (again,) = do_all([SHORT], tmp_path)
    assert found(again) == found(result)
    assert again.seconds.training == result.seconds.training  # nothing was trained


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, which: Run) -> None:
    plain = schedule.do

    def do(run: Run, folder: ResultsDir, progress: bool) -> None:
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
    message = f"1 of 3 runs failed: cae-l2 on digits, 2 epochs, seed 3: {error}"
    with pytest.raises(ValueError, match=message):
        do_all([cae, l2, dense], tmp_path)
    assert done == [cae, dense]


def test_an_error_of_a_start_is_not_one_of_chance_for_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, TrainingError("diverged"), clustering("cae"))
    with pytest.raises(ValueError, match="2 of 2 runs failed: cae.*diverged; dcec.*not finished"):
        do_all([clustering("dcec")], tmp_path)


def test_a_run_that_another_process_is_at_work_on_is_left_to_it(tmp_path: Path) -> None:
    detection = Run("detection", "pixels", "digits", 0, 0, 6, n_init=2)
    path = ResultsDir(tmp_path).result(PIXELS)
    (tmp_path / f".{path.name}.0123abcd.tmp").touch()  # what a killed process left
    with ThreadPoolExecutor(1) as other:
        lock = locked(path)
        other.submit(lock.__enter__).result(timeout=20)
        with pytest.raises(ValueError, match=rf"1 of 2 runs failed: {PIXELS}: .*in use by process"):
            do_all([PIXELS, detection], tmp_path)
        other.submit(lock.__exit__, None, None, None).result(timeout=20)
    assert plan([PIXELS, detection], ResultsDir(tmp_path)) == [[PIXELS]]
    do_all([PIXELS, detection], tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {f"{r.id}.json" for r in (PIXELS, detection)}


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
    assert plan([cae, l2], ResultsDir(tmp_path)) == [[l2]]


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_below_one_are_refused(jobs: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"jobs is {jobs} but expected at least 1"):
        do_all([PIXELS], tmp_path / "x", jobs=jobs)
    assert not (tmp_path / "x").exists()


def test_a_cluster_without_dask_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"cluster needs Dask: pip install 'l2ae\[dist\]'"):
        do_all([PIXELS], tmp_path, cluster="tcp://127.0.0.1:1")


def test_nothing_is_run_into_a_folder_of_collected_results(tmp_path: Path) -> None:
    """It would be trained again, since a run is done when its own file is there."""
    write_results(tmp_path / "a.jsonl", [made_up(PIXELS)])
    with pytest.raises(ValueError, match="has collected results, to be shown"):
        do_all([PIXELS], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_damaged_result_is_not_run_over(tmp_path: Path) -> None:
    path = ResultsDir(tmp_path).result(PIXELS)
    path.write_text("{}")
    with pytest.raises(ValueError, match=f"{path.name}: not the result of a run"):
        do_all([PIXELS], tmp_path)
    assert path.read_text() == "{}"


@pytest.mark.slow
def test_a_real_refinement_goes_on_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the files of its start, as others may at the same time, and writes none of them."""
    runs = [Run("clustering", s, "digits", 0, 1, n_init=2) for s in ("idec", "dec")]
    folder, clustering_start = ResultsDir(tmp_path), replace(runs[0], system="ae")
    assert {run.start for run in runs} == {clustering_start}
    do_all([clustering_start], tmp_path)
    training = folder.training(clustering_start)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in training.iterdir()}
    plain = refined.settings
    monkeypatch.setattr(refined, "settings", lambda run: replace(plain(run), max_iter=2))
    assert len(do_all(runs, tmp_path)) == 2
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in training.iterdir()}


def test_methods_write_nothing_but_their_training(tmp_path: Path) -> None:
    """Scores of a run are in one file, and images for the report in another."""
    do_all([SHORT, PIXELS], tmp_path)
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    files = ("config.json", "history.jsonl", "checkpoint.npz", "clusters.npz", "metrics.json")
    training = {f"trainings/{SHORT.id}/{name}" for name in files}
    assert names == training | {f"{SHORT.id}.json", f"{PIXELS.id}.json", f"arrays/{SHORT.id}.npz"}
