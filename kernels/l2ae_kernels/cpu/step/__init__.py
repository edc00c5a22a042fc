"""A whole training step of plain stages, compiled: loss, gradients, Adam in a few parallel regions.

convolutional.py   networks with convolutions: each thread takes micro-batches through the network
dense.py           networks without: each thread takes ranges of samples, then panels of weights
passes.py          what both do: the calls of forward, loss and backward
dense_batch.py     the batch of a dense network: its memory, its passes
batch_norm.py      what batch norm keeps of a batch, and its sums over all samples
products.py        the three products of a linear stage
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from l2ae_kernels.cpu.step.convolutional import ConvolutionalStep
from l2ae_kernels.cpu.step.dense import DenseStep
from l2ae_kernels.stages import LatentGrad, Params, Shape, Stage, TrainingStep, code_stage


def training_step(
    stages: Sequence[Stage], params: Params, input_shape: Shape, latent_grad: LatentGrad | None,
    state: Params,
) -> TrainingStep:  # fmt: skip
    """Return the compiled step of stages that `takes` accepts; parameters are float32."""
    kind = DenseStep if _dense(stages) else ConvolutionalStep
    return kind(stages, params, input_shape, latent_grad, state)


def takes(_: Any, stages: Sequence[Stage]) -> bool:
    """Whether the kernels cover these stages.

    The gate of an activation is part of the product after it: one right before a normalization, the
    code or the loss has none. Dense networks keep no gradients a thread, which γ and β of a layer
    norm would need.
    """
    ends = stages[0].linear and stages[-1].linear and stages[-1].slope == 1.0
    code = code_stage(stages)
    return (
        ends
        and all(before.slope == 1.0 for before, s in pairwise(stages) if not s.linear)
        and (code is None or (stages[code].linear and stages[code - 1].slope == 1.0))
        and not (_dense(stages) and any(s.affine and s.kind == "layer_norm" for s in stages))
    )


def _dense(stages: Sequence[Stage]) -> bool:
    return not any(s.kind in ("conv", "conv_transpose") for s in stages)
