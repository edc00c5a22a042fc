"""The command line on terminals of any encoding, in pipes that close, and without arguments."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core.cli import main
from l2ae_core.data import reading

NAMES = ("Ährenfeld →.png", "b.png", "c.png")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "runs"
FIT = ["fit", "--epochs", "1", "--clusters", "2", "--n-init", "1", "--quiet", "--out"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main([*FIT, str(out), "--data", str(photos)]) == 0
    return out


class Screen:
    """stdout and stderr with an encoding, as PYTHONIOENCODING or a code page of Windows sets it."""

    def __init__(self, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoding = encoding
        self.out, self.err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
        monkeypatch.setattr(sys, "stdout", self.out)
        monkeypatch.setattr(sys, "stderr", self.err)

    def shown(self, stream: io.TextIOWrapper) -> str:
        stream.seek(0)
        return stream.read()

    def form(self, text: str) -> str:
        """Text as this encoding can show it."""
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)


ENCODINGS = ["ascii", pytest.param("cp1252", marks=pytest.mark.slow), "utf-8"]
in_any_encoding = pytest.mark.parametrize("encoding", ENCODINGS)


@in_any_encoding
def test_names_of_files_are_shown(
    encoding: str, run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen(encoding, monkeypatch)
    assert main(["cluster", str(run), "--data", str(photos), "--quiet"]) == 0
    shown = [line.split(",")[1] for line in screen.shown(screen.out).splitlines()[1:]]
    assert sorted(shown) == sorted(map(screen.form, NAMES))
    missing = str(photos / NAMES[0] / "x")
    assert main(["cluster", str(run), "--data", missing]) == 1
    assert screen.form(missing) in screen.shown(screen.err)


@in_any_encoding
def test_helps_checks_and_tables_are_shown(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(encoding, monkeypatch)
    for command in (
        "demo",
        "fit",
        "cluster",
        "score",
        "export",
        "reproduce",
        "report",
        "gradcheck",
    ):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        assert f"usage: l2ae {command}" in screen.shown(screen.out)
    assert main(["gradcheck", "L2Normalize"]) == 0
    assert "are ok" in screen.shown(screen.out)
    assert main(["reproduce", "table2", "--show", "--out", str(RESULTS)]) == 0
    assert screen.form("CAE-l2 − CAE") in screen.shown(screen.out)


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes only there")
def test_a_name_that_is_no_text_is_written_to_a_file(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.png"
    try:
        Path(os.fsdecode(name)).write_bytes((photos / "b.png").read_bytes())
    except OSError:
        pytest.skip("this file system has names of UTF-8 alone")
    for i, data in enumerate((str(tmp_path), os.fsdecode(name))):
        for ending in ("csv", "npy"):
            out = tmp_path / f"{i}.{ending}"
            assert main(["cluster", str(run), "--data", data, "--out", str(out)]) == 0
            assert out.stat().st_size > 0


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_a_folder_whose_name_is_no_text_is_trained_on_resumed_and_reported(
    photos: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / os.fsdecode(b"caf\xe9"), tmp_path / os.fsdecode(b"run\xff")
    try:
        shutil.copytree(photos, data)
    except OSError:
        pytest.skip("this file system has names of UTF-8 alone")
    fit = ["fit", "--clusters", "1", "--n-init", "1", "--quiet", "--out", str(out)]
    assert main([*fit, "--epochs", "1", "--data", str(data)]) == 0
    assert main([*fit, "--epochs", "2", "--resume"]) == 0
    assert json.loads((out / "config.json").read_text("utf-8"))["data"]["name"] == str(data)
    assert main(["report", str(out)]) == 0
    assert r"caf\udce9" in (out / "report.html").read_text("utf-8")


def test_a_reader_that_goes_away_ends_the_command_quietly(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["gradcheck", "L2Normalize"],
                    ["cluster", str(run), "--data", str(photos), "--quiet"]):  # fmt: skip
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w", encoding="utf-8") as closed, monkeypatch.context() as replaced:
            replaced.setattr(sys, "stdout", closed)
            assert main(command) == 141
        assert "error" not in capsys.readouterr().err  # nor anything as the file is closed


def test_without_a_command_there_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    shown = capsys.readouterr()
    for command in ("fit", "cluster", "score", "report"):
        assert f"\n    {command} " in shown.out


def test_versions_are_those_of_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("l2ae ")
    for name, version in (("Python", sys.version.split()[0]), ("numpy", np.__version__)):
        assert f"{name} {version}" in shown
    assert "vectors" in shown


@pytest.mark.needs_vectors
def test_the_tile_of_the_dense_kernels_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("L2AE_CACHE_DIR", str(tmp_path))
    for tile, shown in (("default", r"dense tile \d+x\d, "), ("", "dense tile not chosen yet, ")):
        monkeypatch.setenv("L2AE_DENSE_TILE", tile)
        with pytest.raises(SystemExit, match="0"):
            main(["--version"])
        assert re.search(shown, capsys.readouterr().out)
    monkeypatch.setenv("L2AE_DENSE_TILE", "1x1")
    with pytest.raises(SystemExit, match="2"):
        main(["--version"])
    assert "L2AE_DENSE_TILE: '1x1' is not one of ['default', " in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    ["--version", "--help", "fit --help", "score --help", "reproduce --help", "report --help"],
)
def test_versions_and_helps_import_no_kernel_and_no_figure(line: str) -> None:
    code = """import sys
from l2ae_core.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)"""
    command = [sys.executable, "-c", code, *line.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "argparse" in loaded
    assert not loaded & {"matplotlib", "numba", "scipy", "sklearn"}
    assert ("llvmlite" in loaded) == (line == "--version")
    assert line != "--help" or "numpy" not in loaded


def test_several_files_after_data_are_one_short_sentence(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(photos / name) for name in NAMES] * 100
    with pytest.raises(SystemExit) as stopped:
        main(["score", str(run), "--data", *files])
    assert stopped.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "name the folder" in error
    assert error.count(".png") <= 3


@pytest.mark.usefixtures("terminal")
def test_quiet_silences_the_bar_of_reading_images(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    real = reading.Bar

    def at_once(*arguments: object, delay: float = 0, **named: object) -> object:
        return real(*arguments, **named)

    monkeypatch.setattr(reading, "Bar", at_once)
    for command in ([*FIT[:-2], "--out", str(tmp_path / "r")], ["cluster", str(run)],
                    ["score", str(run)]):  # fmt: skip
        without = [*(part for part in command if part != "--quiet"), "--data", str(photos)]
        assert main([*without, "--quiet"]) == 0
        assert "images:" not in capsys.readouterr().err
        if command[0] != "fit":
            assert main(without) == 0
            assert "images:" in capsys.readouterr().err
