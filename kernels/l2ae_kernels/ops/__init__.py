"""The operations: shapes are checked, outputs allocated where none is given, the rung is picked.

All arrays are C-contiguous, images and feature maps NHWC, every argument of one dtype: float32 or
float64 for the fast implementations, complex128 for complex steps. `out` is written and returned.
`rung` forces an implementation of the table by name. `l2ae_kernels.reference` has the formulas.
"""

from l2ae_kernels.ops.conv import correlate, correlate_adjoint_W, correlate_adjoint_x
from l2ae_kernels.ops.dense import (
    bias_adjoint,
    dense,
    dense_adjoint_W,
    dense_adjoint_x,
    leaky_relu,
    leaky_relu_adjoint,
)
from l2ae_kernels.ops.kmeans import assign, restarts, restarts_class, update
from l2ae_kernels.ops.normalize import (
    batch_norm,
    batch_norm_adjoint,
    layer_norm,
    layer_norm_adjoint,
    moments,
)
from l2ae_kernels.ops.optim import adam_step

__all__ = [
    "adam_step",
    "assign",
    "batch_norm",
    "batch_norm_adjoint",
    "bias_adjoint",
    "correlate",
    "correlate_adjoint_W",
    "correlate_adjoint_x",
    "dense",
    "dense_adjoint_W",
    "dense_adjoint_x",
    "layer_norm",
    "layer_norm_adjoint",
    "leaky_relu",
    "leaky_relu_adjoint",
    "moments",
    "restarts",
    "restarts_class",
    "update",
]
