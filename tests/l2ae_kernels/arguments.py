"""Arguments that fit, for every operation, by the names of its parameters."""

from collections.abc import Callable
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import AXES, FIXED
from l2ae_kernels.stages import AdamSettings

LENGTHS = {"N": 3, "H": 6, "W": 6, "OH": 3, "OW": 4, "kh": 3, "kw": 3, "C": 4, "K": 5,
           "I": 6, "O": 2, "n": 9, "d": 3, "k": 2} | FIXED  # fmt: skip
GEOMETRY = {"stride": (2, 1), "padding": ((1, 0), (0, 0))}
NUMBERS: dict[str, dict[str, Any]] = {
    "correlate": GEOMETRY,
    "correlate_adjoint_x": GEOMETRY | {"image_size": (6, 6)},
    "correlate_adjoint_W": GEOMETRY | {"kernel_size": (3, 3)},
    "leaky_relu": {"slope": 0.3},
    "leaky_relu_adjoint": {"slope": 0.3},
    "batch_norm_adjoint": {"of_batch": True},
    "l2_normalize": {"eps": 1e-3},
    "squared_error_adjoint": {"dE": 0.5},
    "layer_norm": {"eps": 1e-3},
    "layer_norm_adjoint": {"eps": 1e-3},
    "adam_step": {"settings": AdamSettings(), "step": 1},
    "update": {"k": 2},
    "restarts": {"k": 2, "runs": 2},
}
READ = {name: [a.rstrip("?") for a in row] for name, row in AXES.items()}
NO_OUT = {"adam_step", "assign", "moments", "restarts", "squared_error", "update"}
WITH_OUT = sorted(set(AXES) - NO_OUT)


def draw_arrays(operation: str, dtype: str = "float32", samples: int = 3) -> dict[str, Array]:
    """Return the arrays of the table, by name; adam_step has p, m and v beside."""
    rng = np.random.default_rng(0)
    lengths = LENGTHS | {"N": samples}
    arrays = {}
    for name, axes in AXES[operation].items():
        shape = [n for a in axes.split() for n in ((samples, 2) if a == "..." else (lengths[a],))]
        arrays[name.rstrip("?")] = (1.5 + rng.standard_normal(shape)).astype(dtype)
    if operation == "adam_step":
        arrays |= {name: np.abs(rng.standard_normal((samples, 2))).astype(dtype) for name in "pmv"}
    if operation == "update":
        arrays["labels"] = rng.integers(0, 2, samples)
    return arrays


def results(function: Callable[..., Any], arguments: dict[str, Any]) -> list[Array]:
    """Call an operation and return all arrays that it made or changed."""
    found = function(**arguments)
    if found is None:
        return [arguments[name] for name in "pmv"]
    if hasattr(found, "assign"):
        found.centers[:] = arguments["x"][:2]
        found.assign([0, 1])
        return [found.labels, found.sums, found.counts]
    if isinstance(found, tuple):
        return list(found)
    return [np.asarray(found) if np.isscalar(found) else found]
