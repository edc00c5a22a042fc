"""Optimizers: Adam, and gradient descent with momentum. Parameters change in place."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple, get_args

import numpy as np

from l2ae_core.layers.base import Params, is_exactly
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, array_module
from l2ae_kernels.stages import AdamSettings, AdamVariant


class AdamUpdate(NamedTuple):
    """What a kernel needs to do a step of Adam itself: `adam` of a training_step takes it."""

    m: Params
    v: Params
    settings: AdamSettings
    step: int


class Optimizer(ABC):
    """Changes parameters by their gradients and remembers what it needs between two steps.

    `repr` gives its settings, without the memory: a checkpoint compares them.
    """

    @abstractmethod
    def step(self, params: Params, grads: Params) -> None:
        """Change every array of `params` in place; never bind a new one.

        Raises ValueError, naming the parameter, when the keys or shapes of `grads` or of the
        memory are not those of `params`; nothing is changed then.
        """

    def fused(self, params: Params) -> AdamUpdate | None:
        """Begin a step that a kernel will do, gradient by gradient, as soon as it has one.

        Whoever calls this changes every parameter and its memory as the result says, exactly once.
        None: there is no such kernel, nothing was begun; call `step`.
        """
        return None

    @abstractmethod
    def state_dict(self) -> Params:
        """Return copies of the memory as a flat dict of arrays."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the memory from what `state_dict` returned; ValueError for foreign keys."""


@dataclass(eq=False)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, Algorithm 1), t = 1, 2, …, elementwise.

        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        "keras":  p ← p − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)
        "torch":  p ← p − η / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)

    The variants differ in ε: "torch" adds it after the bias correction, as Algorithm 1 does,
    "keras" before it, so that its effective ε is larger in the first steps by 1 / √(1 − β₂ᵗ).
    The defaults are those of Keras up to 2.1.2, the framework of the networks in the paper.

    Raises ValueError for settings out of range.
    """

    learning_rate: float = 1e-3  # η
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    variant: AdamVariant = "keras"
    steps: int = field(default=0, init=False, repr=False)  # t
    m: Params = field(default_factory=dict, init=False, repr=False)
    v: Params = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check_range("Adam", "learning_rate", self.learning_rate, above=0.0)
        _check_range("Adam", "beta1", self.beta1, least=0.0, below=1.0)
        _check_range("Adam", "beta2", self.beta2, least=0.0, below=1.0)
        _check_range("Adam", "eps", self.eps, above=0.0)
        if self.variant not in get_args(AdamVariant):
            raise ValueError(
                f"Adam: variant is {self.variant!r} but expected one of {get_args(AdamVariant)}"
            )

    @property
    def settings(self) -> AdamSettings:
        """The settings, as the kernels take them."""
        return AdamSettings(self.learning_rate, self.beta1, self.beta2, self.eps, self.variant)

    def step(self, params: Params, grads: Params) -> None:
        """See `Optimizer.step`."""
        _check_like("Adam", "grads", params, grads)
        self._begin(params)
        for name, p in params.items():
            ops.adam_step(
                p, self.m[name], self.v[name], grads[name], self.settings, step=self.steps
            )

    def fused(self, params: Params) -> AdamUpdate | None:
        """See `Optimizer.fused`; None for a class that is derived from this one."""
        if not is_exactly(self, Adam):
            return None
        self._begin(params)
        return AdamUpdate(self.m, self.v, self.settings, self.steps)

    def _begin(self, params: Params) -> None:
        """Check the memory, make it in the first step, and count."""
        if not self.steps:
            self.m, self.v = _zeros_like(params), _zeros_like(params)
        _check_like("Adam", "m", params, self.m)
        _check_like("Adam", "v", params, self.v)
        self.steps += 1

    def state_dict(self) -> Params:
        """Return "steps" (), and "m.NAME", "v.NAME" for every parameter once a step was made."""
        return {
            "steps": np.array(self.steps, dtype=np.int64),
            **{f"m.{name}": m.copy() for name, m in self.m.items()},
            **{f"v.{name}": v.copy() for name, v in self.v.items()},
        }

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """See `Optimizer.load_state_dict`."""
        m, v = _with_prefix("m.", state), _with_prefix("v.", state)
        if m.keys() != v.keys() or len(state) != 1 + 2 * len(m) or "steps" not in state:
            raise ValueError(f"Adam: state has the keys {sorted(state)}, which are not Adam's")
        self.steps, self.m, self.v = int(state["steps"]), m, v


@dataclass(eq=False)
class SGD(Optimizer):
    """Gradient descent with momentum μ.

        w ← μ w − η g
        p ← p + w

    This is the form of Keras and Caffe. PyTorch keeps b ← μ b + g and subtracts η b: the same
    path for a constant η (w = −η b), another one when η changes on the way. No Nesterov step.

    Raises ValueError for settings out of range.
    """

    learning_rate: float  # η
    momentum: float = 0.0  # μ
    w: Params = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check_range("SGD", "learning_rate", self.learning_rate, above=0.0)
        _check_range("SGD", "momentum", self.momentum, least=0.0, below=1.0)

    def step(self, params: Params, grads: Params) -> None:
        """See `Optimizer.step`."""
        _check_like("SGD", "grads", params, grads)
        if not self.w:
            self.w = _zeros_like(params)
        _check_like("SGD", "w", params, self.w)
        for name, p in params.items():
            w = self.w[name]
            w *= self.momentum
            w -= self.learning_rate * grads[name]
            p += w

    def state_dict(self) -> Params:
        """Return "w.NAME" for every parameter once a step was made."""
        return {f"w.{name}": w.copy() for name, w in self.w.items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """See `Optimizer.load_state_dict`."""
        w = _with_prefix("w.", state)
        if len(w) != len(state):
            raise ValueError(f"SGD: state has the keys {sorted(state)}, which are not SGD's")
        self.w = w


OPTIMIZERS: dict[str, Callable[[float], Optimizer]] = {
    "adam": Adam,
    "sgd": SGD,
    "momentum": lambda learning_rate: SGD(learning_rate, momentum=0.9),
}


def make_optimizer(name: str, learning_rate: float) -> Optimizer:
    """Return a new "adam", "sgd" (no momentum) or "momentum" (SGD, μ = 0.9) optimizer.

    Raises ValueError for another name or a learning rate that is not positive.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"make_optimizer: name is {name!r} but expected one of {[*OPTIMIZERS]}")
    return OPTIMIZERS[name](learning_rate)


def _check_range(
    who: str,
    argument: str,
    value: float,
    *,
    above: float = -np.inf,
    least: float = -np.inf,
    below: float = np.inf,
) -> None:
    if not (isfinite(value) and above < value < below and value >= least):
        lower = f"> {above}" if isfinite(above) else f">= {least}"
        upper = f" and < {below}" if isfinite(below) else ""
        raise ValueError(f"{who}: {argument} is {value} but expected a number {lower}{upper}")


def _check_like(who: str, what: str, params: Params, arrays: Params) -> None:
    """Raise ValueError unless `arrays` has the keys, shapes and dtypes of `params`."""
    for name in params.keys() ^ arrays.keys():
        problem = "has no entry" if name in params else "has the unknown entry"
        raise ValueError(f"{who}: {what} {problem} {name!r}")
    for name, p in params.items():
        a = arrays[name]
        if a.shape != p.shape or a.dtype != p.dtype:
            raise ValueError(
                f"{who}: {what}[{name!r}] is {a.shape} {a.dtype} but the parameter is "
                f"{p.shape} {p.dtype}"
            )


def _zeros_like(params: Params) -> Params:
    return {name: array_module(p).zeros_like(p) for name, p in params.items()}


def _with_prefix(prefix: str, state: Mapping[str, Array]) -> Params:
    return {
        key.removeprefix(prefix): value.copy()
        for key, value in state.items()
        if key.startswith(prefix)
    }
