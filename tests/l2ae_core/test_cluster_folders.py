"""`l2ae cluster --copy-to` and `--link`: a folder for each cluster."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core import commands, method
from l2ae_core.cli import main
from l2ae_core.cluster_folders import flat_names
from l2ae_core.data import pack

NAMES = ("a/x.png", "b/x.png", "b/X.PNG", "b/y é.png", "b__x.png")  # then numbers


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images of three kinds, in sub-folders and beside them."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    rng = np.random.default_rng(0)
    for i in range(30):
        x = rng.integers(0, 60, (8, 8), np.uint8)
        x[:, 3 * (i % 3) : 3 * (i % 3) + 2] += 150
        path = folder / (NAMES[i] if i < len(NAMES) else f"{i}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(path, format="PNG")
    return folder


@pytest.fixture(scope="module")
def run(photos: Path) -> Path:
    out = photos.parent / "run"
    settings = {"data": str(photos), "model": "dense", "hidden": (9, 8, 10), "epochs": 1,
                "clusters": 3, "n_init": 1}  # fmt: skip
    commands.fit(out, settings, progress=False)
    return out


def call(run: Path, data: Path, *options: object) -> list[str]:
    return ["cluster", str(run), "--data", str(data), "--device", "cpu", "--quiet",
            *map(str, options)]  # fmt: skip


def sorted_files(out: Path) -> dict[str, list[bytes]]:
    assert sorted(p.name for p in out.iterdir()) == ["cluster-00", "cluster-01", "cluster-02"]
    return {f.name: sorted(p.read_bytes() for p in f.iterdir()) for f in out.iterdir()}


@pytest.mark.parametrize("option", ["--copy-to", "--link"])
def test_every_image_is_in_the_folder_of_its_cluster(
    option: str, run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "new" / "out", tmp_path / "table.csv"
    assert main(call(run, photos, option, out, "--out", table)) == 0
    assert capsys.readouterr().out == f"{out}: 30 images\n"
    columns, _ = commands.cluster(run, str(photos), progress=False)
    found = sorted_files(out)
    for k in range(3):
        files = columns["file"][columns["cluster"] == k]
        assert found[f"cluster-0{k}"] == sorted((photos / file).read_bytes() for file in files)
    assert len(table.read_text().splitlines()) == 31
    links = [p for p in out.rglob("*.png") if p.is_symlink()]
    assert len(links) == (0 if option == "--copy-to" else len([*out.rglob("*.png")]))
    assert {p.name for p in out.rglob("*")} >= {"y é.png", "29.png"}


def test_no_two_names_are_one_where_case_does_not_count() -> None:
    parts = [("a", "x.png"), ("b", "x.png"), ("X.PNG",), ("a__x.png",), ("c", "y.png")]
    names = flat_names(parts)
    assert len({name.casefold() for name in names}) == len(parts)
    assert names[1] == "b__x.png"
    assert names[3:] == ["a__x.png", "y.png"]


def test_images_of_an_array_become_png(run: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
    np.save(tmp_path / "x.npy", x)
    assert main(call(run, tmp_path / "x.npy", "--copy-to", tmp_path / "out")) == 0
    files = {p.name: p for p in (tmp_path / "out").rglob("*.png")}
    assert {*files} == {f"{i:02d}.png" for i in range(12)}
    for i in range(12):
        np.testing.assert_array_equal(np.asarray(Image.open(files[f"{i:02d}.png"])), x[i])


def test_links_that_cannot_be_made_are_refused_before_the_work(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((12, 8, 8), np.uint8))
    pack(photos, tmp_path / "packed.npy", progress=False)  # which has names of files
    monkeypatch.setattr(method, "encoded", None)
    links = tmp_path / "links"
    for name in ("x.npy", "packed.npy"):
        with pytest.raises(ValueError, match=rf"link_to: the images of {name} are no files"):
            commands.cluster(run, str(tmp_path / name), link_to=links, progress=False)
    with pytest.raises(ValueError, match="link_to: .*links is copy_to, too"):
        commands.cluster(run, str(photos), link_to=links, copy_to=links, progress=False)
    assert not links.exists()


@pytest.mark.parametrize("option", ["--copy-to", "--link"])
def test_a_folder_with_something_in_it_is_refused_before_the_work(
    option: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "copy_to" if option == "--copy-to" else "link_to"
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    for out, message in ((full, "not empty"), (photos / "sorted", "twice")):
        assert main(call(tmp_path / "no run", photos, option, out)) == 1
        error = capsys.readouterr().err
        assert f"{name}: {out}" in error
        assert message in error
    assert [p.name for p in full.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert main(call(run, photos, "--copy-to", tmp_path / "out")) == 0
    assert sum(map(len, sorted_files(tmp_path / "out").values())) == 30


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left")])
def test_an_interruption_leaves_nothing(
    error: Any, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    copied: list[Any] = []
    copy2 = shutil.copy2

    def fail_at_the_fifth(source: Path, target: Path) -> None:
        copied.append(copy2(source, target))
        if len(copied) == 5:
            raise error

    monkeypatch.setattr(shutil, "copy2", fail_at_the_fifth)
    out = tmp_path / "out"
    assert main(call(run, photos, "--copy-to", out)) == (130 if error is KeyboardInterrupt else 1)
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    if error is KeyboardInterrupt:
        assert f"nothing was written to {out}" in capsys.readouterr().err


def test_folders_of_a_sweep_are_refused(run: Path, photos: Path, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert main(call(run, photos, "--clusters", "2-3", "--copy-to", tmp_path / "out")) == 1
    assert "copy_to" in capsys.readouterr().err
