"""Loss and gradients of M networks of plain stages, as launches over arrays allocated once.

    x ─block 0→ v_1 ─block 1→ v_2 … ─block L−1→ x̂            E = Σ |x̂ − x|²  (Eq. 3)
    d_0 ←block 0─ d_1 ←block 1─ d_2 … ←block L−1─ d_L         d_i: gradient of what block i takes

All launches are queued; nothing is read back, and nothing outlives them but what is kept here.
"""

from collections.abc import Sequence
from math import prod

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import biases, loss
from l2ae_kernels.cuda.biases import Biases, Layer
from l2ae_kernels.cuda.block import Batch, Block
from l2ae_kernels.cuda.blocks import groups, make_block
from l2ae_kernels.cuda.gradients import Gradients
from l2ae_kernels.cuda.loss import squared_error_parts
from l2ae_kernels.cuda.weights import FlatLayout
from l2ae_kernels.stages import Params, Stage


class Network:
    """The blocks for one size of batch. counts: the parts that each named gradient comes in."""

    def __init__(self, stages: Sequence[Stage], batch: Batch) -> None:
        self.batch = batch
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
        self.counts = {f"{s.name}.{key}": 1 for s in stages for key in s.parameters}
        for block in self.blocks:
            self.counts |= block.counts()
        for name, _, rows, features in self._biases():
            self.counts[name] = biases.parts_of(rows, features)
        last = self.blocks[-1]
        numbers = batch.samples * prod(last.output_shape)
        self.loss_parts = last.loss_parts() or loss.parts_of(numbers)
        self._inputs: list[Array] = []
        self.beside = batch.device.branch()  # joined at the end of `backward`

    def forward(self, x: Array, params: Params, factor: float | None, errors: Array) -> None:
        """Write the parts of E (loss_parts, M) to `errors`, and begin the gradient: d_L.

        x (M, N, *image), params (M, *shape) each; factor: of E in what gradients are of; None where
        `batch.present` has it. Among params are the running statistics of batch norm, which move.
        """
        if (factor is None) != (self.batch.present is not None):
            raise ValueError("Network.forward: expected a factor, or samples that are present")
        factor = factor or 0.0
        self._inputs, v, last = [], x, self.blocks[-1]
        for block in self.blocks[:-1]:
            self._inputs.append(self.batch.per_sample(v, block.input_shape))
            v = block.forward(self._inputs[-1], params)
        self._inputs.append(self.batch.per_sample(v, last.input_shape))
        x, d = (self.batch.per_sample(a, last.output_shape) for a in (x, self.d[-1]))
        if last.loss_parts():
            last.reconstruct(self._inputs[-1], params, x, factor, d, errors)
            return
        v = last.forward(self._inputs[-1], params)
        slope = 1.0 if last.gates_dy else last.slope
        squared_error_parts(v, x, factor, d, errors, slope=slope, present=self.batch.present)

    def backward(self, params: Params, parts: "GradientParts") -> None:
        """Write the parts of the gradients, after `forward`."""
        with_bias = [i for i, block in enumerate(self.blocks) if block.bias is not None]
        for i, block in reversed(list(enumerate(self.blocks))):
            dy = self.batch.per_sample(self.d[i + 1], block.output_shape)
            if parts.biases is not None and i == with_bias[0]:  # all dy that it sums are there
                with self.beside:
                    parts.biases.adjoint(self._gradients, parts.flat)
            block.backward(dy, self._inputs[i], params, parts.views, self.beside)
        self.beside.join()

    def _biases(self) -> list[tuple[str, int, int, int]]:
        """Return name, place of dy, rows and features of each bias whose db no block makes."""
        found = []
        for block, name in zip(self.blocks, list(self._around.shapes)[1:], strict=True):
            if block.bias is not None:
                *pixels, features = block.output_shape
                at, rows = self._around.offsets[name], self.batch.samples * prod(pixels)
                found.append((block.bias, at, rows, features))
        return found

    def biases_to(self, places: dict[str, int]) -> Biases | None:
        """Return the launcher of the biases, whose parts begin at these places; None for none."""
        layers = [Layer(at, places[name], *rest) for name, at, *rest in self._biases()]
        return Biases(self.batch.device, layers, self.batch.models) if layers else None


class GradientParts:
    """Where a network leaves the gradients of a micro-batch."""

    def __init__(self, network: Network, gradients: Gradients, number: int) -> None:
        self.flat, self.views = gradients.flat, gradients.views(number)
        self.biases = network.biases_to(gradients.places(number))
