"""The operations: arguments are checked, outputs allocated where none is given, the rung is picked.

Images and feature maps are NHWC, every array argument of one dtype: float32 or float64 for the fast
implementations, complex128 for complex steps. Inputs may have any strides; what is not C-contiguous
is copied. There may be no samples, and no features of a dense layer; no other axis is empty. `out`,
C-contiguous and apart from the inputs, is written and returned. `impl` forces an implementation of
the table by name. ValueError names the argument that does not fit, before anything is written.
`l2ae_kernels.reference` has the formulas.

NaN and infinity: a result that such a number reaches, by factors other than 0, is not finite, and
what it cannot reach stays as it is. Products with an exact 0, of padding say, may be left out. Rung
`winograd` spreads what is not finite over the channel or the sample that it is in. `warp` refuses
maps with such a number.
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
from l2ae_kernels.ops.loss import squared_error, squared_error_adjoint
from l2ae_kernels.ops.normalize import (
    batch_norm,
    batch_norm_adjoint,
    l2_normalize,
    l2_normalize_adjoint,
    layer_norm,
    layer_norm_adjoint,
    moments,
)
from l2ae_kernels.ops.optim import adam_step
from l2ae_kernels.ops.step import training_step
from l2ae_kernels.ops.warp import warp

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
    "l2_normalize",
    "l2_normalize_adjoint",
    "layer_norm",
    "layer_norm_adjoint",
    "leaky_relu",
    "leaky_relu_adjoint",
    "moments",
    "restarts",
    "restarts_class",
    "squared_error",
    "squared_error_adjoint",
    "training_step",
    "update",
    "warp",
]
