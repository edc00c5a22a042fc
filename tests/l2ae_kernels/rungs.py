"""The rungs of the implementations table, and how far two of them may differ."""

import numpy as np

from l2ae_kernels.cpu.codegen.vectors import SETS, vectors
from l2ae_kernels.geometry import Geometry
from l2ae_kernels.operations import IMPLEMENTATIONS, Implementation

# Sums of up to some thousand products of standard normals, whatever their order, and by Winograd's
# algorithm: a few hundred units in the last place of the largest result.
TOLERANCE = {"float32": 2e-5, "float64": 2e-14}


def rungs(operation: str, dtype: str, geometry: Geometry | None = None) -> list[tuple[str, str]]:
    """Every CPU rung above the reference that takes the data, with the vectors to force."""
    return [
        (name, instructions)
        for name, rung in IMPLEMENTATIONS[operation].items()
        if name != "reference"
        for instructions in (SETS if rung.emitted else ["none"])
        if _takes(rung, dtype, instructions, geometry)
    ]


def _takes(rung: Implementation, dtype: str, instructions: str, geometry: Geometry | None) -> bool:
    with vectors(instructions):
        return rung.takes(np.empty(0, dtype), geometry)


def forced(function, rung, *arguments, **named):
    """Call `function` on one rung with the vectors that belong to it."""
    name, instructions = rung
    with vectors(instructions):
        return function(*arguments, **named, impl=name)


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def assert_agree(fast: np.ndarray, reference: np.ndarray) -> None:
    assert fast.shape == reference.shape
    assert fast.dtype == reference.dtype
    scale = np.abs(reference).max(initial=1.0)
    np.testing.assert_allclose(fast, reference, rtol=0, atol=TOLERANCE[fast.dtype.name] * scale)
