"""The two entry points: `check_layer` and `check_function`."""

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numba.core.errors import NumbaError
from numpy.random import Generator

from l2ae_core.gradcheck.contract import fitting, function_contract, layer_contract
from l2ae_core.gradcheck.differences import METHODS
from l2ae_core.gradcheck.probe import Plan, check_block
from l2ae_core.gradcheck.problem import FunctionProblem, LayerProblem, Problem
from l2ae_core.gradcheck.report import Report, Row
from l2ae_core.layers.base import Layer
from l2ae_kernels.arrays import Array

Mode = Literal["auto", "entries", "directions", "jacobian"]

COTANGENTS = 2  # random ones for each check
DIRECTIONS = 4  # random ones for each large block
ENTRIES = 256  # blocks up to this size are checked entry by entry
OUTPUTS = 24  # and with up to this many outputs, by their full Jacobian
SAME_VALUE = 1e-9  # forward at a complex point must give the same real part
STREAM = (2, 3, 5)  # sets the cotangents of a seed apart from all that the caller draws with it
LONG_NAME = 70  # a longer str(layer) is a dump of arrays: the class names it better
# A complex step further from the truth than this many times the resolution of the difference
# that confirms the gradient says something about forward, not about backward.
CLEARLY = 10.0
# What code that was written for real numbers raises at complex ones: of Python and NumPy, of
# PyTorch (RuntimeError), of assertions about dtypes, of look-ups by dtype, of compiled functions.
NOT_COMPLEX = (
    TypeError, ValueError, AttributeError, AssertionError, RuntimeError, LookupError,
    ArithmeticError, NumbaError, np.exceptions.ComplexWarning,
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """The arguments that the two entry points share."""

    methods: Sequence[str] = ("central", "complex")
    mode: Mode = "auto"
    eps: float | None = None
    tolerance: float | None = None
    entries: int = ENTRIES
    directions: int = DIRECTIONS
    expect_zero: Collection[str] = ()

    def validate(self, function: str, blocks: Iterable[str]) -> None:
        """Raise ValueError for names that are not known and for numbers that are not positive."""
        _known(function, "methods", self.methods, METHODS)
        _known(function, "mode", [self.mode], ("auto", "entries", "directions", "jacobian"))
        _known(function, "expect_zero", self.expect_zero, blocks)
        if not self.methods:
            raise ValueError(f"{function}: methods is empty but expected one of {list(METHODS)}")
        for name in ("eps", "tolerance", "entries", "directions"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{function}: {name} is {value} but expected a positive number")

    def plan(self, method: str, size: int, vectors: Array, rng: Generator) -> Plan:
        """Return how to check a block of `size` entries with the given cotangents."""
        how = METHODS[method]
        finite = method != "complex"
        by_directions = self.mode == "directions" or (self.mode == "auto" and size > self.entries)
        jacobian = len(vectors) > COTANGENTS and not by_directions
        return Plan(
            method,
            step=self.eps if finite and self.eps is not None else how.step,
            tolerance=self.tolerance if self.tolerance is not None else how.tolerance,
            cotangents=vectors if jacobian else vectors[:COTANGENTS],
            random=COTANGENTS,
            directions=self.directions if by_directions else 0,
            rng=rng,
        )


def check_layer(
    layer: Layer,
    x: Array,
    *,
    train: bool = False,
    methods: Sequence[str] = ("central", "complex"),
    mode: Mode = "auto",
    eps: float | None = None,
    tolerance: float | None = None,
    entries: int = ENTRIES,
    directions: int = DIRECTIONS,
    expect_zero: Collection[str] = (),
    rng: Generator | int = 0,
    name: str | None = None,
) -> Report:
    """Check `layer.backward` against numerical derivatives of `layer.forward` at x (N, ...).

    The loss is Σ dy·y with random dy, never ones: against ones the gradient of a softmax is zero
    and a mean over the outputs looks like the outputs. Everything runs in float64 on a copy made
    by `layer.astype(np.float64)`; x is cast. Running statistics are put back after each forward.

    train: passed on to forward; check BatchNorm both ways.
    methods: of "central", "richardson", "complex". The complex step is skipped, with the reason
        in the report, where forward does not accept complex arrays or is not analytic.
    mode: "entries": each entry of x and of every parameter; "directions": random directions of
        each block; "jacobian": entries, against every single output too; "auto": the full
        Jacobian for few outputs, entries for blocks of up to `entries`, else directions.
    eps: relative step of the finite differences, eps·max(1, |x|); None: 1e-5 (central), 1e-3
        (richardson). tolerance: on the relative error of `probe.py`; None: 1e-6 (central), 1e-7
        (richardson), 1e-9 (complex).
    directions: how many random directions for each block that is too large for entries.
    expect_zero: blocks whose gradient vanishes by construction, such as a bias before BatchNorm;
        any other zero gradient is VACUOUS, and the report is then not ok.
    rng: Generator, or seed, of the cotangents and directions.

    Raises ValueError for x that is not real and finite, for unknown methods or blocks, and for what
    is no layer: forward must return (y, cache), backward (dx, grads).
    """
    options = Options(methods, mode, eps, tolerance, entries, directions, expect_zero)
    problem = LayerProblem(layer, x, train)
    options.validate("check_layer", problem.blocks)
    generator = generator_of(rng)
    vectors = cotangents(generator, problem.y.shape)
    contract = layer_contract(problem, *vectors[:2])
    if mode == "jacobian" or (mode == "auto" and problem.y.size <= OUTPUTS):
        units = np.eye(problem.y.size).reshape(problem.y.size, *problem.y.shape)
        vectors = np.concatenate([vectors, units])
    rows = _numerical_rows(problem, vectors, options, generator)
    plain = type(layer).__repr__ is object.__repr__  # "<layers.Scale object at 0x7f…>"
    short = type(layer).__name__ if plain or len(str(layer)) > LONG_NAME else str(layer)
    title = f"{short}, x {problem.blocks['x'].shape}, train={train}"
    return Report(name or title, (*rows, *contract))


def check_function(
    f: Callable[[Any], Any],
    gradient: Callable[[Any], Any],
    x: Array | Mapping[str, Array],
    *,
    methods: Sequence[str] = ("central", "complex"),
    mode: Literal["auto", "entries", "directions"] = "auto",
    eps: float | None = None,
    tolerance: float | None = None,
    entries: int = ENTRIES,
    directions: int = DIRECTIONS,
    expect_zero: Collection[str] = (),
    rng: Generator | int = 0,
    name: str | None = None,
) -> Report:
    """Check `gradient` of the scalar function `f`, both of one array or of a dict of arrays.

    f(x) -> float; gradient(x) -> an array of the shape of x, or a dict with the keys and shapes
    of x. Nothing tells which piece of f the point lies on, so a kink is found by its slopes:
    f(x+h) − 2f(x) + f(x−h) falls as h² where f is smooth. Arguments as in `check_layer`.

    Raises ValueError for x that is not real and finite, or when f does not return a scalar.
    """
    options = Options(methods, mode, eps, tolerance, entries, directions, expect_zero)
    problem = FunctionProblem(f, gradient, x)
    options.validate("check_function", problem.blocks)
    contract = function_contract(problem, next(iter(problem.blocks)))
    rows = _numerical_rows(problem, np.ones(1), options, generator_of(rng))
    title = str(getattr(f, "__name__", type(f).__name__))
    return Report(name or title, (*rows, *contract))


def generator_of(rng: Generator | int) -> Generator:
    """Return the generator of a seed: a stream that `default_rng(seed)` does not share.

    Otherwise x = default_rng(0).standard_normal(...) would come back as its own cotangent, and
    against dy = x many a wrong backward is right.
    """
    if isinstance(rng, Generator):
        return rng
    return np.random.default_rng(np.random.SeedSequence(rng, spawn_key=STREAM))


def cotangents(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Draw the random cotangents dy (COTANGENTS, *shape), standard normal."""
    return rng.standard_normal((COTANGENTS, *shape))


def _numerical_rows(
    problem: Problem, vectors: Array, options: Options, rng: Generator
) -> list[Row]:
    """Compare every block by every method; `vectors` (M, *y) are the cotangents."""
    good, rows = fitting(problem, problem.pullback(vectors[0]))
    if not np.isfinite(problem.y).all():
        return rows
    claims = [problem.pullback(dy) for dy in vectors]
    for method in options.methods:
        for block in good:
            reason = _inapplicable(problem, block) if method == "complex" else ""
            if reason:
                rows.append(Row(block, method, "skipped", reason))
                continue
            plan = options.plan(method, problem.blocks[block].size, vectors, rng)
            gradients = np.stack([claim[block] for claim in claims[: len(plan.cotangents)]])
            rows.append(check_block(problem, block, gradients, plan, block in options.expect_zero))
    return _without_nonanalytic(rows)


def _inapplicable(problem: Problem, block: str) -> str:
    """Return why the complex step cannot be used, or "" if it can.

    At real numbers forward has worked: what it raises here, it raises at complex ones.
    """
    x = problem.blocks[block]
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            y, _ = problem.evaluate(block, x.astype(np.complex128))
        except NOT_COMPLEX as error:
            return f"forward does not take complex numbers: {error or type(error).__name__}"
    if not np.iscomplexobj(y):
        return f"forward returned {y.dtype} for complex numbers: the imaginary part is lost"
    scale = max(1.0, float(np.abs(problem.y).max()))
    if float(np.abs(y - problem.y).max()) > SAME_VALUE * scale:
        return "forward gives other values for complex numbers with no imaginary part"
    return ""


def _without_nonanalytic(rows: list[Row]) -> list[Row]:
    """Skip complex rows that contradict a difference which confirms the gradient."""
    confirmed = {
        row.block: row
        for row in rows
        if row.method in ("central", "richardson") and row.verdict == "ok" and row.kinks == 0
    }
    reason = "a complex step contradicts the differences: forward is not analytic (abs, norm?)"
    return [
        replace(row, verdict="skipped", hint=reason)
        if row.method == "complex"
        and row.verdict == "WRONG"
        and row.block in confirmed
        and row.relative_error > CLEARLY * confirmed[row.block].resolution
        else row
        for row in rows
    ]


def _known(function: str, argument: str, names: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(
            f"{function}: {argument} names {unknown} but expected some of {sorted(known)}"
        )
