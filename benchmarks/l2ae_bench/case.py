"""An operation of the table at a shape: its rungs, compared with the reference before timing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from l2ae_bench.comparison import Contender, require_agreement
from l2ae_bench.work import Work
from l2ae_kernels.arrays import Array
from l2ae_kernels.operations import IMPLEMENTATIONS, Shapes

# Sums of up to 50,000 products in another order, over the largest entry.
ROUNDING = {"float32": 1e-4, "float64": 1e-12}
SGEMM = "sgemm"  # the library's product, whatever its precision


class Prepared(NamedTuple):
    """`run(impl=...)` returns the result, a new or reused array."""

    run: Callable[..., Any]
    changes: tuple[Array, ...] = ()  # arrays that `run` changes in place: they are the result


@dataclass(eq=False)
class Case:
    """An operation at a shape; its arrays are made when they are first needed."""

    operation: str
    shape: str
    work: Work
    prepare: Callable[[], Prepared]
    product: tuple[int, int, int] | None = None  # (m, k, n) of the same product of matrices
    geometry: Shapes | None = None  # of a correlation, or of a training step

    @property
    def workload(self) -> str:
        """Name of the operation at this shape."""
        return f"{self.operation}-{self.shape}"

    @cached_property
    def prepared(self) -> Prepared:
        """The function and its arrays."""
        return self.prepare()

    @property
    def run(self) -> Callable[..., Any]:
        """The operation, on its arrays."""
        return self.prepared.run

    def rungs(self) -> list[str]:
        """Names of the rungs that can run here, slowest first."""
        x, table = np.empty(0, self.work.dtype), IMPLEMENTATIONS[self.operation]
        return [name for name, rung in table.items() if rung.takes(x, self.geometry)]

    def verified(self, rung: str) -> float:
        """Return how far a rung is from the reference; Disagreement when too far."""
        found, expected = (self.result(name) for name in (rung, "reference"))
        difference = max(
            float(np.abs(a.astype(np.float64) - b).max() / max(np.abs(b).max(), 1e-30))
            for a, b in zip(found, expected, strict=True)
        )
        what = "the rung and the reference"
        allowed = ROUNDING[self.work.dtype]
        return require_agreement(f"{self.workload}-{rung}", what, difference, allowed)

    def result(self, rung: str) -> list[Array]:
        """Copies of what a rung computes.

        Of `assign` the distances alone: where two centers are equally near, labels may differ.
        """
        changes = self.prepared.changes
        before = [a.copy() for a in changes]
        result = self.run(impl=rung)
        arrays = changes or (result if isinstance(result, tuple) else (np.asarray(result),))
        copies = [a.copy() for a in (arrays[1:] if self.operation == "assign" else arrays)]
        for a, b in zip(changes, before, strict=True):
            a[...] = b
        return copies

    def contenders(self, rungs: list[str]) -> dict[str, Contender]:
        """Return these rungs, and the library's product where there is one."""
        found: dict[str, Contender] = {r: partial(self.run, impl=r) for r in rungs}
        return found if self.product is None else found | {SGEMM: self._library(*self.product)}

    def _library(self, m: int, k: int, n: int) -> Contender:
        rng, dtype = np.random.default_rng(1), self.work.dtype
        A, B = (rng.random(s).astype(dtype) for s in ((m, k), (k, n)))
        return partial(np.matmul, A, B, out=np.empty((m, n), dtype))
