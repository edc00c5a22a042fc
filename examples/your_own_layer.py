"""Write a layer, and let the gradient checker find the mistake in it.

Run as a script, or cell by cell in an editor that knows `# %%`.
"""

# %% A layer is a map, its forward pass and its adjoint. This one scales every feature: y = s x.
from dataclasses import dataclass

import numpy as np

from l2ae_core.gradcheck import check_layer
from l2ae_core.layers import L2Normalize
from l2ae_core.layers.base import Cache, Layer, Params
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class Scale(Layer):
    """y = s x,  dx = s dy,  ds = Σ_n x_n dy_n."""

    s: Array  # (D,)

    @property
    def params(self) -> Params:
        return {"s": self.s}

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        return self.s * x, x

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        x = cache
        return self.s * dy, {"s": (x * dy).sum(axis=0)}


# %% Is the backward pass the derivative of the forward pass? Central differences and complex steps
# say so, for random directions and single entries, ranked by relative error.
rng = np.random.default_rng(0)
x = rng.standard_normal((5, 4))
report = check_layer(Scale(rng.standard_normal(4)), x)
print(report)
report.raise_if_bad()


# %% The paper's constraint u = z/|z| has a projection in its backward pass. Leave it out, and the
# loss still falls: a training curve does not show the mistake. The checker does.
class Unprojected(L2Normalize):
    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        _, n = cache
        return dy / n, {}


report = check_layer(Unprojected(), x)
print(report)
assert not report.ok
