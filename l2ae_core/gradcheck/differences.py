"""Numerical derivatives of a `Problem` along a step Δ of one block.

    central      [y(x + Δ) − y(x − Δ)] / 2                 error O(Δ³), rounding u·|y|
    richardson   (4 D(Δ/2)·2 − D(Δ)) / 3                   error O(Δ⁵), same rounding
    complex      Im y(x + i Δ)                             error O(Δ³) with Δ ~ 1e-20: none

Outputs are subtracted before they are summed against a cotangent, so that the many outputs which
Δ does not reach cancel exactly. The complex step (Squire and Trapp 1998) subtracts nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from l2ae_core.gradcheck.problem import Gates, Problem
from l2ae_kernels.arrays import Array

UNIT_ROUNDOFF = float(np.finfo(np.float64).eps) / 2
# Rounding of a whole network is a few dozen operations deep; 32 covers every case of the suite.
ROUNDING_STEPS = 32.0
# A step this small moves a unit off its kink only if it sits on the kink: a few units of rounding.
HAIR = 1e-14
# One-sided slopes that differ by this part of themselves spoil a check at tolerance 1e-6.
SLOPE_JUMP = 1e-6


@dataclass(frozen=True)
class Slope:
    """The numerical derivative along one step."""

    dy: Array  # change of y per step, the shape of y
    step: Array  # the step that was really taken after rounding, the shape of the block
    kink: bool  # a unit changed its linear piece on the way, so dy means nothing

    @property
    def defined(self) -> bool:
        """Whether f has a value at both ends of the step."""
        return bool(np.isfinite(self.dy).all())


@dataclass(frozen=True)
class Method:
    """One way to differentiate, with its default step and tolerance."""

    slope: Callable[[Problem, str, Array], Slope]
    step: float  # relative: an entry moves by step·max(1, |x|)
    tolerance: float  # on the relative error

    def noise(self, step: float) -> float:
        """Relative rounding error of a derivative, in units of |dy·y|₂."""
        divisor = 1.0 if self.slope is complex_step else step
        return ROUNDING_STEPS * UNIT_ROUNDOFF / divisor


def central(problem: Problem, block: str, step: Array) -> Slope:
    """Second-order central difference."""
    x = problem.blocks[block]
    ahead, behind = x + step, x - step
    y_ahead, gates_ahead = _near(problem, block, ahead)
    y_behind, gates_behind = _near(problem, block, behind)
    crossed = not (same_gates(gates_ahead, problem) and same_gates(gates_behind, problem))
    taken = (ahead - behind) / 2
    dy = (y_ahead - y_behind) / 2
    if problem.gates is None:  # nobody can tell the pieces apart: look at the slopes
        jump = y_ahead - 2 * problem.y + y_behind
        crossed = _suspicious(jump, dy, problem.y) and _jumps(problem, block, step, jump)
    return Slope(dy, taken, crossed)


def _near(problem: Problem, block: str, value: Array) -> tuple[Array, Gates | None]:
    """Return y and gates near the point, NaN where f ends there: it has worked at the point."""
    try:
        return problem.evaluate(block, value)
    except (ArithmeticError, ValueError):
        return np.full_like(problem.y, np.nan), problem.gates


def richardson(problem: Problem, block: str, step: Array) -> Slope:
    """Fourth-order difference: two central ones, extrapolated."""
    whole, half = central(problem, block, step), central(problem, block, step / 2)
    dy = (8 * half.dy - whole.dy) / 3
    return Slope(dy, (8 * half.step - whole.step) / 3, whole.kink or half.kink)


def complex_step(problem: Problem, block: str, step: Array) -> Slope:
    """Complex step: exact to rounding wherever f is analytic. It is blind to kinks at x itself."""
    x = problem.blocks[block]
    y, _ = problem.evaluate(block, x + 1j * step)
    return Slope(np.imag(y), step, kink=False)


METHODS: dict[str, Method] = {
    # measured on the project's networks: worst 2e-8 at step 1e-5
    "central": Method(central, step=1e-5, tolerance=1e-6),
    # the higher order allows a longer step, so that less is lost to rounding
    "richardson": Method(richardson, step=1e-3, tolerance=1e-7),
    # nothing is subtracted, so only the rounding of the two passes themselves is left
    "complex": Method(complex_step, step=1e-20, tolerance=1e-9),
}


def on_kink(problem: Problem, block: str, direction: Array) -> bool:
    """True when a unit sits exactly on its kink: a hair's breadth along `direction` moves it."""
    if problem.gates is not None:
        x = problem.blocks[block]
        hair = HAIR * np.maximum(1, np.abs(x)) * direction
        _, ahead = problem.evaluate(block, x + hair)
        _, behind = problem.evaluate(block, x - hair)
        return not (same_gates(ahead, problem) and same_gates(behind, problem))
    with np.errstate(all="ignore"):
        return central(problem, block, METHODS["central"].step * direction).kink


def same_gates(gates: Gates | None, problem: Problem) -> bool:
    """True when every unit is on the linear piece it is on at the checked point."""
    if gates is None or problem.gates is None:
        return True
    return len(gates) == len(problem.gates) and all(
        np.array_equal(here, there) for here, there in zip(gates, problem.gates, strict=True)
    )


def _suspicious(jump: Array, dy: Array, y: Array) -> bool:
    return bool(np.any(np.abs(jump) > SLOPE_JUMP * np.abs(dy) + _rounding(y)))


def _jumps(problem: Problem, block: str, step: Array, jump: Array) -> bool:
    """Tell a kink from curvature: y₊ − 2y + y₋ falls as Δ² on a smooth piece, as Δ on a kink."""
    x = problem.blocks[block]
    y_ahead, _ = _near(problem, block, x + step / 8)
    y_behind, _ = _near(problem, block, x - step / 8)
    smaller = y_ahead - 2 * problem.y + y_behind
    # at Δ/8: jump/64 if smooth, jump/8 on a kink, about 0 when the kink lies beyond Δ/8
    curved = np.abs(smaller - jump / 64) < np.abs(jump) / 128
    return bool(np.any((np.abs(jump) > 128 * _rounding(problem.y)) & ~curved))


def _rounding(y: Array) -> Array:
    return np.asarray(ROUNDING_STEPS * UNIT_ROUNDOFF * np.abs(y))
