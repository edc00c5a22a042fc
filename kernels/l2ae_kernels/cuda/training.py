"""Training of M networks of one shape on a device: images go up once, then indices.

    training = DeviceTraining(device, stages, [params], images, batch_size=256, settings=settings)
    losses = training.run(batches)      # (steps, M), of the indices of an epoch
    (params,) = training.params

Each step, for every model:  x = images[batch],  loss and gradients (Eq. 3),  one step of Adam.
Its launches are queued one by one the first time; from the second time on they are a captured
graph, which is replayed. A batch may have fewer images of one model than of another, or none: that
model pauses. All have the launches of a whole batch, in which absent images add zeros. The host
draws the batches and the weights at the start, and every sum has an order that `batch_size` and the
shape of one model fix: a training has the same bits in every run, and beside any number of others.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.batches import MOST_STEPS, Batches, Filled
from l2ae_kernels.cuda.block import Batch, Impl, Present
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.gradients import Gradients
from l2ae_kernels.cuda.graphs import Graph
from l2ae_kernels.cuda.launch import ceil_div
from l2ae_kernels.cuda.network import GradientParts, Network
from l2ae_kernels.cuda.training_checks import (
    Limits,
    OfModels,
    require_impl,
    require_models,
    require_moments,
    require_states,
    require_steps,
    require_whole,
)
from l2ae_kernels.cuda.weights import FlatLayout, Weights
from l2ae_kernels.ops.checks import count
from l2ae_kernels.stages import AdamSettings, Params, Reduction, Stage

CACHE = 48 << 20  # bytes: the second-level cache of a large GPU, but for a rest
LEAST_PIECE = 64  # images, so that their tiles are many


def images_of_piece(stages: Sequence[Stage], images: int, dtype: npt.DTypeLike) -> int:
    """Return of how many images the micro-batches of a batch are, but for the last one.

    As few equal ones as have activations and gradients of one model that stay in the cache; all
    images where there is batch norm, whose μ and v are those of the batch. This is a rule of shapes
    alone, so that neither the device nor models beside change a bit, and what a training keeps does
    not grow with its batches. At the paper's sizes a batch of 256 is whole.
    """
    if any(s.kind == "batch_norm" for s in stages):
        return images
    shapes = [stages[0].input_shape, *(s.output_shape for s in stages)]
    nbytes = 2 * sum(map(prod, shapes)) * np.dtype(dtype).itemsize
    most = max(LEAST_PIECE, CACHE // nbytes)
    return ceil_div(images, ceil_div(images, most))


class _Piece(NamedTuple):
    """A micro-batch: its first image within the batch, and where its errors and gradients go."""

    first: int
    x: Array  # (M, N, *image)
    network: Network
    present: Present
    errors: Array  # parts (count, M) of Σ |x̂ − x|²
    parts: GradientParts


class _Batch(NamedTuple):
    """What there is for a batch."""

    pieces: list[_Piece]
    errors: Array  # those of all pieces, one after the other
    gradients: Gradients


class _Replayed:
    """Launches: queued one by one by the first call, as the graph of them by every other one."""

    def __init__(self, device: Device, launches: Callable[[], None]) -> None:
        self._device, self._launches = device, launches
        self._calls = 0
        self._graph: Graph | None = None

    def __call__(self) -> None:
        self._calls += 1
        if self._calls == 1:  # it compiles what it launches, and may be the only one
            self._launches()
            return
        if self._graph is None:
            with self._device.capture() as graph:
                self._launches()
            self._graph = graph
        self._graph.launch()


class DeviceTraining:
    """M networks, their moments and their images on a device.

    stages: as for `ops.training_step`. params: of each model, host arrays of one dtype that the
    stages name. images (n, *image): uint8, which are divided by 255, or in that dtype. impl: of the
    products; None is "tensor" for float32, else "naive". micro_batch: gradients are summed over
    pieces of so many images, in order; None is `images_of_piece`; batch norm has no pieces. state:
    of each model, the running statistics of its batch norms, host arrays too.
    ValueError, by name, for what does not fit.
    """

    def __init__(
        self,
        device: Device,
        stages: Sequence[Stage],
        params: Sequence[Params],
        images: Array,
        *,
        batch_size: int,
        settings: AdamSettings,
        reduction: Reduction = "mean",
        impl: Impl | None = None,
        micro_batch: int | None = None,
        state: Sequence[Params] | None = None,
    ) -> None:
        shapes, dtype = require_models(stages, params, images)
        self.impl = require_impl(impl, dtype)
        self.batch_size = count("DeviceTraining", "batch_size", batch_size)
        self.micro_batch = micro_batch
        if micro_batch is not None:
            count("DeviceTraining", "micro_batch", micro_batch)
            require_whole(stages, micro_batch, batch_size)
        states = [{} for _ in params] if state is None else state
        state_shapes = require_states(stages, states, len(params), dtype)
        if reduction not in (known := get_args(Reduction)):
            raise ValueError(f"DeviceTraining: reduction is {reduction!r} but expected {known}")
        self.device, self.stages = device, stages
        self.models, self.image, self.dtype = len(params), images.shape[1:], dtype
        self.steps = np.zeros(self.models, np.int64)  # of Adam, that each model has made
        self._weights = Weights(device, shapes, params, settings, dtype)
        self._statistics = FlatLayout(state_shapes, self.models)
        self._state = device.to_device(self._statistics.join(states, dtype))
        numbers = prod(self.image) if reduction == "mean" else 1
        self._batches = Batches(device, images, self.models, batch_size, dtype, numbers)
        self._batch: _Batch | None = None
        self._replayed = {  # by whether the images are gathered
            gathers: _Replayed(device, partial(self._launch, gathers=gathers))
            for gathers in (True, False)
        }

    # --- what a checkpoint holds

    @property
    def params(self) -> list[Params]:
        """The parameters of each model, copies on the host; waits for all steps."""
        return self._weights.read(self._weights.p)

    @property
    def moments(self) -> tuple[list[Params], list[Params]]:
        """Adam's m and v of each model, copies on the host; waits for all steps."""
        return self._weights.read(self._weights.m), self._weights.read(self._weights.v)

    @property
    def state(self) -> list[Params]:
        """The running statistics of each model, copies on the host; waits for all steps."""
        return self._statistics.split(self.device.to_host(self._state))

    def load(self, m: Sequence[Params], v: Sequence[Params], steps: Sequence[int]) -> None:
        """Go on after so many steps of each model, which had these moments then."""
        for name, moments in (("m", m), ("v", v)):
            require_moments(name, moments, self._weights.layout, self.dtype)
        require_steps(steps, self.models)
        self._weights.load(m, v, [int(t) for t in steps])
        self.steps = np.array(steps, np.int64)

    # --- steps

    def run(self, batches: Sequence[OfModels]) -> Array:
        """Make a step on each batch of indices, and return the losses before it (steps, M).

        A batch is an array (n,), the same images for every model, or (M, n), for 1 ≤ n ≤
        batch_size; or a sequence of M arrays (n,), a length each: one of length 0 lets its model
        pause, whose loss is NaN then. Where the loss of a model is NaN or infinite, its parameters
        stay as they are; its running statistics are those of a forward pass, as in any step.
        """
        filled = self._limits.indices(batches, len(self._batches.images))
        return self._run(filled, gathers=True)

    def run_images(self, batches: Sequence[OfModels]) -> Array:
        """The same for batches of images that the host made, (n, *image) or (M, n, *image)."""
        return self._run(self._limits.images(batches), gathers=False)

    @property
    def _limits(self) -> Limits:
        return Limits(self.models, self.batch_size, self.image, self.dtype)

    def _run(self, batches: Sequence[Filled], *, gathers: bool) -> Array:
        """Queue the steps of a list of batches at a time, and wait for their losses."""
        losses = [np.empty((0, self.models))]
        for at in range(0, len(batches), MOST_STEPS):
            some = batches[at : at + MOST_STEPS]
            self._batches.start(some, gathers=gathers)
            for batch in some:
                for piece in () if gathers else self._arrays().pieces:
                    end = piece.first + piece.x.shape[1]
                    self.device.write(piece.x, batch.items[:, piece.first : end])
                self._replayed[gathers]()
                self.steps += batch.counts > 0
            losses.append(self._batches.read(len(some)))
        return np.concatenate(losses)

    def _launch(self, *, gathers: bool) -> None:
        """Queue the launches of a step one by one."""
        weights, batch = self._weights, self._arrays()
        arrays = weights.params | self._statistics.views(self._state)
        losses = self._batches.losses_of(batch.errors)
        begin = self._batches.gather if gathers else self._batches.begin
        for piece in batch.pieces:
            begin(piece.x, piece.present, piece.first)
            piece.network.forward(piece.x, arrays, None, piece.errors)
            if piece is batch.pieces[-1]:
                with piece.network.beside:
                    weights.begin_step(losses)
            piece.network.backward(arrays, piece.parts)
        weights.adam(batch.gradients.flat, batch.gradients.segments, losses.now)

    def _arrays(self) -> _Batch:
        """Return the micro-batches of a batch, made for the first one."""
        if self._batch is None:
            most = self.micro_batch or images_of_piece(self.stages, self.batch_size, self.dtype)
            firsts = range(0, self.batch_size, most)
            sizes = [min(most, self.batch_size - first) for first in firsts]
            of_size = {samples: self._network(samples) for samples in dict.fromkeys(sizes)}
            networks, present = zip(*(of_size[samples] for samples in sizes), strict=True)
            counts = [network.counts for network in networks]
            gradients = Gradients(self.device, self._weights.layout, counts, self.dtype)
            each = [network.loss_parts for network in networks]
            ends = np.cumsum(each)
            errors = self.device.empty((ends[-1], self.models), np.float64)
            pieces = [
                _Piece(
                    first,
                    self.device.empty((self.models, samples, *self.image), self.dtype),
                    network,
                    present[i],
                    errors[end - parts : end],
                    GradientParts(network, gradients, i),
                )
                for i, (first, samples, network, parts, end) in enumerate(
                    zip(firsts, sizes, networks, each, ends, strict=True)
                )
            ]
            self._batch = _Batch(pieces, errors, gradients)
        return self._batch

    def _network(self, samples: int) -> tuple[Network, Present]:
        """Return the network for a size of micro-batch, and what says how many samples count."""
        present = Present.of(self.device, self.models, self.dtype)
        batch = Batch(self.device, self.models, samples, self.dtype, self.impl, present)
        return Network(self.stages, batch), present
