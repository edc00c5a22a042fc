"""Loss and gradients of M networks of plain stages, as launches over arrays allocated once.

    x ─block 0→ v_1 ─block 1→ v_2 … ─block L−1→ x̂            E = Σ |x̂ − x|²  (Eq. 3)
    d_0 ←block 0─ d_1 ←block 1─ d_2 … ←block L−1─ d_L         d_i: gradient of what block i takes

All launches are queued; nothing is read back, and nothing outlives them but what is kept here.
"""

from collections.abc import Sequence
from math import prod

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.biases import Biases, Layer
from l2ae_kernels.cuda.blocks import Batch, Block, groups, make_block
from l2ae_kernels.cuda.loss import squared_error
from l2ae_kernels.cuda.weights import FlatLayout
from l2ae_kernels.stages import Params, Stage


class Network:
    """The blocks for one size of batch. layout: of the flat array of parameters' gradients."""

    def __init__(self, stages: Sequence[Stage], batch: Batch, layout: FlatLayout) -> None:
        self.batch, self.layout = batch, layout
        parts = groups(stages, batch)
        shapes = [part[0].input_shape for part in parts] + [parts[-1][-1].output_shape]
        # all d_i in one array, where the gradients of the biases find them
        self._around = FlatLayout(
            {f"d{i}": (batch.samples, *shape) for i, shape in enumerate(shapes)}, batch.models
        )
        self._gradients = batch.device.empty(self._around.size, batch.dtype)
        self.d = list(self._around.views(self._gradients).values())  # (M, N, *shape) each
        self.blocks: list[Block] = []
        for part, dx in zip(parts, self.d, strict=False):
            self.blocks.append(make_block(batch, part, self.blocks[-1:], dx))
        self.biases = Biases(batch.device, self._layers(), batch.models)

    def loss_and_grads(
        self, x: Array, params: Params, factor: float, grads: Array, errors: Array
    ) -> None:
        """Write the gradients of factor · E to `grads`, and add E to `errors`.

        x (M, N, *image), params (M, *shape) each, grads (layout.size,), errors (M,) float64. Among
        params are the running statistics of batch norm, which move.
        """
        inputs, v = [], x
        for block in self.blocks:
            inputs.append(self.batch.per_sample(v, block.input_shape))
            v = block.forward(inputs[-1], params)
        last = self.blocks[-1]
        slope = 1.0 if last.gates_dy else last.slope
        x = self.batch.per_sample(x, last.output_shape)
        squared_error(v, x, factor, self.d[-1], errors, slope=slope)
        named = self.layout.views(grads)
        for i, block in reversed(list(enumerate(self.blocks))):
            dy = self.batch.per_sample(self.d[i + 1], block.output_shape)
            block.backward(dy, inputs[i], params, named)
        self.biases.adjoint(self._gradients, grads)

    def _layers(self) -> list[Layer]:
        """Return where dy and db of each bias lie that no block makes."""
        layers = []
        for block, name in zip(self.blocks, list(self._around.shapes)[1:], strict=True):
            if block.bias is not None:
                *pixels, features = block.output_shape
                at, to = self._around.offsets[name], self.layout.offsets[block.bias]
                layers.append(Layer(at, to, self.batch.samples * prod(pixels), features))
        return layers
