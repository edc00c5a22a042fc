"""`look_at` finds constant, dark and equal images."""

import numpy as np
import pytest

from l2ae_core.data import look
from l2ae_core.data.look import look_at


def noise(N: int, C: int = 1, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(N)
    return rng.uniform(low, high, (N, 6, 5, C)).astype(np.float32)


def test_constant_flat_and_dark_images() -> None:
    x = noise(7, 3)
    x[1] = 0
    x[2] = (1, 0.5, 0.9)  # one colour
    x[3] = noise(1, 3, 0.5, 0.53)[0]
    x[4] = noise(1, 3, 0, 0.3)[0]
    x[5] = noise(1, 3, 0, 0.3)[0]
    x[5, 0, 0] = 1  # 1 of 30 pixels, more than 1 %
    found = look_at(x)
    assert found.constant.tolist() == [1, 2]
    assert found.flat.tolist() == [3]
    assert found.dark.tolist() == [1, 4]
    assert found.duplicates == ()


def test_brightness_is_that_of_the_eye() -> None:
    x = np.zeros((3, 6, 5, 3), np.float32)
    x[np.arange(3), :, :, np.arange(3)] = noise(3, 1, 0.8, 1)[..., 0]  # red, green, blue
    assert look_at(x).dark.tolist() == [0, 2]


@pytest.mark.parametrize("values", [look.CHUNK, 100])  # all at once; some at a time
def test_equal_images(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "CHUNK", values)
    x = noise(9)
    x[7] = x[2]
    x[8] = x[0]
    x[5] = x[0]
    x[6] = x[4]
    x[6, 0, 0, 0] += 1e-3  # not equal
    found = look_at(x)
    assert [group.tolist() for group in found.duplicates] == [[0, 5, 8], [2, 7]]
    assert found.copies == 3


def test_zero_has_no_sign() -> None:
    x = np.zeros((2, 4, 4, 1), np.float32)
    x[0] = -0.0
    found = look_at(x)
    assert [group.tolist() for group in found.duplicates] == [[0, 1]]
    assert np.signbit(x[0]).all()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"look_at: images have shape \(3, 4, 4\)"):
        look_at(np.zeros((3, 4, 4)))


def test_dark_is_up_to_one_per_cent_of_bright_pixels() -> None:
    x = np.zeros((2, 10, 10, 1), np.float32)
    x[0, 0, 0] = x[1, 0, :2] = 1
    assert look_at(x).dark.tolist() == [0]


def test_images_of_different_shapes_are_not_equal() -> None:
    looking = look.Looking()
    x = noise(1)
    for shape in ((1, 6, 5, 1), (1, 5, 6, 1), (1, 6, 5, 1)):
        looking.add(x.reshape(shape))
    assert [group.tolist() for group in looking.result().duplicates] == [[0, 2]]
