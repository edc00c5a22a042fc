"""What a wrong gradient looks like: from two arrays of one shape to a sentence that helps.

Each function takes the analytic and the numeric gradient of one block for one cotangent (and
the block's values) and returns a hint or None. They are tried in the order of `HINTS`.
"""

import itertools

import numpy as np

from l2ae_kernels.arrays import Array

CLOSE = 1e-5  # two gradients are taken for equal below this relative error: hints need no more
CONFINED_PART = 0.5  # "only at the border" says something if this part of the entries is right


def hint(a: Array, n: Array, x: Array, batch: int) -> str:
    """Return the first hint that applies to analytic `a` and numeric `n` at point `x`."""
    for find in HINTS:
        found = find(a, n, x, batch)
        if found:
            return found
    return ""


def zero(a: Array, n: Array, x: Array, batch: int) -> str | None:
    """One of the two is zero."""
    if not a.any():
        return "the analytic gradient is zero: is it computed at all?"
    if not n.any():
        return "f does not depend on this block numerically: are `params` live arrays, not copies?"
    return None


def scaled(a: Array, n: Array, x: Array, batch: int) -> str | None:
    """a = r·n with one r."""
    r = float((a * n).sum() / (n * n).sum())
    if a.size < 2 or not _close(a, r * n):
        return None
    if abs(r + 1) < CLOSE:
        return "analytic = -numeric: the sign is flipped"
    for factor, reason in (
        (2.0, "the factor of a squared term?"),
        (float(batch), "the batch size: averaged or summed over the samples?"),
        (float(n.size), "the number of entries: averaged or summed over them?"),
    ):
        if factor > 1 and (abs(r / factor - 1) < CLOSE or abs(r * factor - 1) < CLOSE):
            return f"analytic = {r:.6g} × numeric: {reason}"
    factor_text = f"{r:.6g}" if abs(r - 1) > 1e-3 else f"(1 {r - 1:+.1e})"
    return f"analytic = {factor_text} × numeric: a missing factor?"


def rearranged(a: Array, n: Array, x: Array, batch: int) -> str | None:
    """a is n with its axes swapped or reversed, or its entries in another order."""
    if a.size < 2 or a.ndim > 4 or a.size > 4096:
        return None
    long_axes = [axis for axis in range(a.ndim) if a.shape[axis] > 1]
    flips = [f for k in range(len(long_axes) + 1) for f in itertools.combinations(long_axes, k)]
    for axes in itertools.permutations(range(a.ndim)):
        if tuple(n.shape[axis] for axis in axes) != a.shape:
            continue
        for flip in flips:
            if _close(a, np.flip(n.transpose(axes), flip)):
                text = f" transposed to {axes}" if axes != tuple(range(a.ndim)) else ""
                text += f" flipped along {flip}" if flip else ""
                return f"analytic = numeric{text}: a transposed or flipped array?"
    if _close(np.sort(a, axis=None), np.sort(n, axis=None)):
        return "the same numbers in another order: C or Fortran order, or swapped axes?"
    return None


def unsigned(a: Array, n: Array, x: Array, batch: int) -> str | None:
    """a and n differ in signs alone: a = |n|, or an absolute value whose sign is forgotten."""
    if a.size < 2 or not _close(np.abs(a), np.abs(n)):
        return None
    if not (a < 0).any():
        return "analytic = |numeric|: an absolute value too many?"
    wrong = ~_agree(a, n)
    where = f"in {wrong.sum()} of {a.size} entries"
    if a.shape == x.shape and (np.array_equal(wrong, x < 0) or np.array_equal(wrong, x > 0)):
        where = f"at every x {'<' if np.array_equal(wrong, x < 0) else '>'} 0"
    return f"analytic = ±numeric, the sign is wrong {where}: the derivative of |·| is sign(·)?"


def shifted(a: Array, n: Array, x: Array, batch: int) -> str | None:
    """a is n moved by one along an axis, or along several."""
    for k in range(1, a.ndim + 1):
        for axes in itertools.combinations(range(a.ndim), k):
            if any(a.shape[axis] < 3 for axis in axes):
                continue
            for steps in itertools.product((-1, 1), repeat=k):
                move = dict(zip(axes, steps, strict=True))
                here, there = (
                    _overlap(a.ndim, move),
                    _overlap(a.ndim, {i: -s for i, s in move.items()}),
                )
                if a[here].any() and _close(a[here], n[there]):
                    how = ", ".join(f"{s:+d} along axis {i}" for i, s in move.items())
                    return f"analytic = numeric moved by {how}: padding (before, after) off by one?"
    return None


def confined(a: Array, n: Array, x: Array, batch: int) -> str | None:
    """The wrong entries are those with x < 0, or all lie at one place of an axis."""
    wrong = ~_agree(a, n)
    if a.shape == x.shape and wrong.any() and not wrong.all():
        side = x < 0 if np.array_equal(wrong, x < 0) else x > 0
        if np.array_equal(wrong, side):
            sign = "<" if np.array_equal(side, x < 0) else ">"
            return f"wrong at every x {sign} 0 and nowhere else: the slope or mask of a unit?"
    if wrong.mean() > CONFINED_PART:
        return None
    for axis in range(a.ndim):
        places = np.unique(np.nonzero(wrong)[axis])
        if a.shape[axis] > 2 and len(places) == 1:
            edge = " (the border: padding?)" if places[0] in (0, a.shape[axis] - 1) else ""
            return f"all errors at index {places[0]} of axis {axis}{edge}"
    return None


def projected(a: Array, n: Array, x: Array, batch: int) -> str | None:
    """The error is constant along some axes, or proportional to x or to x minus its mean."""
    if a.shape != x.shape or a.ndim < 2:
        return None
    error, last = a - n, a.ndim - 1
    if a.shape[last] > 2 and _parallel(error, x, (last,)):
        return "the error is parallel to x along the last axis: its projection is missing or wrong?"
    for axes, means in (((last,), "features"), (tuple(range(last)), "samples and positions")):
        if np.prod([a.shape[axis] for axis in axes]) < 3:
            continue
        centred = x - x.mean(axis=axes, keepdims=True)
        if _parallel(error, np.ones_like(x), axes):
            return f"the error is constant over {means}: the gradient through their mean missing?"
        if _parallel(error, centred, axes):
            through = "the gradient through the variance missing?"
            return f"the error is parallel to x - mean over {means}: {through}"
        if _parallel(error - error.mean(axis=axes, keepdims=True), centred, axes):
            return f"the error is a + b·x over {means}: are training and inference mixed up?"
        if _parallel(error, x, axes):
            return f"the error is parallel to x over {means}: the gradient through a norm missing?"
    return None


HINTS = (zero, scaled, rearranged, unsigned, shifted, projected, confined)


def _close(a: Array, n: Array) -> bool:
    return float(np.abs(a - n).max()) <= CLOSE * max(float(np.abs(n).max()), float(np.abs(a).max()))


def _agree(a: Array, n: Array) -> Array:
    scale = max(float(np.abs(n).max()), float(np.abs(a).max()))
    return np.asarray(
        np.abs(a - n) <= CLOSE * np.maximum(np.maximum(np.abs(a), np.abs(n)), 1e-3 * scale)
    )


def _parallel(error: Array, direction: Array, axes: tuple[int, ...]) -> bool:
    """True when error = c·direction with one c for all entries along `axes`."""
    square = (direction * direction).sum(axis=axes, keepdims=True)
    c = (error * direction).sum(axis=axes, keepdims=True) / np.where(square > 0, square, 1)
    return float(np.abs(error - c * direction).max()) <= CLOSE * float(np.abs(error).max())


def _overlap(ndim: int, move: dict[int, int]) -> tuple[slice, ...]:
    piece = {1: slice(1, None), -1: slice(None, -1)}
    return tuple(piece[move[i]] if i in move else slice(None) for i in range(ndim))
