"""Files written byte by byte: more than 8 bits a channel are refused, fewer are scaled."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core.data import DataError, Preparation, load

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 4096, (8, 8, 4)).astype(">u2")  # of a camera of 12 bits
OPAQUE = DEEP.copy()
OPAQUE[..., 3] = 65535


def png(
    bits: int, colour: int, pixels: np.ndarray, *more: tuple[bytes, bytes], W: int = 8
) -> bytes:
    """A PNG, W pixels wide; `pixels` (H, bytes of a row) as they are stored, with no filter."""
    H = len(pixels)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", W, H, bits, colour, 0, 0, 0)), *more,
             (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts
    )


def tiff(
    pixels: np.ndarray,
    *,
    photometric: int,
    bits: int,
    planar: int = 1,
    W: int = 8,
    order: str = ">",
    deflate: bool = False,
) -> bytes:
    """A TIFF, big-endian or, with order "<", not; channels beyond the photometric are alpha."""
    H, _, C = pixels.shape
    base = {0: 1, 1: 1, 2: 3, 5: 4}[photometric]
    pixels = pixels.astype(pixels.dtype.newbyteorder(order))
    content = np.moveaxis(pixels, 2, 0).tobytes() if planar == 2 else pixels.tobytes()
    each = [content[i * len(content) // C :][: len(content) // C] for i in range(C)]
    strips = each if planar == 2 else [content]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    tags = {256: [W], 257: [H], 258: [bits] * C, 259: [8 if deflate else 1], 262: [photometric],
            273: [0], 277: [C], 278: [H], 279: [len(s) for s in strips], 284: [planar]}  # fmt: skip
    if base < C:
        tags[338] = [2] * (C - base)
    where = 8 + 2 + 12 * len(tags) + 4
    data = b"".join(strips)
    starts = np.cumsum([0, *map(len, strips[:-1])]) + where
    tags[273] = [int(s) for s in starts]
    entries, extra = b"", b""
    for tag in sorted(tags):
        values = tags[tag]
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            offset = where + len(data) + len(extra)
            extra += packed
            packed = struct.pack(f"{order}I", offset)
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed
    mark = b"MM\0*" if order == ">" else b"II*\0"
    return mark + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4) + data + extra


def pnm(magic: bytes, largest: int, values: np.ndarray) -> bytes:
    H, W = values.shape[:2]
    plain = magic in (b"P2", b"P3")
    text = " ".join(map(str, values.ravel().tolist())).encode()
    return b"%s\n%d %d\n%d\n" % (magic, W, H, largest) + (text if plain else values.tobytes())


DEEP_FILES: dict[str, Callable[[], bytes]] = {
    "grey.png": lambda: png(16, 0, DEEP[..., :1]),
    "colour.png": lambda: png(16, 2, DEEP[..., :3]),
    "grey_alpha.png": lambda: png(16, 4, DEEP[..., :2]),
    "alpha.png": lambda: png(16, 6, DEEP),
    "opaque.png": lambda: png(16, 6, OPAQUE),
    "key.png": lambda: png(16, 2, DEEP[..., :3], (b"tRNS", struct.pack(">HHH", 5000, 0, 0))),
    "grey.tif": lambda: tiff(DEEP[..., :1], photometric=1, bits=16),
    "colour.tif": lambda: tiff(DEEP[..., :3], photometric=2, bits=16),
    "planar.tif": lambda: tiff(DEEP[..., :3], photometric=2, bits=16, planar=2),
    "alpha.tiff": lambda: tiff(DEEP, photometric=2, bits=16),
    "cmyk.tif": lambda: tiff(DEEP, photometric=5, bits=16),
    "wide.tif": lambda: tiff(DEEP[..., :1].astype(">u4"), photometric=1, bits=32),
    "grey.pgm": lambda: pnm(b"P5", 65535, DEEP[..., 0]),
    "twelve.pgm": lambda: pnm(b"P5", 4095, DEEP[..., 0]),
    "nine.pgm": lambda: pnm(b"P5", 256, (DEEP[..., 0] % 257).astype(">u2")),
    "colour.ppm": lambda: pnm(b"P6", 65535, DEEP[..., :3]),
    "twelve.ppm": lambda: pnm(b"P6", 4095, DEEP[..., :3]),
    "nine.pnm": lambda: pnm(b"P3", 511, DEEP[..., :3] % 512),
    "plain.pnm": lambda: pnm(b"P2", 65535, DEEP[..., 0]),
    "png_inside.jpg": lambda: png(16, 2, DEEP[..., :3]),
    "ppm_inside.png": lambda: pnm(b"P6", 65535, DEEP[..., :3]),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_more_than_8_bits_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(DEEP_FILES[name]())
    with pytest.raises(
        DataError, match=r"bits? a channel but expected 8|cannot be decoded"
    ) as told:
        load(path)
    assert str(path) in str(told.value)


def test_twelve_bits_of_a_jpeg_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(RNG.integers(0, 256, (8, 8), np.uint8)).save(path)
    raw = path.read_bytes()
    at = raw.index(b"\xff\xc0") + 4  # the precision in the header of the frame
    assert raw[at] == 8
    path.write_bytes(raw[:at] + b"\x0c" + raw[at + 1 :])
    with pytest.raises(DataError, match=r"a\.jpg: cannot be decoded"):
        load(path)


def test_formats_that_no_ending_stands_for_are_not_tried(tmp_path: Path) -> None:
    """Pillow would cut 16 bits of an SGI or JPEG 2000 file, and start a program for PostScript."""
    path = tmp_path / "a.png"
    head = struct.pack(">HBBHHHHii", 474, 0, 2, 3, 8, 8, 3, 0, 65535)
    path.write_bytes(head.ljust(512, b"\0") + np.moveaxis(DEEP[..., :3], 2, 0).tobytes())
    with Image.open(path) as opened:
        assert opened.mode == "RGB"
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
        load(path)


SHALLOW: dict[str, tuple[Callable[[np.ndarray], bytes], int]] = {  # a writer and the largest value
    "grey1.png": (lambda a: png(1, 0, np.packbits(a, axis=1)[..., None]), 1),
    "grey2.png": (lambda a: png(2, 0, packed(a, 2)), 3),
    "grey4.png": (lambda a: png(4, 0, packed(a, 4)), 15),
    "grey8.png": (lambda a: png(8, 0, a[..., None]), 255),
    "grey2.tif": (lambda a: tiff(packed(a, 2), photometric=1, bits=2), 3),
    "grey4.tif": (lambda a: tiff(packed(a, 4), photometric=1, bits=4), 15),
    "inverse.tif": (lambda a: tiff(255 - a[..., None], photometric=0, bits=8), 255),
    "raw99.pgm": (lambda a: pnm(b"P5", 99, a), 99),
    "plain7.pgm": (lambda a: pnm(b"P2", 7, a), 7),
    "raw255.pgm": (lambda a: pnm(b"P5", 255, a), 255),
}


def packed(a: np.ndarray, bits: int) -> np.ndarray:
    """Values of 2 or 4 bits, several in a byte, the first in the highest bits: (H, W/n, 1)."""
    each = 8 // bits
    groups = a.reshape(len(a), -1, each).astype(int)
    shifts = bits * np.arange(each - 1, -1, -1)
    return (groups << shifts).sum(-1).astype(np.uint8)[..., None]


@pytest.mark.parametrize("name", SHALLOW)
def test_fewer_bits_fill_the_range(tmp_path: Path, name: str) -> None:
    write, largest = SHALLOW[name]
    a = RNG.integers(0, largest + 1, (8, 8), np.uint8)
    (tmp_path / name).write_bytes(write(a))
    images = load(tmp_path / name).images
    np.testing.assert_allclose(images[0, ..., 0], a / largest, rtol=0, atol=0.5 / 255 + 1e-6)


READ_DEEP = {  # channels of DEEP that a file has, and its largest value if it says that itself
    "grey.png": ([0], None), "colour.png": ([0, 1, 2], None), "grey_alpha.png": ([0, 1], None),
    "alpha.png": ([0, 1, 2, 3], None), "opaque.png": ([0, 1, 2], None),
    "key.png": ([0, 1, 2], None),
    "grey.tif": ([0], None), "colour.tif": ([0, 1, 2], None), "alpha.tiff": ([0, 1, 2, 3], None),
    "grey.pgm": ([0], 65535), "twelve.pgm": ([0], 4095), "plain.pnm": ([0], 65535),
    "png_inside.jpg": ([0, 1, 2], None),
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP_FILES)
@pytest.mark.parametrize(("depth", "largest"), [("auto", 65535), ("12", 4095), ("-5:4090", 4095)])
def test_a_depth_takes_all_bits(name: str, depth: str, largest: int, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(DEEP_FILES[name]())
    if name == "nine.pgm":  # of 257 levels
        found = load(path, preparation=Preparation(depth=depth)).images[0, ..., 0]
        np.testing.assert_allclose(found, DEEP[..., 0] % 257 / 256, rtol=0, atol=1e-5)
        return
    if name not in READ_DEEP:
        with pytest.raises(DataError, match=rf"{name}: "):
            load(path, preparation=Preparation(depth=depth, background="black"))
        return
    channels, own = READ_DEEP[name]
    found = load(path, preparation=Preparation(depth=depth, background="black")).images[0]
    low = -5 if depth[0] == "-" and own is None else 0
    x = (DEEP[..., channels] - float(low)) / (own or largest)
    if len(channels) in (2, 4):
        x = x[..., :-1] * DEEP[..., channels[-1:]] / 65535
    np.testing.assert_allclose(found, np.broadcast_to(x, found.shape), rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw"])
def test_grey_tiff_of_other_forms(order: str, compression: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = DEEP[..., 0].astype(f"{order}u2")
    Image.frombytes("I;16B" if order == ">" else "I;16", (8, 8), values.tobytes()).save(
        path, compression=compression
    )
    found = load(path, preparation=Preparation(depth="auto")).images[0, ..., 0]
    np.testing.assert_array_equal(found, values / np.float32(65535))
    x = values.astype(np.float32) / 65535
    Image.fromarray(x).save(path, compression=compression)
    np.testing.assert_array_equal(
        load(path, preparation=Preparation(depth="auto")).images[0, ..., 0], x
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("C", [3, 4])
def test_colour_tiff_of_other_forms(order: str, deflate: bool, C: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(DEEP[..., :C], photometric=2, bits=16, order=order, deflate=deflate))
    found = load(path, preparation=Preparation(depth="12", background="black")).images[0]
    x = DEEP[..., :3] / 4095
    if C == 4:
        x = x * DEEP[..., 3:] / 65535
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-6)


def test_values_outside_of_a_depth_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.full((8, 8), 5000, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"a\.tif: .* 5000 to 5000 but depth 12 .* 0 to 4095"):
        load(path, preparation=Preparation(depth="12"))
    Image.fromarray(np.full((8, 8), 300, np.float32)).save(path)
    with pytest.raises(DataError, match=r"a\.tif: .* 300.* expected in \[0, 1\]"):
        load(path, preparation=Preparation(depth="auto"))
    assert load(path, preparation=Preparation(depth="0:400")).images.max() == 0.75


def test_deep_arrays() -> None:
    x = DEEP[..., :1][None].astype(np.uint16)
    for depth, largest in (("auto", 65535), ("12", 4095)):
        found = load(x, preparation=Preparation(depth=depth)).images
        np.testing.assert_array_equal(found, (x / largest).astype(np.float32))
    found = load(x.astype(np.int64), preparation=Preparation(depth="12")).images
    np.testing.assert_array_equal(found, (x / 4095).astype(np.float32))
    with pytest.raises(DataError, match="lie in .* already but depth 12"):
        load(x / 4095, preparation=Preparation(depth="12"))
    for depth in ("8", "auto"):
        with pytest.raises(DataError, match="images are int64"):
            load(x.astype(np.int64), preparation=Preparation(depth=depth))
