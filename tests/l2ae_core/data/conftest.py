"""Small stand-ins for the published files, and a server of mirrors on this machine."""

import gzip
import hashlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from l2ae_core.data import fetch, mnist, usps

from .packed import Reads

SIZES = {"train": 6, "test": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, no local folder in the environment, no proxy before the mirrors."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("pooch.os_cache", lambda project: folder)
    monkeypatch.delenv(fetch.ENVIRONMENT, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


def idx(array: np.ndarray) -> bytes:
    """Write the IDX format, independently of the reader."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def usps_text(labels: np.ndarray, values: np.ndarray) -> bytes:
    rows = zip(labels, values.reshape(len(values), -1), strict=True)
    return "".join(f"{d:.4f} " + " ".join(f"{v:.4f}" for v in x) + " \n" for d, x in rows).encode()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Synthetic MNIST and USPS under their own names and checksums.

    `payload` maps a path such as "mnist/train-images-idx3-ubyte" to bytes; `pixels`, `values` and
    `labels` hold by split what these say.
    """
    rng = np.random.default_rng(7)
    made = SimpleNamespace(payload={}, pixels={}, values={}, labels={}, mirrors=[])

    def file(path: str, samples: int, data: bytes) -> fetch.RemoteFile:
        made.payload[path] = data
        return fetch.RemoteFile(path, samples, hashlib.sha256(data).hexdigest(), ("http://x/{}",))

    mnist_files, usps_files = {}, {}
    for split, n in SIZES.items():
        made.pixels[split] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        made.labels[split] = rng.integers(0, 10, n)
        made.values[split] = rng.integers(-1000, 1001, (n, 16, 16)) / 1000
        names = [f.path for f in mnist.FILES[split]]
        images, labels = idx(made.pixels[split]), idx(made.labels[split].astype(np.uint8))
        mnist_files[split] = (file(names[0], n, images), file(names[1], n, labels))
        text = usps_text(made.labels[split], made.values[split])
        usps_files[split] = file(usps.FILES[split].path, n, text)
    monkeypatch.setattr(mnist, "FILES", mnist_files)
    monkeypatch.setattr(usps, "FILES", usps_files)
    return made


@pytest.fixture
def local(published: SimpleNamespace, tmp_path: Path) -> Path:
    """A folder with every published file, uncompressed, in the sub-folders mnist and usps."""
    root = tmp_path / "local"
    for path, data in published.payload.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


class Mirrors:
    """Answers by path; `hits` counts the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.hits: list[str] = []
        mirrors = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirrors.hits.append(self.path)
                mirrors.answers.get(self.path, not_found)(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def add(self, path: str, body: bytes, *, send: int | None = None, status: int = 200) -> str:
        """Answer `path` with `body`, of which only `send` bytes arrive; return the address."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:send])

        self.answers[path] = answer
        return self.url(path)

    def add_stalling(self, path: str, body: bytes, send: int) -> tuple[str, threading.Event]:
        """Send `send` bytes, set the event, then say nothing until the client has gone."""
        sent = threading.Event()

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:send])
            handler.wfile.flush()
            sent.set()
            for _ in range(500):
                try:
                    handler.connection.send(b"")
                    time.sleep(0.01)
                except OSError:
                    return

        self.answers[path] = answer
        return self.url(path), sent


def not_found(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


@pytest.fixture
def mirrors() -> Iterator[Mirrors]:
    served = Mirrors()
    yield served
    served.server.shutdown()
    served.thread.join()
    served.server.server_close()


@pytest.fixture
def packed(published: SimpleNamespace) -> dict[str, bytes]:
    """The published files as gzip."""
    return {path: gzip.compress(data) for path, data in published.payload.items()}


@pytest.fixture
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for it: what a power cut leaves is not tested, and a kill leaves all writes."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)
