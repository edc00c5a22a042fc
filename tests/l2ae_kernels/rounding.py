"""How far a training step in float32 may be from one in float64: rounding, drawn at random.

A sum of n products s = Σ a_k b_k, added one after the other, rounds n times; rounding k is uniform
with variance (u |s_k|)²/3, u = 2⁻²⁴. Partial sums of terms of random signs are s_k² ≈ (k/n) S², so
that the sum's error is about u S √(n/6). S is the size of such a sum, √n rms(a) rms(b), even where
the terms cancel, and rms(s) where they do not. So `Rounded`, the reference in float64, adds to
every output and every gradient of a stage normal numbers with the standard deviation

    u S √(n/6 + FEW/3)            FEW: the operations on a number besides its sum

for n products; a batch norm has rows for products, its terms are x/σ and dy/σ, and all rows of a
channel have one more error in common, that of μ, σ and the sums of its adjoint. What that does to
loss, gradients and running statistics is what the network makes of rounding.

A bound is SAFETY times the largest of DRAWS such differences, or u of the number itself. Of 10⁵
normal numbers, the most that a step shows here, the largest is 4.5 standard deviations; that of
DRAWS arrays is 2 at least.
"""

from collections.abc import Mapping, Sequence
from math import prod, sqrt

import numpy as np

from l2ae_kernels.reference.step import ReferenceStep
from l2ae_kernels.stages import LatentGrad, Params, Stage

U = 2.0**-24
FEW = 6
DRAWS, SAFETY = 6, 4.0


class Rounded(ReferenceStep):
    """The reference with errors of the size of float32's; `rng` draws them."""

    rng: np.random.Generator

    def _forward(self, s: Stage, x: np.ndarray) -> np.ndarray:
        y = super()._forward(s, x)
        noise = self._noise(s, x, y, x)
        y += np.where(y > 0, 1, s.slope) * noise  # in front of the activation; no gate moves
        return y

    def _backward(self, s: Stage, x: np.ndarray, y: np.ndarray, dy: np.ndarray) -> np.ndarray:
        dx = super()._backward(s, x, y, dy)
        for name in s.parameters:
            g, positions = self.sums[f"{s.name}.{name}"], prod(y.shape[:-1])
            other = rms(x) if name == "W" else 1.0
            g += self._normal(g.shape, positions, max(rms(g), sqrt(positions) * other * rms(dy)))
        return dx + self._noise(s, x, dx, dy)

    def _noise(self, s: Stage, x: np.ndarray, made: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Errors of what a stage made of an array, in either direction."""
        if s.linear:
            n, W = _products(s), self.params[f"{s.name}.W"]
            return self._normal(made.shape, n, max(rms(made), sqrt(n) * rms(W) * rms(of)))
        if s.kind != "batch_norm":
            return self._normal(made.shape, s.input_shape[-1], rms(made))
        rows = x.reshape(-1, x.shape[-1])
        n, size = len(rows), rms(of / np.sqrt(rows.var(axis=0) + s.eps))
        size = max(rms(made), size * rms(self._scales(s)[0]))
        return self._normal(made.shape, n, size) + self._normal(x.shape[-1:], n, size)

    def _normal(self, shape: tuple[int, ...], n: int, size: float) -> np.ndarray:
        return U * size * sqrt(n / 6 + FEW / 3) * self.rng.standard_normal(shape)


def rms(a: np.ndarray) -> float:
    return float(np.sqrt((a**2).mean()))


def _products(s: Stage) -> int:
    """Terms of the longest sum of a sample in either direction."""
    W = s.parameters["W"]
    return max(W) if len(W) == 2 else prod(W[:2]) * max(W[2:])


def exact_and_bounds(
    stages: Sequence[Stage], params: Params, state: Params, x: np.ndarray,
    second_loss: LatentGrad | None = None,
) -> tuple[Mapping[str, np.ndarray], Mapping[str, float]]:  # fmt: skip
    """Return what a step finds in float64, "loss", gradients and state by name, and the bounds."""
    wide = {name: p.astype(np.float64) for name, p in params.items()}

    def found(kind: type[ReferenceStep], seed: int) -> dict[str, np.ndarray]:
        running = {name: a.astype(np.float64) for name, a in state.items()}
        step = kind(stages, wide, x.shape[1:], second_loss, running)
        if isinstance(step, Rounded):
            step.rng = np.random.default_rng(seed)
        loss = np.array(step.loss(x.astype(np.float64)))
        return {"loss": loss} | {n: g.copy() for n, g in step.grads().items()} | running

    exact = found(ReferenceStep, 0)
    draws = [found(Rounded, seed) for seed in range(DRAWS)]
    bounds = {
        name: SAFETY * max(U * np.abs(a).max(), *(np.abs(draw[name] - a).max() for draw in draws))
        for name, a in exact.items()
    }
    return exact, bounds
