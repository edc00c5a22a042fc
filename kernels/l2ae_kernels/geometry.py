"""Sizes of a strided correlation, and the checks that every implementation shares."""

from typing import TypeAlias

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def output_length(length: int, kernel: int, stride: int, padding: Pair) -> int:
    """Positions of a kernel on a padded axis: ⌊(length + padding − kernel)/stride⌋ + 1."""
    before, after = padding
    return (length + before + after - kernel) // stride + 1


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
