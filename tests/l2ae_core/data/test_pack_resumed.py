"""`pack` that was interrupted or killed goes on, or says why it does not."""

import os
import shutil
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core.data import DataError, Preparation, load, pack, packing
from l2ae_core.locks import locked

from ..faults import Fault, ctrl_c, full_disk, in_child, kill
from .packed import COLOUR, DEEP, GREY, Reads, npy, same, write

pytestmark = pytest.mark.usefixtures("fast_disk")


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


def test_files_that_were_one_of_a_list_and_are_missing(tmp_path: Path, reads: Reads) -> None:
    """A shorter list than before is another one, also where a file stands in it twice."""
    path, out = write(tmp_path / "in", a=GREY) / "a.png", tmp_path / "a.npy"
    write(tmp_path / "in", b=GREY)
    reads.stop = "b"
    with pytest.raises(KeyboardInterrupt):
        pack([path, path, path.with_stem("b")], out, progress=False)
    with pytest.raises(DataError, match=r"a\.png is not there any more"):
        pack([path], out, progress=False)


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


@pytest.mark.slow
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
