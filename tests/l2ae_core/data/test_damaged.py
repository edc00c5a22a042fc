"""Folders with files that cannot be read: all are named, or left out when asked for."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core.data import DataError, Preparation, load

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight images in two classes, and nine files between them that are none."""
    for i in range(8):
        path = tmp_path / "photos" / f"{'ab'[i % 2]}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (6, 6), dtype=np.uint8)).save(path)
        path.with_name(f"{i}_bad.png").write_bytes(path.read_bytes()[: 10 * i])
    frames = [Image.fromarray(RNG.integers(0, 256, (6, 6), dtype=np.uint8)) for _ in range(2)]
    frames[0].save(tmp_path / "photos/a/moving.gif", save_all=True, append_images=frames[1:])
    return tmp_path / "photos"


def test_all_are_counted_and_the_first_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"9 of 17 files cannot be read.*--skip-unreadable") as told:
        load(folder)
    lines = str(told.value).splitlines()[1:]
    bad = [str(folder / "a" / f"{i}_bad.png") for i in (0, 2, 4, 6)]
    assert [line.strip().partition(": ")[0] for line in lines[:4]] == bad
    assert "moving.gif: has 2 frames" in lines[4]
    assert lines[5:] == ["  and 4 more"]


def test_one_bad_file(folder: Path) -> None:
    for path in [*folder.glob("*/*_bad.png"), folder / "a/moving.gif"]:
        path.unlink()
    (folder / "b/1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"b/1\.png: cannot be decoded.*--skip-unreadable") as told:
        load(folder)
    assert "\n" not in str(told.value)


def test_the_others_keep_their_names_and_classes(folder: Path) -> None:
    found = load(folder, skip_unreadable=True)
    assert found.sample_names == ("a/0.png", "a/2.png", "a/4.png", "a/6.png", "b/1.png", "b/3.png",
                                  "b/5.png", "b/7.png")  # fmt: skip
    for name, image in zip(found.sample_names, found.images, strict=True):
        np.testing.assert_array_equal(image, load(folder / name).images[0])
    assert found.labels is not None
    assert found.labels.tolist() == [0] * 4 + [1] * 4
    assert len(found.notes) == 1
    assert found.notes[0].startswith("left out 9 of 17 files")
    for path in [*folder.glob("*/*_bad.png"), folder / "a/moving.gif"]:
        path.unlink()
    whole = load(folder)
    assert whole.digest == found.digest
    assert whole.notes == ()


def test_of_a_list_of_files_too(folder: Path) -> None:
    paths = sorted(folder.glob("*/*.png"), reverse=True)
    found = load(paths, skip_unreadable=True)
    good = [str(path) for path in paths if "bad" not in path.name]
    assert found.sample_names == tuple(good)
    assert found.labels is None
    np.testing.assert_array_equal(found.images[2], load(good[2]).images[0])
    for wrong in ([], [folder / "a.txt"], ""):
        with pytest.raises(DataError, match=r"files is empty|ends in '\.txt'|the path is empty"):
            load(wrong)


def test_links_to_nothing_are_left_out(folder: Path) -> None:
    (folder / "a/link.png").symlink_to("nothing")
    (folder / "c").symlink_to("nowhere")
    found = load(folder, skip_unreadable=True)
    assert found.class_names == ("a", "b")
    assert found.notes[0].startswith("left out 11 of 19 files")


def test_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="no file can be read"):
        load(tmp_path, skip_unreadable=True)


def test_what_a_setting_would_take_is_not_left_out(folder: Path) -> None:
    Image.fromarray(RNG.integers(0, 256, (6, 6, 4), dtype=np.uint8)).save(folder / "b/clear.png")
    for i in range(3):
        deep = RNG.integers(0, 65536, (6, 6), dtype=np.uint16)
        Image.fromarray(deep).save(folder / f"b/deep{i}.png")
    with pytest.raises(DataError, match="deep0.png and 2 more of 21: .*--depth auto") as told:
        load(folder, skip_unreadable=True)
    assert "clear.png: has transparent pixels" in str(told.value)
    assert "cannot be read" not in str(told.value)
    with pytest.raises(DataError, match=r"9 of 21 files cannot be read(.|\n)*--depth auto"):
        load(folder)
    how = Preparation(depth="auto", background="black")
    assert len(load(folder, preparation=how, skip_unreadable=True)) == 12


def test_pixels_of_refused_images_do_not_fill_the_memory(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (200, 200, 4), dtype=np.uint8)
    for i in range(30):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png", compress_level=0)
        (tmp_path / f"{i}_cut.png").write_bytes((tmp_path / f"{i}.png").read_bytes()[:-30_000])
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="30 of 60 files cannot be read"):
            load(tmp_path, progress=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * pixels.nbytes, f"that of {peak / pixels.nbytes:.0f} images"


def test_labels_are_not_read_when_not_asked_for(folder: Path) -> None:
    found = load(folder, skip_unreadable=True, labels=False)
    assert (found.labels, found.class_names) == (None, None)
    np.savez(folder / "a.npz", X=RNG.random((3, 4, 4)), y=[1, 2, 3])
    assert load(folder / "a.npz", labels=False).labels is None


def test_images_beside_the_classes_are_told(folder: Path) -> None:
    Image.fromarray(RNG.integers(0, 256, (6, 6), dtype=np.uint8)).save(folder / "stray.png")
    found = load(folder, skip_unreadable=True)
    assert found.labels is None
    assert "stray.png" in found.notes[1]
    assert len(load(folder, skip_unreadable=True, labels=False).notes) == 1
