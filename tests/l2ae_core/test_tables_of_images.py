"""`l2ae cluster` and `l2ae score` write their rows some at a time: the bytes of a whole table."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import commands, method
from l2ae_core.anomaly import auc, reconstruction_error
from l2ae_core.cli import main
from l2ae_core.commands import load_fitted
from l2ae_core.data.stored import StoredImages
from l2ae_core.images import AT_ONCE, parts
from l2ae_core.networks import AutoEncoder
from l2ae_core.tables import to_csv
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array

N = 3 * AT_ONCE + 17  # three parts, the last of them larger


@pytest.fixture(scope="module")
def images() -> Array:
    """Images of which the least normal are equal, far from each other."""
    rng = np.random.default_rng(0)
    shapes = rng.integers(0, 256, (3, 6, 6, 1))
    x = (shapes[rng.integers(3, size=N)] // 2 + rng.integers(0, 90, (N, 6, 6, 1))).astype(np.uint8)
    x[rng.permutation(N - 600)[:400] + 600] = 255 * (np.indices((6, 6)).sum(axis=0) % 2)[..., None]
    return x


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, images: Array) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    np.save(folder / "train.npy", images[:600])
    np.save(folder / "new.npy", images)
    labels = np.arange(N) % 3
    np.savez(folder / "new.npz", images=images, labels=np.array(["one", "two", "three"])[labels])
    given = {"data": str(folder / "train.npy"), "model": "dense", "hidden": (8,), "latent_dim": 3,
             "clusters": 3, "n_init": 1, "epochs": 1}  # fmt: skip
    commands.fit(folder / "run", given, progress=False)
    return folder / "run"


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, 2 * AT_ONCE - 1, 2 * AT_ONCE, N])
def test_no_part_is_smaller_than_the_first(count: int) -> None:
    found = parts(count)
    sizes = [part.stop - part.start for part in found]
    assert [i for part in found for i in range(part.start, part.stop)] == list(range(count))
    assert all(AT_ONCE <= size < 2 * AT_ONCE for size in sizes) or sizes == [count]


def test_a_table_of_parts_has_the_bytes_of_the_whole(
    run: Path, images: Array, tmp_path: Path
) -> None:
    loaded = load_fitted(run)
    assert isinstance(loaded.model, AutoEncoder)
    u = loaded.model.encode(StoredImages(images))  # all at once
    labels, _ = ops.assign(u, loaded.clusters.centers)
    expected = {"index": np.arange(N), "cluster": labels}
    call = ["cluster", str(run), "--data", str(run.parent / "new.npy"), "--quiet", "--out"]
    assert main([*call, str(tmp_path / "a.csv")]) == 0
    assert (tmp_path / "a.csv").read_text() == to_csv(expected)
    assert main([*call, str(tmp_path / "a.npy")]) == 0
    found = np.load(tmp_path / "a.npy", allow_pickle=False)
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column)
        assert found[name].dtype == column.dtype


pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pipes
@pytest.mark.parametrize("command", ["cluster", "score"])
def test_a_pipe_gets_the_first_rows_before_the_next_are_computed(
    command: str, run: Path, pipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, lines = threading.Event(), list[str]()

    def read() -> None:
        with pipe.open(encoding="utf-8") as file:
            lines.extend(file.readline() for _ in range(AT_ONCE))
            first.set()
            lines.extend(file)

    def waiting(*arguments: Any, whole: Any, **how: Any) -> Iterator[Any]:
        for i, part in enumerate(whole(*arguments, **how)):
            assert i == 0 or first.wait(20), "no row has come before the second part"
            yield part

    for name in ("encoded", "scored"):
        whole = getattr(method, name)
        monkeypatch.setattr(method, name, lambda *a, w=whole, **how: waiting(*a, whole=w, **how))
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    call = [command, str(run), "--data", str(run.parent / "new.npy"), "--quiet", "--out"]
    assert main([*call, str(pipe)]) == 0
    reader.join(20)
    assert main([*call, str(tmp_path / "a.csv")]) == 0
    assert "".join(lines) == (tmp_path / "a.csv").read_text()
    assert pipe.is_fifo()


@pipes
def test_a_reader_of_a_pipe_that_goes_away_ends_the_command_quietly(
    run: Path, pipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_a_line() -> None:
        with pipe.open(encoding="utf-8") as file:
            file.readline()

    reader = threading.Thread(target=read_a_line, daemon=True)
    reader.start()
    assert main(["score", str(run), "--data", str(run.parent / "new.npy"), "--quiet", "--out",
                 str(pipe)]) == 141  # fmt: skip
    reader.join(20)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="files by their descriptor")
@pytest.mark.parametrize(
    ("through", "name"),
    [("a file", "/dev/stdout"), ("a pipe", "/dev/fd/1"), ("an appended file", "/dev/fd/1")],
)
def test_stdout_by_its_name_is_stdout(
    through: str, name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`> a.csv`, `| cat` and `>> a.csv`, which keeps what is there."""
    call = ["cluster", str(run), "--quiet"]
    assert main(call) == 0
    plain = capsys.readouterr().out.encode()
    process = [sys.executable, "-m", "l2ae_core", *call, "--out", name]
    if through == "a pipe":
        assert subprocess.run(process, stdout=subprocess.PIPE, check=True).stdout == plain
        return
    out = tmp_path / "a.csv"
    out.write_bytes(b"before\n")
    with out.open("ab" if through == "an appended file" else "wb") as file:
        subprocess.run(process, stdout=file, check=True)
    assert out.read_bytes() == b"before\n" * (through == "an appended file") + plain
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_table_does_not_take_the_place_of_names(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run.parent / "new.npy.csv"
    call = ["cluster", str(run), "--data", str(run.parent / "new.npy"), "--out", str(out)]
    assert main(call) == 1
    assert "is where the names of the images go: choose another name" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("command", ["cluster", "score"])
@pytest.mark.parametrize("given", [True, False], ids=["--data", "images of the run"])
def test_the_images_are_not_written_over(
    run: Path, command: str, given: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    images = run.parent / ("new.npy" if given else "train.npy")
    before = images.read_bytes()
    data = ["--data", str(images)] if given else []
    assert main([command, str(run), *data, "--out", str(images), "--quiet"]) == 1
    assert "is the file of the images: choose another name" in capsys.readouterr().err
    assert images.read_bytes() == before


def test_scores_of_parts_are_those_of_all_images(run: Path, images: Array) -> None:
    columns, _ = commands.score(run, str(run.parent / "new.npy"), progress=False)
    loaded = load_fitted(run)
    assert isinstance(loaded.model, AutoEncoder)
    x = images / np.float32(255)
    u = loaded.model.encode(x)
    np.testing.assert_array_equal(
        columns["reconstruction_error"], reconstruction_error(x, loaded.model.decode(u))
    )
    found = method.score(loaded.model, loaded.clusters.centers, StoredImages(images))
    np.testing.assert_array_equal(columns["normality"], found.v)
    np.testing.assert_array_equal(found.u, u)
    similarities = u @ (c := loaded.clusters.centers).T / np.linalg.norm(c, axis=1)
    np.testing.assert_allclose(columns["normality"], similarities.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("top", [1, 300, AT_ONCE + 1, N, N + 1])
def test_the_least_normal_images_are_those_of_a_sorted_table(run: Path, top: int) -> None:
    how: dict[str, Any] = {"progress": False}
    every, result = commands.score(run, str(run.parent / "new.npz"), **how)
    some, same = commands.score(run, str(run.parent / "new.npz"), top=top, **how)
    limits = load_fitted(run).clusters.thresholds(0.05)
    order = np.argsort(
        limits.margin(every["normality"], every["reconstruction_error"]), kind="stable"
    )
    margins = limits.margin(some["normality"], some["reconstruction_error"])
    assert len(np.unique(margins)) < len(margins) or top == 1, "equal images keep their order"
    np.testing.assert_array_equal(some["rank"], np.arange(1, min(top, N) + 1))
    for name, column in every.items():
        np.testing.assert_array_equal(some[name], column[order][:top], err_msg=name)
    assert same == result


def test_counts_and_auc_are_of_all_parts(run: Path) -> None:
    columns, result = commands.score(
        run, str(run.parent / "new.npz"), anomaly_class="two", progress=False
    )
    anomalies = columns["label"] == "two"
    assert result["auc"] == {
        "normality": auc(anomalies, -columns["normality"]),
        "reconstruction": auc(anomalies, columns["reconstruction_error"]),
    }
    assert result["anomalous"] == columns["anomalous"].sum() > 0
    assert result["images"] == N == len(columns["index"])


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
@pytest.mark.parametrize("command", ["cluster", "score"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError("disk")])
def test_what_ends_a_command_leaves_the_old_table(
    stop: BaseException, command: str, suffix: str, run: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out, seen = tmp_path / f"a{suffix}", list[str]()

    def one_part(*arguments: Any, whole: Any = None, **how: Any) -> Iterator[Any]:
        for part in whole(*arguments, **how):
            seen.extend(path.name for path in tmp_path.iterdir())
            yield part
            if len(seen) > 2:
                raise stop

    for name in ("encoded", "scored"):
        whole = getattr(method, name)
        monkeypatch.setattr(method, name, lambda *a, w=whole, **how: one_part(*a, whole=w, **how))
    out.write_text("old")
    call = [command, str(run), "--data", str(run.parent / "new.npy"), "--out", str(out), "--quiet"]
    assert main(call) == (130 if isinstance(stop, KeyboardInterrupt) else 1)
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert any(re.fullmatch(rf"\.a\{suffix}\.[0-9a-f]+\.tmp", name) for name in seen)
