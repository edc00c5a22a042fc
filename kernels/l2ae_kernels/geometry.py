"""Sizes of a strided correlation, and the checks that every implementation shares."""

from dataclasses import dataclass
from typing import NamedTuple, Self, TypeAlias

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def output_length(length: int, kernel: int, stride: int, padding: Pair) -> int:
    """Positions of a kernel on a padded axis: ⌊(length + padding − kernel)/stride⌋ + 1."""
    before, after = padding
    return (length + before + after - kernel) // stride + 1


def same_padding(length: int, kernel: int, stride: int) -> Pair:
    """Zeros (before, after) of TensorFlow's "same": ⌈length/stride⌉ outputs, the odd zero last."""
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def output_size(
    size: Pair, kernel_size: Pair, stride: Pair, padding: Padding, operation: str = "correlate"
) -> Pair:
    """Height and width of `correlate`'s output; ValueError where the kernel does not fit."""
    oh, ow = (
        output_length(n, k, s, p)
        for n, k, s, p in zip(size, kernel_size, stride, padding, strict=True)
    )
    if oh < 1 or ow < 1:
        raise ValueError(
            f"{operation}: kernel {kernel_size} does not fit an image of size {size} with padding "
            f"{padding}"
        )
    return oh, ow


def require_shape(
    operation: str, argument: str, found: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Raise a ValueError that names the operation and the argument when two shapes differ."""
    if found != expected:
        raise ValueError(f"{operation}: {argument} has shape {found}, expected {expected}")


class Images(NamedTuple):
    """Where a batch of feature maps lies: an address, and the floats between neighbours."""

    address: int
    sample: int
    row: int
    pixel: int
    batch: int = 0  # from one micro-batch to the next


@dataclass(frozen=True)
class Geometry:
    """A correlation without its number of samples."""

    H: int
    W: int
    C: int
    OH: int
    OW: int
    K: int
    kh: int
    kw: int
    sh: int
    sw: int
    top: int
    left: int

    @classmethod
    def of(
        cls, x: tuple[int, ...], y: tuple[int, ...], kernel: Pair, stride: Pair, padding: Padding
    ) -> Self:
        """Geometry of x (..., H, W, C) → y (..., OH, OW, K)."""
        (H, W, C), (OH, OW, K) = x[-3:], y[-3:]
        return cls(H, W, C, OH, OW, K, *kernel, *stride, padding[0][0], padding[1][0])

    @property
    def taps(self) -> int:
        """Rows of W as a matrix (kh·kw·C, K)."""
        return self.kh * self.kw * self.C

    @property
    def multiply_adds(self) -> int:
        """Products of one sample, those with padding among them."""
        return self.OH * self.OW * self.taps * self.K

    def x_images(self, address: int) -> Images:
        """Contiguous maps x at an address."""
        return Images(address, self.H * self.W * self.C, self.W * self.C, self.C)

    def y_images(self, address: int) -> Images:
        """Contiguous maps y at an address."""
        return Images(address, self.OH * self.OW * self.K, self.OW * self.K, self.K)
