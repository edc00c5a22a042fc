"""TensorFlow's padding rules, against lengths and zeros read from its own layers."""

import pytest

from l2ae_core.layers.padding import Axis, image_axes


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "zeros", "outputs"),
    [
        (28, 5, 2, (1, 2), 14),
        (14, 5, 2, (1, 2), 7),
        (16, 5, 2, (1, 2), 8),
        (8, 5, 2, (1, 2), 4),
        (4, 3, 2, (0, 1), 2),
        (7, 5, 2, (2, 2), 4),  # an odd side is padded evenly
        (7, 3, 1, (1, 1), 7),
        (6, 4, 1, (1, 2), 6),
        (5, 1, 3, (0, 0), 2),  # a stride larger than the kernel needs no zeros
        (1, 5, 2, (2, 2), 1),
    ],
)
def test_same(length: int, kernel: int, stride: int, zeros: tuple[int, int], outputs: int) -> None:
    axis = Axis(kernel, stride, "same")
    assert axis.zeros(length) == zeros
    assert axis.correlated(length) == outputs


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "outputs"),
    [(7, 3, 2, 3), (8, 3, 2, 3), (5, 5, 2, 1), (4, 5, 2, 0)],
)
def test_valid(length: int, kernel: int, stride: int, outputs: int) -> None:
    axis = Axis(kernel, stride, "valid")
    assert axis.zeros(length) == (0, 0)
    assert axis.correlated(length) == outputs


@pytest.mark.parametrize(
    ("length", "axis", "pixels"),
    [
        (3, Axis(3, 2, "valid"), 7),
        (7, Axis(5, 2, "same"), 14),
        (14, Axis(5, 2, "same"), 28),
        (2, Axis(3, 2, "same"), 4),
        (2, Axis(2, 3, "valid"), 6),  # stride larger than kernel
        (3, Axis(5, 2, (2, 2)), 5),
        (3, Axis(5, 2, (1, 2)), 6),
    ],
)
def test_transposed(length: int, axis: Axis, pixels: int) -> None:
    assert axis.transposed(length) == pixels


@pytest.mark.parametrize("rule", ["same", "valid", (1, 0), (0, 2)])
def test_correlating_a_transposed_side_gives_the_side_back(rule) -> None:
    for length in range(2, 9):
        for kernel in range(1, 6):
            for stride in range(1, 5):
                axis = Axis(kernel, stride, rule)
                if axis.transposed(length) >= 1:
                    assert axis.correlated(axis.transposed(length)) == length


def test_one_rule_for_both_axes_or_one_for_each() -> None:
    assert image_axes("c", (3, 5), 2, "same") == (Axis(3, 2, "same"), Axis(5, 2, "same"))
    assert image_axes("c", (3, 5), (1, 2), (0, 1)) == (Axis(3, 1, (0, 1)), Axis(5, 2, (0, 1)))
    per_axis = image_axes("c", (3, 5), 2, ("valid", (0, 1)))
    assert per_axis == (Axis(3, 2, "valid"), Axis(5, 2, (0, 1)))


@pytest.mark.parametrize("padding", ["full", -1, (1,), (1, -1), (1, 2, 3), ("same", 1), (0.5, 1)])
def test_an_unknown_padding_is_refused(padding) -> None:
    with pytest.raises(ValueError, match="Conv2d: padding is"):
        image_axes("Conv2d", (3, 3), 1, padding)


@pytest.mark.parametrize("stride", [0, -1, (1, 0), (1, 2, 3), (1.0, 2)])
def test_a_stride_below_one_is_refused(stride) -> None:
    with pytest.raises(ValueError, match="Conv2d: stride is"):
        image_axes("Conv2d", (3, 3), stride, "same")
