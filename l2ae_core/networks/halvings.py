"""How the convolutions of a network halve the sides of an image, and its decoder restores them.

A convolution of stride 2 with "same" takes a side n to ⌈n/2⌉; the last one takes an odd n to
⌊n/2⌋, "valid", where its kernel is odd and fits:

    28 → 14 → 7 → 3        30 → 15 → 8 → 4        25 → 13 → 7 → 3

The transposed convolution that mirrors one is its adjoint, and returns n where it has the zeros of
the convolution at n pixels. By the word "same" it returns 2⌈n/2⌉, so odd sides name these zeros.
"""

from collections.abc import Sequence
from typing import NamedTuple

from l2ae_core.layers.padding import Axis, AxisPadding, Padding
from l2ae_kernels.geometry import Pair

STRIDE = 2


class Halving(NamedTuple):
    """One convolution of stride 2."""

    size: Pair  # of its output
    padding: Padding
    mirror: Padding  # of the transposed convolution that goes back


def halvings(size: Pair, kernels: Sequence[int]) -> list[Halving]:
    """Return the convolutions with kernels of these sides, the first over images of `size`."""
    made: list[Halving] = []
    for n, kernel in enumerate(kernels, start=1):
        last = n == len(kernels)
        axes = [Axis(kernel, STRIDE, _rule(side, kernel, last)) for side in size]
        h, w = (_mirror(axis, side) for axis, side in zip(axes, size, strict=True))
        height, width = (axis.correlated(side) for axis, side in zip(axes, size, strict=True))
        size = height, width
        rules: Padding = (axes[0].rule, axes[1].rule) if last else "same"
        mirror: Padding = "same" if not last and h == w == "same" else (h, w)
        made.append(Halving(size, rules, mirror))
    return made


def _rule(side: int, kernel: int, last: bool) -> AxisPadding:
    return "valid" if last and side % 2 and kernel % 2 and kernel <= side else "same"


def _mirror(axis: Axis, side: int) -> AxisPadding:
    """The rule by which the transposed convolution returns `side`; in words where these do."""
    word = axis.transposed(axis.correlated(side)) == side
    return axis.rule if word else axis.zeros(side)
