"""`l2ae completion`: scripts that a shell can read, and what bash completes with its own."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from l2ae_core.cli import COMMANDS, main
from l2ae_core.cli import completion as command

pytest.importorskip("shtab")
ASK = """
source "$1"; shift
function=$(complete -p l2ae | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=(l2ae "$@"); COMP_CWORD=$#
COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
$function l2ae "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    return tmp_path_factory.mktemp("completion") / "l2ae.bash"


@pytest.mark.parametrize("shell", command.SHELLS)
def test_a_script_parses_and_names_the_commands(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = tmp_path / f"l2ae.{shell}"
    script.write_text(capsys.readouterr().out)
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", script.read_text())
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([""], {*COMMANDS}),
        (["cl"], {"cluster"}),
        (["fit", "--ep"], {"--epochs"}),
        (["fit", "--model", ""], {"cae", "dense"}),
        (["score", "ru"], {"run.npy", "runs"}),
        (["fit", "--out", "ru"], {"runs"}),
        (["fit", "--data", "ru"], {"run.npy", "runs"}),
        (["completion", "z"], {"zsh"}),
    ],
)
def test_bash_completes(
    words: list[str], expected: set[str], bash: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["completion", "bash"]) == 0
    bash.write_text(capsys.readouterr().out)
    (tmp_path / "runs").mkdir()
    (tmp_path / "run.npy").touch()
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "ask", str(bash), *words],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) == expected


def test_without_shtab_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["completion", "bash"]) == 1
    assert "pip install" in capsys.readouterr().err
