"""`pack`: the file gives what its source gives, whatever interrupts the writing."""

import os
import shutil
import tracemalloc
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core.cli import main
from l2ae_core.data import DataError, Dataset, Preparation, StoredImages, load, pack, packing
from l2ae_core.data.file_array import FileArray
from l2ae_core.locks import locked

from ..faults import Fault, ctrl_c, full_disk, in_child, kill

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (6, 5), np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 3), np.uint8)
CLEAR = RNG.integers(0, 256, (6, 5, 4), np.uint8)
DEEP = RNG.integers(0, 65536, (6, 5), np.uint16)
WIDE = RNG.integers(0, 256, (6, 9), np.uint8)
PLAIN = Preparation()


def write(folder: Path, **images: np.ndarray | bytes) -> Path:
    """Write images by name, "cat__a" to cat/a.png; bytes are no image."""
    for name, pixels in images.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(pixels, bytes):
            path.write_bytes(pixels)
        else:
            Image.fromarray(pixels).save(path)
    return folder


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


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


def same(found: Dataset, expected: Dataset) -> None:
    np.testing.assert_array_equal(np.asarray(found.images), np.asarray(expected.images))
    assert found.digest == expected.digest
    assert (found.sample_names, found.class_names) == (expected.sample_names, expected.class_names)
    assert (found.labels is None) == (expected.labels is None)


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


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut leaves is not tested, and a kill leaves what was written."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


class Reads:
    """Which files are decoded; `stop` at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.stop: str | None = None
        read_image = packing.read_image

        def counted(path: Path, preparation: Preparation) -> np.ndarray:
            if path.stem == self.stop:
                raise KeyboardInterrupt
            self.names.append(path.stem)
            return read_image(path, preparation)

        monkeypatch.setattr(packing, "read_image", counted)

    def taken(self) -> str:
        names, self.names = "".join(self.names), []
        return names


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
def stopped(tmp_path: Path, reads: Reads) -> Path:
    """A folder whose images a, b and c are packed to a.npy, and d and e are not yet."""
    folder = write(tmp_path / "in", a=GREY, b=b"none", c=COLOUR, d=GREY, e=COLOUR)
    reads.stop = "d"
    with pytest.raises(KeyboardInterrupt) as caught:
        pack(folder, tmp_path / "a.npy", progress=False)
    assert caught.value.__notes__ == ["interrupted after 3 of 5 files; the same command goes on"]
    assert reads.taken() == "abc"
    assert not (tmp_path / "a.npy").exists()
    reads.stop = None
    return folder


def test_an_interrupted_call_goes_on(stopped: Path, tmp_path: Path, reads: Reads) -> None:
    out = tmp_path / "a.npy"
    write(stopped, dd=GREY)  # comes later than what was read
    with pytest.raises(DataError, match=r"b\.png.*--skip-unreadable"):
        pack(stopped, out, progress=False)
    assert reads.taken() == "ddde"
    done = pack(stopped, out, skip_unreadable=True, progress=False)
    assert reads.taken() == ""  # with that option it goes on, too
    assert done.before == 6
    same(load(out), load(stopped, skip_unreadable=True))
    assert "left out 1 of 6 file" in done.notes[0]


def removed(folder: Path) -> None:
    (folder / "a.png").unlink()


def touched(folder: Path) -> None:
    os.utime(folder / "a.png", ns=(0, 0))


def mended(folder: Path) -> None:
    write(folder, b=GREY)


def added(folder: Path) -> None:
    write(folder, aa=GREY)


@pytest.mark.parametrize(
    ("change", "message"),
    [(removed, r"a\.png is not there any more"), (touched, r"a\.png has changed since"),
     (mended, r"b\.png has changed since"), (added, r"aa\.png was not there then")],
)  # fmt: skip
def test_other_files_than_before_are_refused(
    change: Callable[[Path], None], message: str, stopped: Path, tmp_path: Path
) -> None:
    change(stopped)
    with pytest.raises(DataError, match=rf"\.a\.npy\.pack.*: .*{message}; .*remove its folder"):
        pack(stopped, tmp_path / "a.npy", skip_unreadable=True, progress=False)
    shutil.rmtree(tmp_path / ".a.npy.pack")
    pack(stopped, tmp_path / "a.npy", skip_unreadable=True, progress=False)
    same(load(tmp_path / "a.npy"), load(stopped, skip_unreadable=True))


def test_another_source_or_preparation_is_refused(stopped: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.npy"
    with pytest.raises(DataError, match="an unfinished pack with grey False, not True"):
        pack(stopped, out, preparation=Preparation(grey=True), progress=False)
    with pytest.raises(DataError, match=r"an unfinished pack of .*/in, not .*/other"):
        pack(write(tmp_path / "other", a=GREY), out, progress=False)
    with pytest.raises(DataError, match="an unfinished pack of image files"):
        pack(npy(tmp_path / "other", GREY[None]), out, progress=False)
    with locked(out), pytest.raises(BlockingIOError, match="in use"):
        in_a_thread(lambda: pack(stopped, out, progress=False))


def in_a_thread(call: Callable[[], object]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(call).result()


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


@pytest.mark.parametrize("name", ["state.json", "files.csv", "images-u1-3"])
@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b'{"source": 3}', b"a,1,2\nb", None])
def test_a_damaged_state_is_refused_or_begun_anew(
    name: str, damage: bytes | None, stopped: Path, tmp_path: Path
) -> None:
    path = tmp_path / ".a.npy.pack" / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    if damage is None and name != "files.csv":  # nothing to go on with
        pack(stopped, tmp_path / "a.npy", skip_unreadable=True, progress=False)
        same(load(tmp_path / "a.npy"), load(stopped, skip_unreadable=True))
        return
    with pytest.raises(DataError, match=r"\.a\.npy\.pack.*: damaged: .*remove its folder"):
        pack(stopped, tmp_path / "a.npy", skip_unreadable=True, progress=False)


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


def test_files_that_were_one_of_a_list_and_are_missing(tmp_path: Path, reads: Reads) -> None:
    """A shorter list than before is another one, also where a file stands in it twice."""
    path, out = write(tmp_path / "in", a=GREY) / "a.png", tmp_path / "a.npy"
    write(tmp_path / "in", b=GREY)
    reads.stop = "b"
    with pytest.raises(KeyboardInterrupt):
        pack([path, path, path.with_stem("b")], out, progress=False)
    with pytest.raises(DataError, match=r"a\.png is not there any more"):
        pack([path], out, progress=False)


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="trials are forked")
@pytest.mark.parametrize("strike", [kill, full_disk])
def test_an_array_never_stands_beside_names_of_another(
    strike: Callable[[Any], None], tmp_path: Path
) -> None:
    old, new = tmp_path / "old.npz", tmp_path / "new.npz"
    np.savez(old, x=np.stack([GREY, GREY // 2]), y=np.array(["a", "b"]))
    np.savez(new, x=np.stack([GREY // 3, GREY]), y=np.array(["d", "c"]))
    both, out, kept = [load(old).digest, load(new).digest], tmp_path / "a.npy", 0
    for at in range(1, 1000):
        pack(old, out, progress=False)
        fault = Fault(at, strike)

        def again(fault: Fault = fault) -> int:
            pack(new, out, progress=False)
            return HARMLESS if fault.count >= fault.at else 0

        status = in_child(again, fault)
        if out.exists():
            kept += load(out).digest == both[0]
            assert load(out).digest in both, at
        if status == 0:
            break
    assert at > 10
    assert kept > at / 3  # until the new names are on the disk
    assert load(out).digest == both[1]


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


HARMLESS = 4  # exit status of a trial that a fault did not hinder
DEEP_TOO = Preparation(depth="auto")


def trial(folder: Path, out: Path, fault: Fault) -> Callable[[], int]:
    def packed() -> int:
        packing.EVERY = -1.0  # a state after every image
        pack(folder, out, preparation=DEEP_TOO, skip_unreadable=True, progress=False)
        return HARMLESS if fault.count >= fault.at else 0

    return packed


class WithData(Fault):
    """A fault that strikes at the writes of images, too."""

    def install(self) -> None:
        super().install()
        packing.FileIO = packing_file(self)  # type: ignore[misc]


def packing_file(fault: Fault) -> type[FileIO]:
    class Faulty(FileIO):
        def write(self, data: Any) -> int:
            if fault.strikes():
                super().write(memoryview(data).cast("B")[: len(data) // 2])
                fault.strike(self.fileno())
            return super().write(data)

    return Faulty


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="trials are forked")
@pytest.mark.parametrize("strike", [kill, ctrl_c, full_disk])
@pytest.mark.parametrize("again", [False, True])
def test_nothing_is_lost_at_any_write(
    strike: Callable[[Any], None], again: bool, tmp_path: Path
) -> None:
    """Nor does an array ever stand beside the names of others, where one takes another's place."""
    folder = write(tmp_path / "in", x__a=GREY, x__b=COLOUR, y__c=b"none", y__d=DEEP, z__e=GREY)
    expected = load(folder, preparation=DEEP_TOO, skip_unreadable=True)
    old = write(tmp_path / "old", **{f"old__{i}": GREY // 2 for i in range(len(expected))})
    struck = 0
    for at in range(1, 1000, 1 if strike is kill else 3):
        out, fault = tmp_path / str(at) / "a.npy", WithData(at, strike)
        if again:
            pack(old, out, progress=False)
        status = in_child(trial(folder, out, fault), fault)
        if out.exists():
            found = load(out)
            same(found, load(old) if found.class_names == ("old",) else expected)
        if status == 0:  # there are no more
            break
        struck += status != HARMLESS
        if status != HARMLESS:
            pack(folder, out, preparation=DEEP_TOO, skip_unreadable=True, progress=False)
        else:  # the file of the lock stays where the system does not remove it
            out.with_name(".a.npy.lock").unlink(missing_ok=True)
        same(load(out), expected)
        assert {path.name for path in out.parent.iterdir()} == {"a.npy", "a.npy.csv"}, at
        shutil.rmtree(out.parent)
    assert struck > (60 if strike is kill else 15)


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
