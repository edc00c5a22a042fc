"""What must hold before any derivative: shapes, keys, dtypes, determinism, no side effects.

Each broken promise becomes a "WRONG" row with the method "contract".
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from l2ae_core.gradcheck.problem import LayerProblem, Problem
from l2ae_core.gradcheck.report import Row
from l2ae_core.layers.base import weight_grads
from l2ae_kernels.arrays import Array

METHOD = "contract"


def layer_contract(problem: LayerProblem, dy: Array, other_dy: Array) -> list[Row]:
    """Run forward and backward several times; return one row for each broken promise."""
    broken = list(_forward(problem)) + list(_backward(problem, dy, other_dy))
    return broken or [_kept("forward")]


def function_contract(problem: Problem, block: str) -> list[Row]:
    """Evaluate the function and its gradient twice."""
    y, _ = problem.evaluate(block, problem.blocks[block])
    first, second = problem.pullback(np.ones(())), problem.pullback(np.ones(()))
    broken = []
    if problem.y.dtype != np.float64:
        broken.append(_broken("f", f"f returns {problem.y.dtype} but expected float64"))
    if not np.isfinite(problem.y):
        broken.append(_broken("f", f"f returns {problem.y}"))
    if not same_bits(y, problem.y):
        broken.append(_broken("f", "two calls of f differ: is there randomness or state in it?"))
    if not same_bits(first, second):
        broken.append(_broken("gradient", "two calls of gradient differ: randomness or state?"))
    return broken or [_kept("f")]


def fitting(problem: Problem, gradients: Mapping[str, Array]) -> tuple[list[str], list[Row]]:
    """Return the blocks whose gradient can be compared, and a row for each that cannot."""
    good, rows = [], []
    for name, x in problem.blocks.items():
        if name not in gradients:
            rows.append(_broken(name, f"there is no gradient {name!r}; got {sorted(gradients)}"))
            continue
        g = gradients[name]
        if not isinstance(g, np.ndarray):
            kind = type(g).__name__
            rows.append(_broken(name, f"gradient is a {kind} but expected an array {x.shape}"))
        elif g.shape != x.shape:
            rows.append(_broken(name, f"gradient is {g.shape} but {name} is {x.shape}"))
        elif g.dtype != np.float64:
            text = f"gradient is {g.dtype} but {name} is float64: is it cast on the way?"
            rows.append(_broken(name, text))
        else:
            good.append(name)
    for name in sorted(set(gradients) - set(problem.blocks)):
        rows.append(_broken(name, f"a gradient {name!r} of nothing: no such parameter"))
    return good, rows


def _forward(problem: LayerProblem) -> Iterator[Row]:
    if problem.y.dtype != np.float64:
        yield _broken("forward", f"y is {problem.y.dtype} but x and parameters are float64")
    if not np.isfinite(problem.y).all():
        yield _broken("forward", "y holds NaN or Inf")
    x = problem.blocks["x"].copy()
    before = copy.deepcopy(problem.cache)
    y, _ = problem.forward(x)
    if not same_bits(y, problem.y):
        yield _broken("forward", "two calls of forward differ: is there randomness or state?")
    if not same_bits(x, problem.blocks["x"]):
        yield _broken("forward", "forward changed x")
    _forward_elsewhere(problem, x)
    if not same_bits(problem.cache, before):
        yield _broken("forward", "a later forward changed the cache of an earlier one")
    if not _parameters_kept(problem):
        yield _broken("forward", "forward changed the parameters")


def _forward_elsewhere(problem: LayerProblem, x: Array) -> None:
    """Run forward at another input: that in another order where f ends before x + 1."""
    try:
        with np.errstate(all="ignore"):
            problem.forward(x + 1)
    except (ArithmeticError, ValueError):
        problem.forward(np.ascontiguousarray(x[::-1]))


def _backward(problem: LayerProblem, dy: Array, other_dy: Array) -> Iterator[Row]:
    layer, cache = problem.layer, problem.cache
    before, state = copy.deepcopy(cache), copy.deepcopy(dict(layer.state))
    passed = dy.copy()
    first = problem.backward(passed)
    kept = copy.deepcopy(first)
    if not same_bits(passed, dy):
        yield _broken("backward", "backward changed dy")
    if not same_bits(cache, before):
        yield _broken("backward", "backward changed the cache")
    layer.backward(other_dy.copy(), cache)
    if not same_bits(first, kept):
        yield _broken("backward", "a second call changed the gradients returned by the first")
    if not same_bits(layer.backward(dy.copy(), cache), kept):
        yield _broken("backward", "two calls of backward differ: is something stored or random?")
    if not same_bits(weight_grads(layer, dy.copy(), cache), kept[1]):
        yield _broken("weight_grads", "weight_grads(dy, cache) is not backward(dy, cache)[1]")
    if not _parameters_kept(problem):
        yield _broken("backward", "backward changed the parameters")
    if not same_bits(dict(layer.state), state):
        yield _broken("backward", "backward changed the state")


def same_bits(a: Any, b: Any) -> bool:
    """Compare arrays bit for bit, inside tuples, lists, dicts, dataclasses and plain objects."""
    if isinstance(a, np.ndarray | np.generic):
        same = isinstance(b, np.ndarray | np.generic) and a.dtype == b.dtype and a.shape == b.shape
        return same and a.tobytes() == b.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same_bits(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same_bits(i, j) for i, j in zip(a, b, strict=True))
    if is_dataclass(a):
        return all(same_bits(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if hasattr(a, "__dict__"):
        return same_bits(vars(a), vars(b))
    return bool(a == b)


def _parameters_kept(problem: LayerProblem) -> bool:
    return all(same_bits(p, problem.blocks.get(name)) for name, p in problem.layer.params.items())


def _broken(block: str, text: str) -> Row:
    return Row(block, METHOD, "WRONG", text)


def _kept(block: str) -> Row:
    return Row(block, METHOD, "ok")
