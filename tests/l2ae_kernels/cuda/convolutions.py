"""Shapes of convolutions, and the comparison with NumPy in bounds from rounding."""

import numpy as np

from l2ae_kernels.geometry import output_size
from l2ae_kernels.reference import conv as reference

OPERATIONS = ("correlate", "correlate_adjoint_x", "correlate_adjoint_W")
# What a rung may lose of a product a·b, in shares of |a b|: near_tf32 is off by 1.25 · 2^-11 of a
# number, and split by 1.25 · 2^-21; small · small, up to 1.57 · 2^-22, is left out.
LOSS = {"naive": 0.0, "tensor": 2.5 * 2.0**-21 + 1.6 * 2.0**-22, "tf32": 1.26 * 2.0**-10}
# And what it may lose of a sum, in units in the last place for each product: a tensor core adds 8
# of them to a sum, and may cut each of the 9 terms and the result; it does so once or three times.
UNITS = {"naive": 1.0, "tensor": 3 * 10 / 8, "tf32": 10 / 8}
SHAPES = [  # N, (H, W), C, K, kernel, stride, padding
    (1, (1, 1), 1, 1, (1, 1), (1, 1), ((0, 0), (0, 0))),
    (3, (5, 7), 2, 3, (3, 2), (1, 2), ((0, 1), (1, 0))),
    (5, (8, 8), 1, 5, (5, 5), (2, 2), ((1, 2), (1, 2))),
    (9, (7, 7), 6, 8, (3, 3), (2, 2), ((0, 0), (0, 0))),
    (7, (2, 2), 4, 3, (3, 3), (2, 2), ((0, 1), (0, 1))),
    (2, (4, 9), 3, 2, (2, 3), (3, 1), ((3, 4), (5, 6))),  # windows that see nothing but padding
    (2, (9, 4), 2, 2, (1, 1), (3, 2), ((0, 0), (0, 0))),  # pixels that no window sees
    (2, (7, 8), 5, 66, (4, 5), (1, 3), ((2, 1), (1, 1))),
    (0, (6, 6), 2, 2, (3, 3), (1, 1), ((1, 1), (1, 1))),  # no samples
    (70, (6, 7), 1, 36, (3, 5), (2, 2), ((1, 1), (1, 2))),  # one channel, and parts
    (29, (5, 5), 32, 12, (3, 3), (2, 2), ((1, 1), (1, 1))),  # depths are cut into parts
]
PARTS, THIN, RAGGED = SHAPES[-1], SHAPES[-2], SHAPES[7]


def draw(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def leaky(x: np.ndarray, slope: float, y: np.ndarray | None = None) -> np.ndarray:
    return np.where((x if y is None else y) > 0, x, slope * x)


def shapes_of(case) -> tuple[tuple[int, ...], ...]:
    """The shapes of x, W and y."""
    N, size, C, K, kernel, stride, padding = case
    return (N, *size, C), (*kernel, C, K), (N, *output_size(size, kernel, stride, padding), K)


def assert_sums(operation, found, A, B, case, rung, *, bias=None, slope=1.0, y=None) -> None:
    """Compare with the reference in float64; a slope of at most 1 widens nothing."""
    stride, padding = case[-2:]
    A, B = A.astype("float64"), B.astype("float64")
    expected, size = np.empty(found.shape), np.empty(found.shape)
    b = () if operation == "correlate_adjoint_W" else (bias,)
    getattr(reference, operation)(A, B, *b, expected, stride, padding)
    b = tuple(None if one is None else np.abs(one) for one in b)
    getattr(reference, operation)(np.abs(A), np.abs(B), *b, size, stride, padding)
    depth = {  # products of a sum
        "correlate": int(np.prod(B.shape[:3])),
        "correlate_adjoint_x": int(np.prod(B.shape[:2])) * B.shape[3],
        "correlate_adjoint_W": int(np.prod(B.shape[:3])),
    }[operation]
    unit = np.finfo(found.dtype).eps
    bound = (LOSS[rung] + (UNITS[rung] * depth + 4) * unit) * size
    error = np.abs(found - leaky(expected, slope, y))
    assert np.all(error <= bound), (operation, error.max())
