"""Compare the analytic with the numerical gradient of one block, entry by entry or by directions.

    relative error = |a − n| / max(|a|, |n|, floor)
    floor          = max(1e-3 · largest |a|, |n| of the block,  noise / tolerance)

The floor lets an entry be wrong by tolerance·1e-3 of the block's largest entry, since an entry
far smaller than its neighbours carries their rounding; and by the noise of the method.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from l2ae_core.gradcheck.differences import METHODS, Method, complex_step, on_kink
from l2ae_core.gradcheck.hints import CLOSE, hint, scaled, zero
from l2ae_core.gradcheck.problem import Problem
from l2ae_core.gradcheck.report import Index, Row
from l2ae_kernels.arrays import Array

FLOOR_PART = 1e-3  # of the largest entry of the block
DIGITS = 100.0  # a gradient below 100 × noise has fewer than two digits: the check is vacuous
CURVED = "strongly curved here: judged by two steps, extrapolated to order h⁴"
OUTSIDE = "f is NaN, Inf or an error so near to x: at the edge of a domain, take a smaller eps"
LARGEST_JACOBIAN = 64  # entries of a sample up to which a missing transpose is looked for
DRAWS = 10  # tries to find a direction that crosses no kink


@dataclass(frozen=True, eq=False)
class Plan:
    """How to check one block; `cotangents` (M, *y.shape) are the `random` ones, then all units."""

    method: str
    step: float
    tolerance: float
    cotangents: Array
    random: int
    directions: int  # 0: every entry on its own
    rng: np.random.Generator

    @property
    def how(self) -> Method:
        """The numerical method."""
        return METHODS[self.method]


@dataclass(eq=False)
class Samples:
    """Slopes along P steps for M cotangents."""

    places: list[Index]  # P entries, or P times () for directions
    analytic: Array  # (P, M)
    numeric: Array  # (P, M)
    kinks: int
    outside: int = 0  # steps that leave the domain of f
    first_direction: Array | None = None


def check_block(
    problem: Problem, block: str, gradients: Array, plan: Plan, expect_zero: bool
) -> Row:
    """Return the row of one block; `gradients` (M, *block) are the claimed ones."""
    samples = _measure(problem, block, gradients, plan)
    noise = plan.how.noise(plan.step) * _magnitude(problem, plan.cotangents)
    row = Row(
        block, plan.method, "ok", checked=len(samples.places), kinks=samples.kinks,
        directions=plan.directions > 0,
    )  # fmt: skip
    if not samples.places and samples.outside:
        return replace(row, verdict="UNCLEAR", hint=OUTSIDE)
    if not samples.places:
        why = "every direction" if plan.directions else "every entry"
        advice = "units sit on their kink (zero bias, empty image?): move x or the parameters"
        return replace(row, verdict="UNCLEAR", hint=f"{why} crosses a kink; {advice}")
    row = _compared(row, samples, noise, plan, problem.blocks[block].shape)
    scale = max(np.abs(samples.analytic).max(), np.abs(samples.numeric).max())
    if scale <= DIGITS * noise:
        return _vanishing(row, expect_zero)
    if expect_zero:
        return replace(row, verdict="WRONG", hint="declared to be zero, but it is not")
    if row.over and plan.method == "central":
        extrapolated = check_block(
            problem, block, gradients, replace(plan, method="richardson"), expect_zero
        )
        if extrapolated.verdict == "ok":  # the error was h²·f‴/6, not the gradient's
            return replace(extrapolated, method=plan.method, hint=CURVED)
    if row.over == 0 and samples.outside and not plan.directions:
        total = samples.outside + samples.kinks + len(samples.places)
        text = f"{samples.outside} of {total} entries could not be compared: {OUTSIDE}"
        return replace(row, verdict="UNCLEAR", hint=text)
    if row.over == 0:
        return replace(row, hint=_reservations(samples, scale, noise, plan))
    row = replace(row, verdict="WRONG", hint=_explain(problem, block, samples, gradients, plan))
    return _located(problem, block, row, samples, gradients, plan) if plan.directions else row


def _measure(problem: Problem, block: str, gradients: Array, plan: Plan) -> Samples:
    samples = Samples([], np.empty(0), np.empty(0), kinks=0)
    analytic, numeric = [], []
    for place, step, kink in _steps(problem, block, plan):
        with np.errstate(all="ignore"):  # f may end between x and the step
            slope = plan.how.slope(problem, block, step)
        if kink or slope.kink:
            samples.kinks += 1
            continue
        if not slope.defined and np.isfinite(gradients).all():
            samples.outside += 1
            continue
        length = float(np.sqrt((slope.step * slope.step).sum()))
        samples.places.append(place)
        samples.first_direction = (
            step if samples.first_direction is None else samples.first_direction
        )
        analytic.append(_contract(gradients, slope.step / length))
        numeric.append(_contract(plan.cotangents, slope.dy) / length)
        if plan.directions and len(samples.places) == plan.directions:
            break
    samples.analytic, samples.numeric = np.array(analytic), np.array(numeric)
    return samples


def _steps(problem: Problem, block: str, plan: Plan) -> Iterator[tuple[Index, Array, bool]]:
    """Yield place, step, and whether a unit sits exactly on its kink along the step."""
    x = problem.blocks[block]
    sitting = plan.how.slope is complex_step and on_kink(problem, block, _direction(x, plan.rng))
    if plan.directions:
        for _ in range(plan.directions + DRAWS):
            direction = _direction(x, plan.rng)
            h = plan.step * max(1.0, float(np.abs(x).max()))
            yield (), h * direction, sitting
        return
    for place in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[place] = 1
        h = plan.step * max(1.0, abs(float(x[place])))
        yield place, h * unit, sitting and on_kink(problem, block, unit)


def _direction(x: Array, rng: np.random.Generator) -> Array:
    """Draw a unit vector of which no entry is small: random signs, sizes within a factor of 3."""
    d = rng.uniform(0.5, 1.5, x.shape) * rng.choice([-1.0, 1.0], x.shape)
    return np.asarray(d / np.sqrt((d * d).sum()))


def _compared(row: Row, samples: Samples, noise: float, plan: Plan, shape: Index) -> Row:
    """Fill in the worst entry, how many are over the tolerance, and the error of every entry."""
    a, n = samples.analytic, samples.numeric
    scale = max(np.abs(a).max(), np.abs(n).max())
    floor = max(FLOOR_PART * float(scale), noise / plan.tolerance, np.finfo(np.float64).tiny)
    absolute = np.abs(a - n)  # (P, M)
    relative = absolute / np.maximum(np.maximum(np.abs(a), np.abs(n)), floor)
    relative = np.where(np.isfinite(relative), relative, np.inf)
    p, m = np.unravel_index(relative.argmax(), relative.shape)
    single = int(m) - plan.random
    output = np.unravel_index(single, plan.cotangents.shape[1:]) if single >= 0 else None
    return replace(
        row,
        index=samples.places[p] if not plan.directions else None,
        output=None if output is None else tuple(int(i) for i in output),
        analytic=float(a[p, m]),
        numeric=float(n[p, m]),
        relative_error=float(relative[p, m]),
        absolute_error=float(absolute[p, m]),
        over=int((relative > plan.tolerance).any(axis=1).sum()),
        resolution=max(plan.tolerance, noise / max(float(scale), np.finfo(np.float64).tiny)),
        errors=None if plan.directions else _in_place(samples.places, relative.max(axis=1), shape),
    )


def _in_place(places: list[Index], values: Array, shape: Index) -> Array:
    """Return an array of `shape` with the values at their places, and NaN elsewhere."""
    array = np.full(shape, np.nan)
    for place, value in zip(places, values, strict=True):
        array[place] = value
    return array


def _vanishing(row: Row, expect_zero: bool) -> Row:
    if expect_zero:
        return replace(row, verdict="ok", over=0, hint="zero, as declared")
    small = "zero" if row.analytic == 0 else "below what this method resolves"
    text = f"the gradient is {small}, so a backward that returns zeros would pass as well: "
    text += "change x, or declare it with expect_zero if it vanishes by construction"
    return replace(row, verdict="VACUOUS", hint=text)


def _reservations(samples: Samples, scale: float, noise: float, plan: Plan) -> str:
    """Say what an "ok" does not cover."""
    if not plan.directions and samples.kinks > len(samples.places):
        total = samples.kinks + len(samples.places)
        return f"only {len(samples.places)} of {total} entries could be compared"
    if noise > plan.tolerance * scale:
        return f"a small gradient: compared to {noise / scale:.0e} of its largest entry only"
    return ""


def _explain(problem: Problem, block: str, samples: Samples, gradients: Array, plan: Plan) -> str:
    a, n = samples.analytic[:, 0], samples.numeric[:, 0]
    x, batch = problem.blocks[block], problem.y.shape[0] if problem.y.ndim else 1
    if not (np.isfinite(a).all() and np.isfinite(n).all()):
        return "NaN or Inf in the gradient"
    if plan.directions:
        return zero(a, n, x, batch) or scaled(a, n, x, batch) or ""
    whole = np.array(gradients[0])  # entries on a kink count as right
    for place, value in zip(samples.places, n, strict=True):
        whole[place] = value
    return (
        _one_sample(problem, block, gradients[0], plan)
        or hint(gradients[0], whole, x, batch)
        or _transposed(problem, block, plan)
    )


def _transposed(problem: Problem, block: str, plan: Plan) -> str:
    """Say so when the first sample gets J dy, of its Jacobian J = ∂y/∂x, and not Jᵀ dy."""
    x, y = problem.blocks[block], problem.y
    if block != "x" or x.ndim == 0 or y.shape[:1] != x.shape[:1]:
        return ""
    size = x[0].size
    if y[0].size != size or not 1 < size <= LARGEST_JACOBIAN:
        return ""
    claimed, numeric = np.empty((2, size, size))  # (input, output)
    for i in range(size):
        step, dy = np.zeros_like(x), np.zeros_like(y)
        step[0].flat[i] = plan.step
        dy[0].flat[i] = 1
        with np.errstate(all="ignore"):
            slope = plan.how.slope(problem, block, step)
        numeric[i] = slope.dy[0].ravel() / np.abs(slope.step).sum()
        claimed[:, i] = problem.pullback(dy)[block][0].ravel()
    bound = CLOSE * np.abs(numeric).max()
    if not np.abs(claimed - numeric.T).max() <= bound < np.abs(claimed - numeric).max():
        return ""  # NaN is none, either: the edge of a domain
    return "each row of dx is J dy but expected Jᵀ dy, J = ∂y/∂x: a missing transpose, dy @ W.T?"


def _one_sample(problem: Problem, block: str, a: Array, plan: Plan) -> str:
    """Say so when one sample of the batch alone makes the whole parameter gradient."""
    if block == "x" or problem.y.ndim == 0 or problem.y.shape[0] < 2 or not a.any():
        return ""
    for sample in (0, problem.y.shape[0] - 1):
        dy = np.zeros_like(problem.y)
        dy[sample] = plan.cotangents[0][sample]
        if np.allclose(problem.pullback(dy)[block], a, rtol=1e-9, atol=0):
            return f"only sample {sample} contributes: is the gradient summed over the batch?"
    return ""


def _located(
    problem: Problem, block: str, row: Row, samples: Samples, gradients: Array, plan: Plan
) -> Row:
    """Halve a failed direction until one wrong entry is left."""
    direction = samples.first_direction
    if direction is None:
        return row
    entries = np.arange(direction.size)
    while len(entries) > 1:
        halves = np.array_split(entries, 2)
        errors = [_error(problem, block, direction, half, gradients, plan)[0] for half in halves]
        entries = halves[int(np.argmax(errors))]
    error, a, n = _error(problem, block, direction, entries, gradients, plan)
    if error < 0:  # alone, the entry takes the whole step, and leaves the domain
        return row
    place = np.unravel_index(int(entries[0]), direction.shape)
    text = f"one wrong entry: analytic {a:+.3e}, numeric {n:+.3e}"
    return replace(
        row,
        index=tuple(int(i) for i in place),
        hint=f"{row.hint}; {text}" if row.hint else text,
    )


def _error(
    problem: Problem, block: str, direction: Array, entries: Array, gradients: Array, plan: Plan
) -> tuple[float, float, float]:
    step = np.zeros_like(direction)
    step.flat[entries] = direction.flat[entries]
    step *= plan.step / np.sqrt((step * step).sum())
    with np.errstate(all="ignore"):
        slope = plan.how.slope(problem, block, step)
    length = float(np.sqrt((slope.step * slope.step).sum()))
    a = float(_contract(gradients[:1], slope.step)[0]) / length
    n = float(_contract(plan.cotangents[:1], slope.dy)[0]) / length
    return abs(a - n) if slope.defined else -1.0, a, n


def _contract(rows: Array, x: Array) -> Array:
    """Return the sums of rows·x (M,), entry by entry: not a BLAS call, whose order may vary."""
    return np.asarray((rows * x).reshape(len(rows), -1).sum(axis=1))


def _magnitude(problem: Problem, cotangents: Array) -> float:
    """|dy·y|₂ of the largest cotangent."""
    terms = (cotangents * problem.y).reshape(len(cotangents), -1)
    return float(np.sqrt((terms * terms).sum(axis=1)).max())
