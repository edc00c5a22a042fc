from pathlib import Path

import numpy as np
import pytest

from l2ae_core.data import DataError, load

GREY = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def save(path: Path, array: object) -> Path:
    np.save(path, array)
    return path


def test_uint8_is_scaled_and_gets_a_channel(tmp_path: Path) -> None:
    data = load(save(tmp_path / "a.npy", GREY * 4))
    assert data.images.shape == (5, 4, 3, 1)
    np.testing.assert_array_equal(data.images[:][..., 0], (GREY * 4).astype(np.float32) / 255)
    assert (data.labels, data.name) == (None, "a.npy")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.bool_])
def test_values_in_0_1_are_kept(tmp_path: Path, dtype: object) -> None:
    x = np.random.default_rng(0).integers(0, 2, (4, 3, 2, 3)).astype(dtype)
    data = load(str(save(tmp_path / "a.npy", x)))
    np.testing.assert_array_equal(data.images, x.astype(np.float32))
    assert data.images.dtype == np.float32


def test_fortran_order_and_upper_case_ending(tmp_path: Path) -> None:
    x = np.asfortranarray(np.random.default_rng(0).random((4, 3, 2, 3)))
    save(tmp_path / "a.npy", x).rename(tmp_path / "A.NPY")
    np.testing.assert_array_equal(load(tmp_path / "A.NPY").images, x.astype(np.float32))


def nan_at(*where: int) -> np.ndarray:
    x = np.zeros((5, 4, 3))
    x[where] = np.nan
    x[4, 3, 2] = np.inf
    return x


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (GREY.astype(float), r"from 0\.0 to 59\.0 but .*expected in \[0, 1\]; scale with x / 255 "),
        (GREY * 1000.0, r"to 59000\.0 .* scale with x / 65535 "),
        (GREY / 59 * 2 - 1, r"from -1\.0 to 1\.0 .*scale with \(x \+ 1\) / 2"),
        (GREY / 59 * 1.0000000001, r"from 0\.0 to 1\.0000000001 .*clip with np\.clip\(x, 0, 1\)"),
        (GREY / 59 - 1e-9, r"from -1e-09 to 0\.99.*clip with np\.clip\(x, 0, 1\)"),
        (GREY - 1000.0, r"x\.min\(\)"),
        (GREY.astype(np.int64), r"images are int64 but expected uint8"),
        (GREY.astype(np.uint16), r"uint16 but expected uint8 .*divide .* 65535 for 16"),
        (GREY.astype(complex), r"images are complex128"),
        (GREY.astype(str), r"images are <U"),
        (nan_at(1, 2, 0), r"2 values, the first nan at index \(1, 2, 0, 0\)"),
        (nan_at(4, 3, 2), r"1 value, the first inf at index \(4, 3, 2, 0\)"),
        (GREY[0], r"shape \(4, 3\) but expected \(N, H, W\).* write x\[None\]"),
        (GREY[:0], r"shape \(0, 4, 3\).*not empty"),
        (GREY[None, None], r"shape \(1, 1, 5, 4, 3\)"),
        (np.zeros((5, 3, 32, 32), np.uint8), r"looks like \(N, C, H, W\).*transpose"),
        (np.array([None, 1]), "Python objects"),
    ],
)
def test_arrays_that_are_no_images(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("keys", [("images", "labels"), ("x", "y"), ("x", "labels")])
def test_npz(tmp_path: Path, keys: tuple[str, str]) -> None:
    path = tmp_path / "a.npz"
    labels = np.array([3, -1, 3, 2, 70], dtype=np.int16)
    np.savez_compressed(path, **dict(zip(keys, (GREY, labels), strict=True)), other=np.zeros(2))
    data = load(path)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.labels is not None
    assert data.labels.dtype == np.int64
    np.testing.assert_array_equal(data.images[..., 0], GREY.astype(np.float32) / 255)
    assert data.class_names is None


def test_npz_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GREY)
    assert load(tmp_path / "a.npz").labels is None


def test_npz_with_text_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GREY, y=np.array(["dog", "cat", "dog", "ant", "cat"]))
    data = load(tmp_path / "a.npz")
    assert data.class_names == ("ant", "cat", "dog")
    np.testing.assert_array_equal(data.labels, [2, 1, 2, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": GREY}, r"holds \['pictures'\] but expected the images under images or x"),
        ({"x": GREY, "images": GREY}, "holds both images and x; keep one"),
        ({"x": GREY, "y": np.arange(5), "labels": np.arange(5)}, "holds both labels and y"),
        ({"x": GREY, "y": np.arange(4)}, r"\['y'\]: labels have shape \(4,\) but expected \(5,\)"),
        ({"x": GREY, "y": np.arange(5.0)}, r"labels are float64 but expected integers"),
        ({"x": nan_at(0, 0, 1)}, r"\['x'\]: .* nan at index \(0, 0, 1, 0\)"),
        ({"x": GREY, "y": np.array([None] * 5)}, "Python objects"),
    ],
)
def test_npz_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_files_cut_anywhere(tmp_path: Path, ending: str) -> None:
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    if ending == ".npy":
        np.save(whole, GREY)
    else:
        np.savez(whole, x=GREY)
    raw = whole.read_bytes()
    for length in range(0, len(raw), 3):
        cut.write_bytes(raw[:length])
        with pytest.raises(DataError, match=rf"cut\{ending}: not a readable \{ending} file"):
            load(cut)


def test_damaged_header(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", GREY)
    path.write_bytes(path.read_bytes().replace(b")", b" ", 1))
    with pytest.raises(DataError, match=r"a\.npy: not a readable .* header"):
        load(path)


def test_content_that_is_not_what_the_ending_says(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GREY)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"a\.npy: not a readable \.npy file"):
        load(tmp_path / "a.npy")


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'?minst'? is neither .* \(digits, mnist, usps\)"):
        load("minst")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"a\.csv ends in '\.csv' but expected \.npy, \.npz"):
        load(tmp_path / "a.csv")
    path = save(tmp_path / "a.npy", GREY)
    with pytest.raises(ValueError, match=r"split is 'test' but .*a\.npy is a path"):
        load(path, split="test")


def test_a_path_is_not_taken_for_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="digits is neither"):
        load(Path("digits"))
