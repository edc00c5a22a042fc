"""Kills trainings and writers at all their writes, or at random moments; run by test_kills.py.

    python killed.py PART FOLDER

This process imports and compiles everything and starts no thread; each trial is a forked child.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from faults import Fault, Trial, ctrl_c, full_disk, in_child

from l2ae_core import commands, method
from l2ae_core.array_readers import read_npz
from l2ae_core.cli import main
from l2ae_core.clustering.metrics import chance_scores
from l2ae_core.estimators import AutoEncoderClusterer
from l2ae_core.networks import Architecture
from l2ae_core.paper import Run, protocols
from l2ae_core.paper.result import Result
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.schedule import do
from l2ae_kernels.cpu.threads import use_threads

RUN_FILES = {"config.json", "history.jsonl", "checkpoint.npz", "clusters.npz", "gallery.npz",
             "metrics.json"}  # fmt: skip
SELF_LABELLING = {"self-labelling/history.jsonl", "self-labelling/checkpoint.npz"}
KILLS = 50
HARMLESS = 4  # exit status of a trial that an error did not hinder
LONGEST = 0.4  # seconds that a child lives
SECONDS = {"seconds", "images_per_second"}  # what differs from training to training
SETTINGS = ("--batch-size", "16", "--n-init", "2", "--clusters", "3")
LABELS = ("--self-label", "--rounds", "2", "--tol", "0")


def fit(out: Path, data: Path, *options: str, labels: bool = True) -> Trial:
    start = ["--data", str(data), *SETTINGS, "--epochs", "2", "--checkpoint-every", "1",
             *(LABELS if labels else ("--optimizer", "sgd"))]  # fmt: skip
    return lambda: main(["fit", "--out", str(out), "--quiet", *(options or start)])


def without_seconds(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in SECONDS}


def bits(run: Path) -> dict[str, Any]:
    """All that a finished run holds, but for the seconds."""
    files = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    found: dict[str, Any] = {"names": files}
    for name in files:
        if name.endswith(".npz"):
            arrays = read_npz(run / name)
            history = json.loads(str(arrays.pop("history", "[]")))
            arrays.pop("hooks/begin", None)  # seconds, too
            found[name] = {k: (a.dtype.str, a.shape, a.tobytes()) for k, a in arrays.items()}
            found[f"{name} history"] = [without_seconds(record) for record in history]
        elif name.endswith(".jsonl"):
            lines = (run / name).read_text().splitlines()
            found[name] = [without_seconds(json.loads(line)) for line in lines]
    found["metrics"] = without_seconds(json.loads((run / "metrics.json").read_text()))
    return found


def kill_a_fit_everywhere(folder: Path, data: Path) -> int:
    """Kill at the n-th effect, n = 1, 2, …; a plain start or a resume ends with the same bits."""
    return _stop_everywhere(folder, data, lambda n: Fault(n), -signal.SIGKILL, 1, labels=False)


def kill_a_self_labelling(folder: Path, data: Path) -> int:
    """The same at every second effect of a fit that goes on with its own labels."""
    return _stop_everywhere(folder, data, lambda n: Fault(n), -signal.SIGKILL, 2)


def interrupt_a_fit_everywhere(folder: Path, data: Path) -> int:
    """Ctrl-C at the n-th effect, and again while the first is taken care of."""
    return _stop_everywhere(folder, data, lambda n: Fault(n, ctrl_c, 2), 130, 3)


def _stop_everywhere(
    folder: Path, data: Path, fault: Callable[[int], Fault], expected_status: int, stride: int,
    labels: bool = True,
) -> int:  # fmt: skip
    start = partial(fit, data=data, labels=labels)
    assert in_child(start(folder / "whole")) == 0
    expected = bits(folder / "whole")
    assert expected["names"] == RUN_FILES | (SELF_LABELLING if labels else set())
    for n in range(1, 100_000, stride):
        run = folder / "run"
        status = in_child(start(run), fault(n))
        if status == 0:
            assert bits(run) == expected
            return n - 1
        assert status == expected_status, f"effect {n}: {status}"
        begun, trained = ((run / name).exists() for name in ("config.json", "checkpoint.npz"))
        resumable = begun and (trained or n // stride % 2)
        again = fit(run, data, "--resume") if resumable else start(run)
        assert in_child(again) == 0, f"effect {n}"
        assert bits(run) == expected, f"effect {n}"
        if run.exists():
            shutil.rmtree(run)
    raise AssertionError("no end of effects")


def fill_the_disk_everywhere(folder: Path, data: Path) -> int:
    """An error at the n-th effect: one line that names the run; a resume ends with equal bits."""
    whole, run, said = folder / "whole", folder / "run", folder / "said"
    assert in_child(fit(whole, data)) == 0
    for n in range(1, 100_000, 2):
        fault = Fault(n, full_disk)

        def start(fault: Fault = fault) -> int:
            with said.open("w") as file, contextlib.redirect_stderr(file):
                status = fit(run, data)()
            return int(status or (HARMLESS if fault.count >= fault.at else 0))

        status = in_child(start, fault)
        if status == 0:
            return n - 1
        if status == HARMLESS:  # a folder to be made was there, or only the file of the lock stays
            for lock in [*run.rglob(".lock")]:
                lock.unlink()
            assert bits(run) == bits(whole)
            shutil.rmtree(run)
            continue
        message = said.read_text()
        assert status == 1, f"effect {n}: {status} {message}"
        assert message.startswith("l2ae: error: [Errno 28]"), message
        assert message.count("\n") == 1, message
        assert ".tmp" not in message, message
        assert ".lock" not in message, message
        assert str(run) in message, message
        options = ("--resume",) if (run / "config.json").exists() else ()
        assert in_child(fit(run, data, *options)) == 0
        assert bits(run) == bits(whole), f"effect {n}"
        shutil.rmtree(run)
    raise AssertionError("no end of effects")


def kill_a_change_everywhere(folder: Path, data: Path) -> int:
    """Clusters that are there are those of the configuration, whenever it gets another number."""
    whole, run = folder / "whole", folder / "run"
    assert in_child(fit(whole, data, labels=False)) == 0
    for n in range(1, 100_000):
        shutil.copytree(whole, run)
        killed = in_child(fit(run, data, "--resume", "--clusters", "2"), Fault(n))
        K = json.loads((run / "config.json").read_text())["training"]["clusters"]
        if (run / "clusters.npz").exists():
            assert len(read_npz(run / "clusters.npz")["centers"]) == K, f"effect {n}"
        assert in_child(fit(run, data, "--resume")) == 0
        assert len(read_npz(run / "clusters.npz")["centers"]) == K
        shutil.rmtree(run)
        if killed == 0:
            return n - 1
    raise AssertionError("no end of effects")


def kill_at_random(folder: Path, data: Path) -> int:
    """Kill and resume until a training is whole; as many trainings as 50 kills take."""
    moments, kills = random.Random(0), 0
    first = ("--data", str(data), *SETTINGS, "--epochs", "40", "--checkpoint-every", "2")
    assert in_child(fit(folder / "whole", data, *first)) == 0
    expected = bits(folder / "whole")
    while kills < KILLS:
        run = folder / "run"
        for _ in range(1000):
            options = ("--resume",) if (run / "config.json").exists() else first
            wait = moments.uniform(0, LONGEST) if kills < KILLS else None
            status = in_child(fit(run, data, *options), wait=wait)
            assert status in (0, -signal.SIGKILL)
            kills += status != 0
            if status == 0:
                break
        assert bits(run) == expected
        shutil.rmtree(run)
    return kills


def kill_a_save_everywhere(folder: Path, data: Path) -> int:
    """A saved estimator is the old or the new one; the next save leaves no other file."""
    x = np.load(data)["x"].astype(np.float32)
    old, new = (AutoEncoderClusterer(3, epochs=1, n_init=1, random_state=s).fit(x) for s in (0, 1))
    path = folder / "saved.npz"
    for n in range(1, 100_000):
        old.save(path)
        killed = in_child(lambda: new.save(path), Fault(n))
        seed = AutoEncoderClusterer.load(path).seed_
        if killed == 0:
            assert seed == 1
            return n - 1
        assert seed in (0, 1)
        old.save(path)
        assert [p.name for p in folder.iterdir()] == ["saved.npz"]
    raise AssertionError("no end of effects")


def kill_a_save_of_a_run_everywhere(folder: Path, data: Path) -> int:
    """The run is there, as a whole, or not at all; the next call writes it and leaves no more."""
    x = np.load(data)["x"].astype(np.float32)
    fitted = AutoEncoderClusterer(3, epochs=1, n_init=1, random_state=0).fit(x)
    run = folder / "run"
    for n in range(1, 100_000):
        killed = in_child(lambda: fitted.save_run(run), Fault(n))
        if not run.exists():
            fitted.save_run(run)
            assert [path.name for path in folder.iterdir()] == ["run"], f"effect {n}"
        found = AutoEncoderClusterer.from_run(run, x)
        np.testing.assert_array_equal(found.labels_, fitted.labels_)
        assert {path.name for path in run.iterdir()} == RUN_FILES - {"gallery.npz"}
        shutil.rmtree(run)
        if killed == 0:
            return n - 1
    raise AssertionError("no end of effects")


def kill_results_everywhere(folder: Path, data: Path) -> int:
    """A run of the tables is done or not; doing it again leaves the files of a whole one."""
    run = Run("clustering", "cae-l2", "digits", 0, 1, n_init=1)

    def listed(results: Path) -> list[str]:
        return sorted(p.relative_to(results).as_posix() for p in results.rglob("*"))

    whole = ResultsDir(folder / "whole")
    whole.path.mkdir()
    assert in_child(lambda: do(run, whole, progress=False)) == 0
    expected = Result.read(whole.result(run))
    for n in range(1, 100_000, 3):  # the training in it is killed everywhere above
        results = ResultsDir(folder / "results")
        results.path.mkdir()
        status = in_child(lambda: do(run, results, progress=False), Fault(n))  # noqa: B023
        if status != 0:
            assert status == -signal.SIGKILL
            assert in_child(lambda: do(run, results, progress=False)) == 0  # noqa: B023
        assert listed(results.path) == listed(whole.path), f"effect {n}"
        found = Result.read(results.result(run))
        assert (found.scores, found.chance) == (expected.scores, expected.chance)
        if status == 0:
            return n - 1
        shutil.rmtree(results.path)
    raise AssertionError("no end of effects")


PARTS = {
    "every": kill_a_fit_everywhere,
    "labels": kill_a_self_labelling,
    "interrupt": interrupt_a_fit_everywhere,
    "full": fill_the_disk_everywhere,
    "random": kill_at_random,
    "change": kill_a_change_everywhere,
    "save": kill_a_save_everywhere,
    "save_run": kill_a_save_of_a_run_everywhere,
    "results": kill_results_everywhere,
}


def images(path: Path) -> Path:
    """48 images of three kinds."""
    rng, y = np.random.default_rng(0), np.arange(48) % 3
    x = rng.random((48, 8, 8)) * 0.2
    for kind in range(3):
        x[y == kind, :, kind * 3 : kind * 3 + 2] += 0.8
    np.savez(path, x=x, y=y)
    return path


if __name__ == "__main__":
    part, into = sys.argv[1], Path(sys.argv[2])
    use_threads(1)
    os.fsync = lambda fd: None  # no power is cut: it only takes time
    commands.checks.Architecture = partial(Architecture, filters=(4, 6, 8))
    # The scores of 20 random labellings take as long as a training of these images.
    method.chance_scores = protocols.chance_scores = partial(chance_scores, repeats=1)
    if not part.startswith(("save", "results")):  # compiles what all trials run
        main(["fit", "--data", str(images(into / "data.npz")), "--epochs", "1", "--clusters", "3",
              "--out", str(into / "compiled"), "--quiet"])  # fmt: skip
    data_file = images(into / "data.npz")
    trials = into / "trials"
    trials.mkdir()
    print(PARTS[part](trials, data_file))
