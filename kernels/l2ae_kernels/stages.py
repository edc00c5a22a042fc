"""A network as plain stages, and what a training step over them offers.

    images ─stage 0→ v_1 ─stage 1→ v_2 … ─stage L−1→ reconstruction        loss: Eq. 3 or 4

A stage is a linear map or a normalization, with the activation after it. It names its parameters;
their arrays stand beside the stages, in one dict. Memory is C-contiguous, so a reshape between two
stages needs no stage.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, prod
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from l2ae_kernels.arrays import Array, device_name
from l2ae_kernels.geometry import Padding, Pair

Shape: TypeAlias = tuple[int, ...]  # of one sample, without the batch axis N
Params: TypeAlias = dict[str, Array]
Kind: TypeAlias = Literal[
    "dense", "conv", "conv_transpose", "l2_normalize", "layer_norm", "batch_norm"
]  # fmt: skip
Reduction: TypeAlias = Literal["mean", "sum"]

# (first, u) -> du: what a second loss, on the codes u (n, D) of the samples first, first + 1, … of
# a batch, adds to their gradient. A step calls it once for each sample, maybe from several threads.
LatentGrad: TypeAlias = Callable[[int, Array], Array]


AdamVariant: TypeAlias = Literal["keras", "torch"]
REAL = (float, int, np.floating, np.integer)


@dataclass(frozen=True)
class AdamSettings:
    """What a step of Adam needs besides its arrays and t."""

    learning_rate: float = 1e-3  # η
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    variant: AdamVariant = "keras"

    def __post_init__(self) -> None:
        """Raise ValueError for a setting out of range."""
        for name, value in (("learning_rate", self.learning_rate), ("eps", self.eps)):
            if not (isinstance(value, REAL) and 0 <= value < inf):
                raise ValueError(f"AdamSettings: {name} is {value!r} but expected a number ≥ 0")
        for name, value in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not (isinstance(value, REAL) and 0 <= value < 1):
                raise ValueError(f"AdamSettings: {name} is {value!r} but expected 0 ≤ {name} < 1")
        if self.variant not in (known := get_args(AdamVariant)):
            raise ValueError(
                f"AdamSettings: variant is {self.variant!r} but expected one of {known}"
            )


@dataclass(frozen=True)
class Stage:
    """One map of a sample, and x ↦ x where x > 0, slope · x elsewhere.

    dense            y = x W + b                         W (I, O), b (O,)
    conv             y = correlate(x, W) + b             W (kh, kw, C, K), b (K,)
    conv_transpose   y = its adjoint in x (x, W) + b     W (kh, kw, C, K), b (C,)
    l2_normalize     u = z / √(|z|² + ε²)                no parameters                     Eq. 4
    layer_norm       y = γ (x − μ)/√(v + ε) + β          gamma, beta (D,) if `affine`
    batch_norm       the same, μ and v of each channel   gamma, beta (C,) if `affine`

    Batch norm's μ and v are those of all samples of a batch. It has a state beside its parameters,
    which every forward pass moves:  running ← momentum · running + (1 − momentum) · batch.
    """

    kind: Kind
    name: str  # of its parameters: params["encoder.3.W"] for "encoder.3"
    input_shape: Shape
    output_shape: Shape
    slope: float = 1.0  # 1: no activation
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))  # of the correlation, for both directions
    eps: float = 0.0
    momentum: float = 0.0  # of the running statistics
    affine: bool = False
    code: bool = False  # whether its input is the code u, at which a second loss acts

    @property
    def linear(self) -> bool:
        """Whether it has W and b."""
        return self.kind in ("dense", "conv", "conv_transpose")

    @property
    def parameters(self) -> dict[str, Shape]:
        """The shapes of its parameters."""
        inputs, outputs = self.input_shape[-1], self.output_shape[-1]
        match self.kind:
            case "dense":
                return {"W": (inputs, outputs), "b": (outputs,)}
            case "conv":
                return {"W": (*self.kernel, inputs, outputs), "b": (outputs,)}
            case "conv_transpose":
                return {"W": (*self.kernel, outputs, inputs), "b": (outputs,)}
        return {"gamma": (inputs,), "beta": (inputs,)} if self.affine else {}

    @property
    def state(self) -> dict[str, Shape]:
        """The shapes of its running statistics."""
        if self.kind != "batch_norm":
            return {}
        return dict.fromkeys(("running_mean", "running_var"), self.input_shape[-1:])


def code_stage(stages: Sequence[Stage]) -> int | None:
    """Return the stage whose input is the code u, None when no stage says so."""
    return next((i for i, s in enumerate(stages) if s.code), None)


@dataclass(eq=False)
class TrainingStep(ABC):
    """Loss and gradients of batches: of one list of stages and one dict of arrays.

    A call of `loss`, then at most one of `grads` and `adam`, which use what it left. `state` are
    the arrays of that name of the stages, which `loss` changes in place.
    """

    stages: Sequence[Stage]
    params: Params
    input_shape: Shape
    latent_grad: LatentGrad | None
    state: Params = field(default_factory=dict)

    @abstractmethod
    def __post_init__(self) -> None:
        """Make the buffers."""

    @abstractmethod
    def loss(self, x: Array, reduction: Reduction = "mean") -> float:
        """Return the loss of x (N, *input_shape), C-contiguous, in the dtype of the parameters.

        ValueError where x does not fit.

        "sum":   1/N     Σᵢ |x̂ᵢ − xᵢ|²                                         (Eq. 3)
        "mean":  1/(N P) Σᵢ |x̂ᵢ − xᵢ|²      for P numbers in an image
        """

    @abstractmethod
    def grads(self) -> Params:
        """Return the gradients, named like the parameters; the next call may overwrite them."""

    @abstractmethod
    def adam(self, m: Params, v: Params, settings: AdamSettings, step: int) -> None:
        """Make step `step` of Adam: parameters and moments m, v, named like them, change in place.

        The gradients are used up. ValueError where a moment does not fit.
        """

    def divisor(self, x: Array, reduction: Reduction) -> int:
        """N or N P, by which the sum of squares is divided; ValueError for what `loss` cannot take.

        Every `loss` begins with it: the kernels read N images from the address of x.
        """
        dtype = next(iter(self.params.values())).dtype
        fits = x.dtype == dtype and x.shape[1:] == tuple(self.input_shape) and len(x) > 0
        if not (fits and x.flags.c_contiguous):
            order = "" if x.flags.c_contiguous else " not C-contiguous"
            raise ValueError(
                f"training_step: x is {x.shape} {x.dtype}{order} but expected C-contiguous "
                f"(N ≥ 1, {', '.join(map(str, self.input_shape))}) {dtype}"
            )
        if reduction not in (known := get_args(Reduction)):
            raise ValueError(f"training_step: reduction is {reduction!r} but expected {known}")
        return len(x) * (prod(self.input_shape) if reduction == "mean" else 1)

    def require_moments(self, m: Params, v: Params) -> None:
        """Raise ValueError for moments that `adam` cannot write: kernels get their addresses."""
        for which, moments in (("m", m), ("v", v)):
            for name, p in self.params.items():
                a = moments.get(name)
                fits = a is not None and _kind(a) == _kind(p)
                # arrays of CuPy have no such flag: all of them can be written
                if a is None or not (fits and getattr(a.flags, "writeable", True)):
                    raise ValueError(
                        f"training_step: {which} has no writable C-contiguous array {name!r} of "
                        f"shape {p.shape} and dtype {p.dtype} on {device_name(p)}"
                    )


def _kind(a: Array) -> tuple[Any, ...]:
    """What a moment shares with its parameter."""
    return a.shape, a.dtype, device_name(a), a.flags.c_contiguous
