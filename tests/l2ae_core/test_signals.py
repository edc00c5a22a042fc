"""What ends a command: SIGTERM and SIGHUP like Ctrl-C, and signals that are ignored."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from l2ae_core.cli import main
from l2ae_core.gradcheck import command as gradcheck

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGHUP")
PATIENCE = 90.0
HISTORY = "history.jsonl"
ENDINGS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize("number", ENDINGS)
def test_a_command_ends_with_its_note_and_a_status(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = {n: signal.getsignal(n) for n in ENDINGS}

    def interrupted(**unused: object) -> int:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt as interrupt:
            interrupt.add_note("stopped after 3 whole epochs")
            raise
        return 0

    monkeypatch.setattr(gradcheck, "main", interrupted)
    assert main(["gradcheck"]) == ENDINGS[number]
    assert capsys.readouterr().err == "\nl2ae: stopped after 3 whole epochs\n"
    assert {n: signal.getsignal(n) for n in ENDINGS} == handlers


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `nohup` starts a command."""
    monkeypatch.setattr(gradcheck, "main", lambda **unused: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["gradcheck"]) is None  # what the replacement returns
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_command_runs_in_another_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradcheck, "main", lambda **unused: 5)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(main(["gradcheck"])))
    thread.start()
    thread.join(PATIENCE)
    assert found == [5]


def end(command: list[str], number: int, folder: Path, histories: int) -> tuple[int, str]:
    """Start a command, send it a signal when it has trained; return its status and message.

    Then so many histories below `folder` have two lines.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "l2ae_core", *command], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while sum(h.read_bytes().count(b"\n") > 1 for h in folder.rglob(HISTORY)) < histories:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(number)
            message = process.communicate(timeout=PATIENCE)[1]  # when the last lets stderr go
        finally:
            process.kill()
    return process.returncode, message


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_training_says_how_to_go_on(number: signal.Signals, tmp_path: Path) -> None:
    options = ["--epochs", "100000", "--checkpoint-every", "1", "--quiet"]
    status, message = end(["fit", "--out", str(tmp_path), *options], number, tmp_path, 1)
    assert status == ENDINGS[number]
    assert "l2ae fit --resume" in message
    assert "Traceback" not in message
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "checkpoint.npz", HISTORY}


@pytest.mark.slow
def test_trainings_side_by_side_end_with_the_command(tmp_path: Path) -> None:
    """The signal reaches the command alone, as that of `kill` or of a supervisor."""
    options = ["--data", "digits", "--systems", "cae", "cae-l2", "--epochs", "100000"]
    command = ["reproduce", "table2", *options, "--jobs", "2", "--quiet", "--out", str(tmp_path)]
    status, message = end(command, signal.SIGTERM, tmp_path, 2)
    assert status == 143
    assert "stopped after 0 of 2 missing runs; the same command goes on" in message
