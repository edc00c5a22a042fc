"""Folders that are links, lead in circles, cannot be listed, or have names that are no UTF-8."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core.data import DataError, load

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


def write(path: Path, grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), grey, np.uint8)).save(path)


@pytest.fixture
def all_images(tmp_path: Path) -> Path:
    """A folder with the classes cat and dog."""
    for i, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png")):
        write(tmp_path / "all" / name, 10 * i)
    return tmp_path / "all"


@pytest.fixture
def half(tmp_path: Path) -> Path:
    (tmp_path / "half").mkdir()
    return tmp_path / "half"


def test_linked_folders_are_classes(all_images: Path, half: Path) -> None:
    write(half / "cat" / "1.png", 200)
    (half / "dog").symlink_to(all_images / "dog")
    found = load(half)
    assert found.class_names == ("cat", "dog")
    assert found.sample_names == ("cat/1.png", "dog/1.png")
    np.testing.assert_allclose(found.images[:, 0, 0, 0] * 255, [200, 20], atol=1e-4)


def test_links_all_the_way(all_images: Path, half: Path, tmp_path: Path) -> None:
    """Of the folder itself, relative ones, links to links, and to files."""
    (half / "cat").symlink_to(Path("..") / "all" / "cat")
    (tmp_path / "first").symlink_to(all_images / "dog")
    (half / "dog").symlink_to(tmp_path / "first")
    (half / "bird").mkdir()
    (half / "bird" / "b.png").symlink_to(all_images / "dog" / "1.png")
    (tmp_path / "root").symlink_to(half)
    names = ("bird/b.png", "cat/1.png", "cat/2.png", "dog/1.png")
    assert load(half).sample_names == load(tmp_path / "root").sample_names == names


def test_hidden_links_are_passed_over(all_images: Path, half: Path) -> None:
    write(half / "a.png")
    (half / ".dog").symlink_to(all_images / "dog")
    (half / "__old").symlink_to(half / "nothing")
    (half / ".broken.png").symlink_to(half / "nothing")
    assert load(half).sample_names == ("a.png",)


@pytest.mark.parametrize("target", [".", "..", "../../all", "dog/up"])
def test_links_to_a_folder_above_add_nothing(all_images: Path, target: str) -> None:
    (all_images / "dog" / "up").symlink_to(".")
    (all_images / "dog" / "again").symlink_to(target if target != "dog/up" else "../dog/up")
    assert load(all_images).sample_names == ("cat/1.png", "cat/2.png", "dog/1.png")


def test_two_paths_to_one_folder_are_named(all_images: Path) -> None:
    (all_images / "felis").symlink_to("cat")
    with pytest.raises(DataError, match="count twice") as told:
        load(all_images)
    assert str(all_images / "cat") in str(told.value)
    assert str(all_images / "felis") in str(told.value)


def test_many_links_across_end_soon(tmp_path: Path) -> None:
    """Paths without a repeated folder would be 15! in number."""
    for i in range(15):
        (tmp_path / f"{i}").mkdir()
        for j in range(15):
            (tmp_path / f"{i}" / f"to{j}").symlink_to(f"../{j}")
    with pytest.raises(DataError, match="count twice"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["dog", "dog/2.png", "dog/notes.txt"])
@pytest.mark.parametrize("target", ["nothing", "itself"])
def test_links_that_lead_nowhere_are_named(all_images: Path, name: str, target: str) -> None:
    path = all_images / name
    if name == "dog":
        path = all_images / "fox"
    path.symlink_to(path.name if target == "itself" else target)
    with pytest.raises(DataError, match="leads nowhere") as told:
        load(all_images)
    assert str(path) in str(told.value)


def test_a_folder_that_cannot_be_listed_is_named(
    all_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def refusing(path: object = ".") -> object:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    if os.geteuid():
        (all_images / "dog").chmod(0)
    else:  # root may list everything
        monkeypatch.setattr(os, "scandir", refusing)
    try:
        with pytest.raises(DataError, match=r"dog: cannot be listed: Permission denied"):
            load(all_images)
    finally:
        (all_images / "dog").chmod(0o755)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.npz"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: not a regular file"):
        load(tmp_path / name)
    if name == "a.png":
        with pytest.raises(DataError, match=rf"{name}: not a regular file"):
            load(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_names_that_are_not_utf8_can_be_printed(tmp_path: Path) -> None:
    for name in (b"caf\xe9/\xff.png", "café/1.png".encode()):
        path = tmp_path / os.fsdecode(name)
        write(path)
    found = load(tmp_path)
    assert found.sample_names is not None
    assert found.class_names is not None
    assert sorted(found.sample_names) == ["caf\\xe9/\\xff.png", "café/1.png"]
    assert sorted(found.class_names) == ["caf\\xe9", "café"]
    (tmp_path / os.fsdecode(b"caf\xe9/\xff.png")).write_bytes(b"")
    with pytest.raises(DataError, match="cannot be decoded"):
        load(tmp_path)
