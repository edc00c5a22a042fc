"""Winograd's algorithm, "minimal filtering": fewer multiplications for 5×5 layers of stride 2.

At stride 1, F(4, 3) makes 4 neighbouring outputs of a filter of 3 taps from 6 products, not 12.
With the polynomials through 0, ±1, ±2 and ∞ (Lavin and Gray 2016, section 4.3)

    y = Aᵀ [(G g) ⊙ (Bᵀ d)]                 d: 6 inputs, g: 3 taps, y: 4 outputs

and in two dimensions 16 outputs take 36 products, not 144. A stride of 2 is made of pieces of
stride 1:

    correlation    the four phases of x (rows and columns modulo 2), each with its own taps, 3 or 2
                   along an axis, are four inputs whose products are summed
    adjoint in x   each phase of x is one output, made from y with the taps reversed

A phase with 2 taps lacks the product at ∞, so that 5×5 taps take (6 + 5)² = 121 products for 16
outputs, not 400.

Seven outputs are a tile of 4 and one of 3: F(3, 3) does without the point −2. At the others it
takes the same G g, so that tiles of both sizes share their filters. The products of one point
(i, j) of the 36 over all tiles that have it and all channels are a matrix product:

    correlation    M_ij (tiles, K) = V_ij (tiles, phases·C) U_ij (phases·C, K)
    adjoint in x   M_ij (tiles, phases·C) = V_ij (tiles, K) U_ij (K, phases·C)
    adjoint in W   dU_ij (phases·C, K) = V_ijᵀ (phases·C, tiles) dM_ij (tiles, K)

winograd_transforms.py makes V, U and images, winograd_products.py multiplies, winograd_layouts.py
says where the matrices lie and winograd_calls.py what to call. The sums differ from the direct ones
by more than their rounding: about 1e-6 of their size.
"""

from collections.abc import Sequence
from typing import TypeAlias

from l2ae_kernels.cpu.codegen.emitter import Emitter
from l2ae_kernels.cpu.codegen.integer import Value

POINTS = 6  # of the polynomials: 0, 1, −1, 2, −2, ∞
OUTPUTS = (4, 3)  # the sides of an output tile

Matrix: TypeAlias = Sequence[Sequence[float]]

# rows: what gives each point, output or tap as a sum of inputs, see `apply`; by outputs
B_T: dict[int, Matrix] = {
    4: (
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    3: (
        (4, -2, -4, 2, 0),
        (0, -6, -3, 3, 0),
        (0, 2, -3, 1, 0),
        (0, -4, 0, 4, 0),
        (0, 2, -1, -2, 1),
    ),
}
G: Matrix = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
A_T: dict[int, Matrix] = {
    4: (
        (1, 1, 1, 1, 1, 0),
        (0, 1, -1, 2, -2, 0),
        (0, 1, 1, 4, 4, 0),
        (0, 1, -1, 8, -8, 1),
    ),
    3: (
        (1, 1, 1, 1, 0),
        (0, 1, -1, 2, 0),
        (0, 1, 1, 4, 1),
    ),
}


def transposed(matrix: Matrix) -> Matrix:
    """Return the transpose."""
    return tuple(zip(*matrix, strict=True))


def points(taps: int, outputs: int = 4) -> list[int]:
    """Points of an axis: with 2 taps ∞ gives nothing, and 3 outputs do without −2."""
    missing = [POINTS - 1] * (taps == 2) + [POINTS - 2] * (outputs == 3)
    return [p for p in range(POINTS) if p not in missing]


def apply(e: Emitter, matrix: Matrix, values: Sequence[Value]) -> list[Value]:
    """Emit matrix @ values; a matrix with more columns than there are values is cut.

    Polynomials through ±1 and ±2 come in pairs, of which sum and difference are shared: columns
    that are equal or opposite in every row (Aᵀ, Gᵀ), or rows with equal even and opposite odd
    columns (Bᵀ, G, A).
    """
    rows, values = _share_columns(e, [list(row[: len(values)]) for row in matrix], list(values))
    results: list[Value] = []
    even = odd = None
    for row, before in zip(rows, [None, *rows], strict=False):
        if before and _mirrored(before, row):
            results.append(e.b.fsub(even, odd))
            continue
        even, odd = _combine(e, row[0::2], values[0::2]), _combine(e, row[1::2], values[1::2])
        known = [half for half in (even, odd) if half is not None]
        results.append(e.b.fadd(*known) if len(known) == 2 else known[0])
    return results


def _share_columns(
    e: Emitter, rows: list[list[float]], values: list[Value]
) -> tuple[list[list[float]], list[Value]]:
    """Replace neighbours (u, v) that every row takes as ±(u + v) or ±(u − v) by these two."""
    for i in range(len(values) - 1):
        pair = [(row[i], row[i + 1]) for row in rows]
        signs = {(p == q) - (p == -q) for p, q in pair if (p, q) != (0, 0)}
        if signs == {1, -1}:
            u, v = values[i : i + 2]
            values[i : i + 2] = e.b.fadd(u, v), e.b.fsub(u, v)
            for row, (p, q) in zip(rows, pair, strict=True):
                row[i : i + 2] = (p, 0) if p == q else (0, p)
    return rows, values


def _mirrored(before: Sequence[float], row: Sequence[float]) -> bool:
    """Whether two rows have equal even columns and opposite odd ones, and some of both."""
    even, odd = row[0::2], row[1::2]
    opposite = [-q for q in odd]
    return any(even) and any(odd) and before[0::2] == even and before[1::2] == opposite


def _combine(e: Emitter, coefficients: Sequence[float], values: Sequence[Value]) -> Value | None:
    """Emit Σ coefficient · value; None where there is nothing to add."""
    total: Value | None = None
    for c, v in sorted(zip(coefficients, values, strict=True), key=lambda cv: abs(cv[0]) != 1):
        if c == 0:
            continue
        if total is None:
            total = v if c == 1 else e.b.fmul(e.constant(float(c)), v)
        else:
            total = e.b.fadd(total, v) if c == 1 else e.fma(e.constant(float(c)), v, total)
    return total
