"""Progress: bars on a terminal, lines in a log, records for Python's logging, forks."""

import logging
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from l2ae_core import progress
from l2ae_core.cli import main
from l2ae_core.progress import Bar

EPOCHS = 2
SETTINGS = ["--epochs", str(EPOCHS), "--clusters", "2", "--n-init", "1", "--model", "dense",
            "--hidden", "9,8,10"]  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8))
    return path


def fit(images: Path, out: str, *options: str) -> list[str]:
    return ["fit", "--data", str(images), "--out", str(images.parent / out), *SETTINGS, *options]


def test_a_log_has_a_line_an_epoch_and_no_carriage_return(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(fit(images, "run")) == 0
    error = capsys.readouterr().err
    epochs = [line for line in error.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in epochs] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert "\r" not in error
    run = str(images.parent / "run")
    for command in (["cluster", run], ["cluster", run, "--clusters", "2-3"], ["score", run]):
        assert main([*command, "--data", str(images)]) == 0
        assert "\r" not in capsys.readouterr().err
    more = ["--self-label", "--rounds", "1", "--norm", "l2"]
    assert main(fit(images, "labelled", *more)) == 0
    lines = [line.split(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines[-1] == "self-labelling, round 1 of 1"
    assert "epoch 2 of 2" in lines
    assert main(fit(images, "quiet", "--quiet")) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("terminal")
def test_a_terminal_has_a_bar_and_no_lines(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(fit(images, "run")) == 0
    error = capsys.readouterr().err
    assert "\rtraining: 100%" in error
    assert "epoch 1 of" not in error


def test_a_long_phase_has_lines_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    for _ in Bar(range(100), desc="images"):
        now[0] += 1.0
    with Bar(total=80, desc="k-means") as bar:
        bar.set_postfix(inertia=3)
        for _ in range(8):
            now[0] += 10.0
            bar.update(10)
    assert capsys.readouterr().err.splitlines() == [
        "images: 30 of 100, 30.0 seconds",
        "images: 60 of 100, 60.0 seconds",
        "images: 90 of 100, 1.5 minutes",
        "k-means: 30 of 80, 30.0 seconds, inertia=3", "k-means: 60 of 80, 60.0 seconds, inertia=3",
    ]  # fmt: skip
    for _ in Bar(range(100), desc="images", disable=True):
        now[0] += 100.0
    assert capsys.readouterr().err == ""


def test_epochs_are_records_of_logging(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "l2ae_core"):
        assert main(fit(images, "run", "--quiet")) == 0
    found = [record for record in caplog.records if record.getMessage().startswith("epoch ")]
    assert len(found) == EPOCHS
    assert {(record.name, record.levelname) for record in found} == {
        ("l2ae_core.training.loop", "INFO")
    }


def test_the_log_is_appended_to_and_tells_how_a_command_ended(images: Path) -> None:
    path = images.parent / "logs" / "log.txt"
    log = ["--log", str(path), "--quiet"]
    assert main(fit(images, "run", *log)) == 0
    first = path.read_text("utf-8")
    assert "INFO l2ae_core.training.loop: epoch 2 of 2" in first
    assert "DEBUG" in first
    assert first.endswith("done\n")
    assert main(fit(images, "run", *log)) == 1  # it is there already
    text = path.read_text("utf-8")
    assert text.startswith(first)
    assert "ERROR" in text.splitlines()[-1]
    assert main(fit(images, "other", "--quiet")) == 0  # without --log: nothing is added
    assert path.read_text("utf-8") == text
    assert main(fit(images, "third", "--log", str(images.parent))) == 1
    assert not (images.parent / "third").exists()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.usefixtures("terminal")
def test_a_child_that_is_forked_while_a_thread_draws_can_draw() -> None:
    ended = threading.Event()

    def draw() -> None:
        with Path(os.devnull).open("w") as nowhere:
            while not ended.is_set():
                for _ in Bar(range(20), file=nowhere, mininterval=0):
                    pass

    threads = [threading.Thread(target=draw) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(20)  # ends a child that waits for ever
                with Path(os.devnull).open("w") as nowhere:
                    for _ in Bar(range(2), file=nowhere):
                        pass
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        ended.set()
        for thread in threads:
            thread.join()
