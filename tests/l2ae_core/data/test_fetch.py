"""Downloads: which mirror is taken, what is refused, and what is left in the cache."""

import gzip
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l2ae_core.data import DataError, fetch, load, usps

PATH = "usps/zip.test"
HTML = b"<!DOCTYPE html><html><body>We have moved</body></html>"


def use(monkeypatch: pytest.MonkeyPatch, *urls: str) -> fetch.RemoteFile:
    file = replace(usps.FILES["test"], mirrors=urls)
    monkeypatch.setitem(usps.FILES, "test", file)
    return file


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


def test_download_then_cache(
    mirrors: Any, packed: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, mirrors.add("/zip.test.gz", packed[PATH]).replace("zip.test", "{}"))
    first = load("usps", split="test")
    assert len(first) == 3
    assert mirrors.hits == ["/zip.test.gz"]
    assert files_in(cache) == [PATH]
    assert load("usps", split="test").digest == first.digest
    assert mirrors.hits == ["/zip.test.gz"]  # the second came from the cache
    assert load("usps", split="test", data_dir=cache).digest == first.digest


def test_plain_payload_is_taken_too(
    mirrors: Any, published: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that say Content-Encoding: gzip reach us uncompressed."""
    use(monkeypatch, mirrors.add("/a.gz", published.payload[PATH]))
    assert len(load("usps", split="test")) == 3


@pytest.mark.usefixtures("terminal")
def test_a_download_shows_a_bar_unless_it_is_to_be_quiet(
    mirrors: Any, packed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], cache: Path,
) -> None:  # fmt: skip
    real = fetch.Bar
    monkeypatch.setattr(fetch, "Bar", lambda *, delay, **how: real(**how))
    use(monkeypatch, mirrors.add("/zip.test.gz", packed[PATH]).replace("zip.test", "{}"))
    load("usps", split="test", progress=False)
    assert capsys.readouterr().err == ""
    (cache / PATH).unlink()
    load("usps", split="test")
    assert "zip.test: 100%" in capsys.readouterr().err


BAD = {
    "404": ({"status": 404}, None, "404"),
    "503": ({"status": 503}, None, "503"),
    "HTML under status 200": ({}, HTML, "an HTML or XML page"),
    "connection closed early": ({"send": 200}, None, "IncompleteRead|Connection broken"),
    "cut gzip": ({}, lambda raw: raw[:-30], "truncated: the gzip data end too early"),
    "corrupt gzip": ({}, lambda raw: raw[:100] + b"\0\0\0\0" + raw[104:], "corrupt gzip data"),
    "another file": ({}, b"1 2 3\n", "wrong data: SHA-256 [0-9a-f]{64} but expected"),
    "nothing": ({}, b"", "empty"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_mirror_is_passed_over(
    mirrors: Any,
    packed: dict[str, bytes],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad: str,
) -> None:
    options, body, message = BAD[bad]
    raw = packed[PATH]
    wrong = body(raw) if callable(body) else raw if body is None else body
    bad_url = mirrors.add("/bad", wrong, **options)
    file = use(monkeypatch, bad_url, mirrors.add("/good", raw))
    assert len(load("usps", split="test")) == 3
    assert mirrors.hits == ["/bad", "/good"]

    (cache / PATH).unlink()
    use(monkeypatch, bad_url)
    with pytest.raises(DataError, match=message) as caught:
        load("usps", split="test")
    assert bad_url in str(caught.value)
    assert file.name in str(caught.value)
    assert files_in(cache) == []


def test_when_all_fail_each_is_listed_with_the_way_out(
    mirrors: Any, published: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = "http://127.0.0.1:1/zip.test.gz"  # a port that nothing listens on
    use(monkeypatch, nobody, mirrors.url("/missing"), mirrors.add("/page", HTML))
    with pytest.raises(DataError) as caught:
        load("usps", split="test")
    head, one, two, three, end = str(caught.value).splitlines()
    assert head == "zip.test: no mirror gave the right file"
    assert nobody in one
    assert re.search("/missing.*404", two)
    assert re.search("/page.*HTML", three)
    for way in ("--data-dir FOLDER", "data_dir=", "L2AE_DATA", "zip.test.gz"):
        assert way in end


def test_damaged_cache_is_replaced(
    mirrors: Any, packed: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, mirrors.add("/good", packed[PATH]))
    digest = load("usps", split="test").digest
    (cache / PATH).write_bytes((cache / PATH).read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"zip\.test: damaged, so it is downloaded again"):
        again = load("usps", split="test")
    assert again.digest == digest
    assert mirrors.hits == ["/good", "/good"]


def test_a_full_disk_leaves_nothing_in_the_cache(
    mirrors: Any, packed: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, mirrors.add("/good", packed[PATH]))

    def disk_full(self: Path, data: bytes) -> int:
        self.open("wb").close()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", disk_full)
        with pytest.warns(UserWarning, match=r"zip\.test: cannot be written .*No space left"):
            assert len(load("usps", split="test")) == 3
    assert list((cache / "usps").iterdir()) == []
    assert len(load("usps", split="test")) == 3
    assert mirrors.hits == ["/good", "/good"]


@pytest.mark.parametrize("where", ["in a file", "no home"])
def test_without_a_cache_the_download_is_used(
    mirrors: Any,
    packed: dict[str, bytes],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    use(monkeypatch, mirrors.add("/good", packed[PATH]))
    if where == "in a file":
        cache.write_text("a file where the folder would be")
    else:

        def homeless(project: str) -> str:
            raise RuntimeError("could not determine the home directory")

        monkeypatch.setattr("pooch.os_cache", homeless)
    with pytest.warns(UserWarning, match=r"zip\.test: (cannot be written|no cache)"):
        data = load("usps", split="test")
    assert len(data) == 3


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(
    published: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "zip.test.gz").write_bytes(gzip.compress(bytes(fetch.MAX_BYTES + 1), 1))
    with pytest.raises(DataError, match=r"zip\.test\.gz: more than .* uncompressed"):
        load("usps", split="test", data_dir=tmp_path)


def child(file: fetch.RemoteFile, cache: Path, before: str = "") -> subprocess.Popen[bytes]:
    """Start another process that obtains `file` into `cache`."""
    code = f"""
        import os, signal
        from pathlib import Path
        from l2ae_core.data import fetch
        fetch.cache_folder = lambda: Path({str(cache)!r})
        {before}
        fetch.obtain(fetch.{file!r}, None)
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])


def test_killed_while_downloading(
    mirrors: Any, packed: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, sent = mirrors.add_stalling("/slow", packed[PATH], 300)
    process = child(use(monkeypatch, url), cache)
    assert sent.wait(20)
    time.sleep(0.1)
    process.kill()
    process.wait()
    assert files_in(cache) == []
    use(monkeypatch, mirrors.add("/good", packed[PATH]))
    assert len(load("usps", split="test")) == 3


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_while_writing_the_cache(
    mirrors: Any, packed: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die = "Path.replace = lambda part, path: os.kill(os.getpid(), signal.SIGKILL)"
    file = use(monkeypatch, mirrors.add("/good", packed[PATH]))
    assert child(file, cache, die).wait() == -signal.SIGKILL
    assert not (cache / PATH).exists()  # the half-written file has another name
    (left,) = (cache / "usps").iterdir()
    assert len(load("usps", split="test")) == 3
    assert left.exists()  # for all we know another process is writing it now
    os.utime(left, (0, 0))
    assert len(load("usps", split="test")) == 3
    assert files_in(cache) == [PATH]


def test_the_real_tables_name_every_file_once() -> None:
    from l2ae_core.data import mnist

    files = [*usps.FILES.values(), *(f for pair in mnist.FILES.values() for f in pair)]
    assert len({f.path for f in files}) == len({f.sha256 for f in files}) == 6
    for file in files:
        assert len(file.sha256) == 64
        assert len(file.mirrors) >= 2
        assert all(m.startswith("https://") and m.endswith("{}.gz") for m in file.mirrors)
