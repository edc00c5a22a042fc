import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core.data import DataError, load

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)


def write(path: Path, pixels: np.ndarray = GREY, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def test_grey_images_in_sorted_order(tmp_path: Path) -> None:
    names = ["b.png", "a.bmp", "10.tif", "9.PNG", "c.pgm"]
    for i, name in enumerate(names):
        write(tmp_path / name, GREY // (i + 1))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX/b.png").write_text("no image")
    data = load(tmp_path)
    assert data.sample_names == ("10.tif", "9.PNG", "a.bmp", "b.png", "c.pgm")
    expected = np.stack([GREY // (names.index(name) + 1) for name in data.sample_names])
    np.testing.assert_array_equal(data.images[..., 0], expected.astype(np.float32) / 255)
    assert data.images.shape == (5, 6, 5, 1)
    assert (data.labels, data.class_names, data.name) == (None, None, tmp_path.name)


def test_sub_folders_are_the_classes(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/x/2.png", "cat/1.png", "dog/0.png", "Zebra/1.png"):
        write(tmp_path / name)
    data = load(tmp_path)
    assert data.class_names == ("Zebra", "cat", "dog")
    np.testing.assert_array_equal(data.labels, [0, 1, 1, 2, 2])
    assert data.sample_names is not None
    assert data.sample_names[2] == "cat/x/2.png"


def test_one_image_outside_means_no_labels(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/1.png", "z.png"):
        write(tmp_path / name)
    data = load(tmp_path)
    assert (data.labels, data.class_names, len(data)) == (None, None, 3)


def test_colour_and_mixed(tmp_path: Path) -> None:
    write(tmp_path / "a.png", COLOUR)
    data = load(tmp_path)
    np.testing.assert_array_equal(data.images[0], COLOUR.astype(np.float32) / 255)
    write(tmp_path / "b.png", GREY)
    mixed = load(tmp_path).images
    assert mixed.shape == (2, 6, 5, 3)
    np.testing.assert_array_equal(mixed[0], data.images[0])
    np.testing.assert_array_equal(mixed[1], np.repeat(GREY[..., None], 3, axis=2) / np.float32(255))


def test_one_image_file(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.png"))
    np.testing.assert_array_equal(data.images[0, ..., 0], GREY.astype(np.float32) / 255)
    assert data.sample_names == ("a.png",)


def test_palette_and_two_valued_images(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).quantize(256).save(tmp_path / "p.png")
    assert load(tmp_path / "p.png").images.shape == (1, 6, 5, 3)
    Image.fromarray(GREY > 100).save(tmp_path / "b.png")
    np.testing.assert_array_equal(load(tmp_path / "b.png").images[0, ..., 0], GREY > 100)


def test_jpeg_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation tag: turn a quarter clockwise to see it upright
    write(tmp_path / "a.jpg", GREY, exif=exif)
    write(tmp_path / "b.jpg", GREY)
    turned, plain = (load(tmp_path / name).images[0] for name in ("a.jpg", "b.jpg"))
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))


@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_alpha(tmp_path: Path, pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels)
    image.putalpha(255)
    image.save(tmp_path / "a.png")
    data = load(tmp_path / "a.png")
    np.testing.assert_array_equal(data.images[0].squeeze(), pixels.astype(np.float32) / 255)
    image.putpixel((1, 1), (*image.getpixel((1, 1))[:-1], 254))
    image.save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has transparent pixels"):
        load(tmp_path / "a.png")


def test_sizes_that_differ_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "a.png", GREY.T.copy())
    for name in ("b.png", "c.png"):
        write(tmp_path / name)
    message = r"2 sizes .*--size 32.*\n  5×6: 2 images, .*b\.png\n  6×5: 1 image, .*a\.png"
    with pytest.raises(DataError, match=message):
        load(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own words about a cut TIFF
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.gif", "a.webp", "a.ppm"])
def test_cut_files(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / name, noise)
    raw = path.read_bytes()
    for length in (0, 1, 20, len(raw) // 2, len(raw) * 9 // 10):
        path.write_bytes(raw[:length])
        with pytest.raises(DataError, match=rf"{name}: cannot be decoded, truncated or corrupt"):
            load(tmp_path)


def test_images_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
        load(tmp_path)
    write(tmp_path / "a.png", GREY.astype(np.uint16) * 256)
    with pytest.raises(DataError, match=r"a\.png: has 16 bits a channel but expected 8"):
        load(tmp_path)
    (tmp_path / "a.png").unlink()
    frames = [Image.fromarray(GREY), Image.fromarray(GREY // 2)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.tif: has 2 frames but expected one"):
        load(tmp_path)


def test_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(DataError, match=r"no image in it \(looked for \.bmp"):
        load(tmp_path)


@pytest.mark.parametrize("cut", [3, 20, 40])
def test_damaged_exif_data_of_a_photograph_are_no_reason_to_refuse_it(
    tmp_path: Path, cut: int
) -> None:
    """Whole data sets of photographs have such files; every viewer shows them."""
    exif = Image.Exif()
    exif[0x010E] = "a long description" * 4
    write(tmp_path / "a.jpg", GREY, exif=exif.tobytes()[:-cut])
    write(tmp_path / "b.jpg", GREY)
    damaged, whole = (load(tmp_path / name).images for name in ("a.jpg", "b.jpg"))
    np.testing.assert_array_equal(damaged, whole)


def test_a_tag_that_is_cut_off_a_tiff_is_a_reason(tmp_path: Path) -> None:
    """Its tags say what the bytes of the pixels mean."""
    path = write(tmp_path / "a.tif", COLOUR)
    raw = bytearray(path.read_bytes())
    at = raw.index(struct.pack("<HHI", 258, 3, 3)) + 8  # where the bits of each sample stand
    raw[at : at + 4] = struct.pack("<I", len(raw) - 1)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"a\.tif: "):
        load(path)


@pytest.mark.parametrize("limit", [20, 10])  # Pillow warns from 20 pixels on, refuses from 40
def test_more_pixels_than_pillow_takes_for_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    path = write(tmp_path / "a.png")  # 30 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"a\.png: .*exceeds limit"):
        load(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert len(load(path)) == 1


def test_what_is_no_image_is_told_which_formats_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<svg/>")
    with pytest.raises(DataError, match=r"a\.png: .*expected one of PNG, JPEG") as raised:
        load(tmp_path)
    assert "object" not in str(raised.value)
    assert "BufferedReader" not in str(raised.value)
