"""`pack`: the file gives what its source gives, with its names."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core.cli import main
from l2ae_core.data import DataError, Preparation, StoredImages, load, pack
from l2ae_core.data.file_array import FileArray

from .packed import CLEAR, COLOUR, DEEP, GREY, PLAIN, RNG, WIDE, Reads, npy, npz, same, write

pytestmark = pytest.mark.usefixtures("fast_disk")


def files(folder: Path) -> list[Path]:
    return sorted(write(folder, b=COLOUR, a=GREY).iterdir(), reverse=True)


SIZED = Preparation(size=(4, 8), background="white")
SOURCES: dict[str, tuple[Callable[[Path], Any], Preparation, str]] = {
    "grey": (lambda p: write(p, a=GREY, b=GREY // 2), PLAIN, "uint8"),
    "classes": (lambda p: write(p, dog__a=GREY, cat__x__b=GREY, Zoo__c=GREY), PLAIN, "uint8"),
    "stray": (lambda p: write(p, dog__a=GREY, b=GREY), PLAIN, "uint8"),
    "colour later": (lambda p: write(p, a=GREY, b=GREY, c=COLOUR, d=GREY), PLAIN, "uint8"),
    "deep later": (
        lambda p: write(p, a=GREY, b=COLOUR, c=DEEP, d=GREY), Preparation(depth="auto"), "float32"
    ),
    "deep, then colour": (
        lambda p: write(p, a=DEEP, b=COLOUR), Preparation(depth="auto"), "float32"
    ),
    "sized": (lambda p: write(p, a=GREY, b=WIDE, c=CLEAR), SIZED, "float32"),
    "as grey": (lambda p: write(p, a=GREY, b=COLOUR), Preparation(grey=True), "float32"),
    "odd names": (lambda p: write(p, **{'a,"b\n\r\té': GREY, "c": GREY, "d e'": GREY}), PLAIN,
                  "uint8"),
    "list": (files, PLAIN, "uint8"),
    "text": (lambda p: [str(path) for path in files(p)], PLAIN, "uint8"),
    "one image": (lambda p: write(p, a=COLOUR) / "a.png", PLAIN, "uint8"),
    "npz": (lambda p: npz(p, x=GREY[None], y=np.array([-7])), PLAIN, "uint8"),
    "npz with names": (lambda p: npz(p, x=np.stack([GREY, GREY]), y=np.array(["b", "a,"])), PLAIN,
                       "uint8"),
    "rows": (lambda p: npy(p, GREY.reshape(3, 10)), Preparation(image_shape=(5, 2)), "uint8"),
    "levels": (lambda p: npy(p, DEEP[None]), Preparation(depth="0:65535", size=(3, 3)), "float32"),
    "array": (lambda p: COLOUR[None] / 255, SIZED, "float32"),
    "Pillow": (lambda p: [Image.fromarray(GREY), Image.fromarray(WIDE)], SIZED, "float32"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_a_packed_file_gives_what_its_source_gives(name: str, tmp_path: Path) -> None:
    make, preparation, dtype = SOURCES[name]
    (tmp_path / "in").mkdir()
    source, out = make(tmp_path / "in"), tmp_path / "out" / "images.npy"
    expected = load(source, preparation=preparation)
    done = pack(source, out, preparation=preparation, progress=False)
    assert (done.dtype, done.shape, done.notes) == (dtype, expected.images.shape, expected.notes)
    for chosen in (PLAIN, Preparation(size=preparation.size, grey=preparation.grey,
                                      background=preparation.background)):  # fmt: skip
        found = load(out, preparation=chosen)
        same(found, expected)
        assert isinstance(found.images, StoredImages)
        assert isinstance(found.images.stored, FileArray)
    np.testing.assert_array_equal(np.load(out).shape, done.shape)  # NumPy reads it, too
    named = expected.sample_names is not None or expected.labels is not None
    left = {path.name for path in out.parent.iterdir()}
    assert left == {"images.npy", "images.npy.csv"} if named else {"images.npy"}


def test_names_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    try:
        write(tmp_path / "in", **{"\udce9__a": GREY, "z__b": GREY})
    except OSError:
        pytest.skip("a file system with names of text alone")
    pack(tmp_path / "in", tmp_path / "a.npy", progress=False)
    same(load(tmp_path / "a.npy"), load(tmp_path / "in"))
    assert load(tmp_path / "a.npy").class_names == ("z", r"\xe9")  # in the order of the bytes


def test_names_are_found_behind_a_link(tmp_path: Path) -> None:
    folder, link = write(tmp_path / "in", dog__a=GREY, cat__b=GREY), tmp_path / "link.npy"
    (tmp_path / "data").mkdir()
    link.symlink_to("data/a.npy")
    pack(folder, link, progress=False)
    assert link.is_symlink()
    for path in (link, tmp_path / "data" / "a.npy"):
        same(load(path), load(folder))


def test_without_labels_there_are_names_alone(tmp_path: Path) -> None:
    write(tmp_path / "in", dog__a=GREY, cat__b=GREY)
    pack(tmp_path / "in", tmp_path / "a.npy", labels=False, progress=False)
    assert (tmp_path / "a.npy.csv").read_text() == "file\ncat/b.png\ndog/a.png\n"
    pack(npy(tmp_path / "in", GREY[None]), tmp_path / "a.npy", progress=False)
    assert not (tmp_path / "a.npy.csv").exists()  # which would be of other images


@pytest.mark.parametrize(
    ("images", "options"),
    [({"a": GREY, "b": WIDE, "c": CLEAR, "d": DEEP}, PLAIN), ({"a": GREY, "b": WIDE}, PLAIN),
     ({"a": b"none"}, PLAIN), ({"a": CLEAR}, Preparation(grey=True))],
)  # fmt: skip
def test_what_load_refuses_is_refused_and_leaves_nothing(
    images: dict[str, Any], options: Preparation, tmp_path: Path
) -> None:
    folder = write(tmp_path / "in", **images)
    with pytest.raises(DataError) as expected:
        load(folder, preparation=options, skip_unreadable=True)
    with pytest.raises(DataError) as found:
        pack(folder, tmp_path / "a.npy", preparation=options, skip_unreadable=True, progress=False)
    assert str(found.value) == str(expected.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "columns"), ("file\n", "0 rows but 2 images"), ("file\na\nb\nc\n", "more rows"),
     ("label,file\n1,a\n1,b\n", "columns"), ("file,label\na,1\nb\n", "row 2 has 1 value "),
     ("label\n1\nx\n", "label 'x'"), ("label,class\n0,a\n2,b\n", "0, 1, 2"),
     ("label,class\n0,a\n0,b\n", "label 0 is"), ("class\na\nb\n", "no label"),
     ('file\n"a\nb\n', "does not go with"), ("file\n\udcff\nb\n", "does not go with"),
     ("label\n1\n" + "9" * 30 + "\n", "expected an integer"), ("file\na\0\n\nb\n", "has 0|NUL")],
)  # fmt: skip
def test_names_that_do_not_fit_are_refused(text: str, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([GREY, GREY]))
    (tmp_path / "a.npy.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=rf"a\.npy\.csv: .*({message})"):
        load(tmp_path / "a.npy")


def test_other_content_where_the_names_go_is_refused_before_the_work(
    tmp_path: Path, reads: Reads
) -> None:
    folder, table = write(tmp_path / "in", a=GREY), tmp_path / "a.npy.csv"
    for text in ("index,cluster\n0,3\n", "mine", ""):
        table.write_text(text)
        for source in (folder, npy(tmp_path / "in", GREY[None])):
            with pytest.raises(ValueError, match=r"out: .*a\.npy\.csv, .* has other content"):
                pack(source, tmp_path / "a.npy", progress=False)
        assert table.read_text() == text
    assert reads.taken() == ""
    table.write_text("file,label,class\n")  # names of a file that was removed
    pack(folder, tmp_path / "a.npy", progress=False)
    same(load(tmp_path / "a.npy"), load(folder))


@pytest.mark.slow
def test_names_take_their_bytes_and_few_more(tmp_path: Path) -> None:
    N, folder = 100_000, "photos/of/a/camera"
    np.save(tmp_path / "a.npy", np.zeros((N, 1, 1), np.uint8))
    expected = [f"{folder}/{i:07}.png" for i in range(N)]
    with (tmp_path / "a.npy.csv").open("w") as file:
        file.writelines(["file,label\n", *(f"{name},{i % 3}\n" for i, name in enumerate(expected))])
    load(tmp_path / "a.npy", progress=False)  # what is imported stays
    tracemalloc.start()
    try:
        found = load(tmp_path / "a.npy", progress=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < (2 * len(expected[0]) + 40) * N, f"{peak / N:.0f} bytes an image"
    names = found.sample_names
    assert names is not None
    assert names == expected
    assert (names[0], names[-1], names[5:8]) == (expected[0], expected[-1], expected[5:8])
    assert names != expected[1:]
    with pytest.raises(IndexError):
        names[N]
    assert found.subset([7, 3]).sample_names == (expected[7], expected[3])


def test_the_images_are_not_written_over(tmp_path: Path) -> None:
    path = npy(tmp_path, RNG.integers(0, 256, (3, 6, 5), np.uint8))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"out: .*a.npy is the file of the images"):
        pack(path, path, preparation=SIZED, progress=False)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_out_is_checked_before_the_work(tmp_path: Path, reads: Reads) -> None:
    folder = write(tmp_path / "in", a=GREY)
    with pytest.raises(ValueError, match=r"out: .*expected \.npy"):
        pack(folder, tmp_path / "a.npz", progress=False)
    (tmp_path / "b.npy").mkdir()
    with pytest.raises(IsADirectoryError):
        pack(folder, tmp_path / "b.npy", progress=False)
    assert reads.taken() == ""


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = {f"{c}__{i}": RNG.integers(0, 256, (8, 8), np.uint8) for c in "ab" for i in range(9)}
    folder, out = write(tmp_path / "in", **images, b__z=b"none"), tmp_path / "a.npy"
    assert main(["pack", str(folder), str(out), "--quiet"]) == 1
    assert "--skip-unreadable" in capsys.readouterr().err
    assert main(["pack", str(folder), str(out), "--quiet", "--skip-unreadable"]) == 0
    told = capsys.readouterr()
    assert told.out.endswith("18 images 8×8×1 uint8, 0.00 MB, went on after 19 files\n")
    assert "left out 1 of 19" in told.err
    assert main(["pack", str(folder), str(out), "--fit", "crop"]) == 1
    assert main(["look", str(out), "--quiet"]) == 0
    assert "classes          2: a (9), b (9)" in capsys.readouterr().out


def test_a_run_of_a_packed_file_is_that_of_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = {f"{c}__{i}": RNG.integers(0, 256, (8, 8), np.uint8) for c in "ab" for i in range(9)}
    folder, out = write(tmp_path / "in", **images), tmp_path / "a.npy"
    pack(folder, out, progress=False)
    options = ["--clusters", "2", "--epochs", "1", "--n-init", "1", "--quiet", "--model", "dense",
               "--hidden", "8,8,8"]  # fmt: skip
    files, tables = [], []
    for data, run in [(folder, tmp_path / "a"), (out, tmp_path / "b")]:
        assert main(["fit", "--data", str(data), "--out", str(run), *options]) == 0
        files.append((run / "clusters.npz").read_bytes())
        capsys.readouterr()
        assert main(["score", str(run)]) == 0
        tables.append(capsys.readouterr().out)
    assert files[0] == files[1]
    assert tables[0] == tables[1]
    assert "a/0.png" in tables[0]
    assert main(["cluster", str(run), "--copy-to", str(tmp_path / "sorted")]) == 0
    assert len(list((tmp_path / "sorted").rglob("*.png"))) == 18
