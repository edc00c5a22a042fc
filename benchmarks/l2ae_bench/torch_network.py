"""The peer of a training step: the same auto-encoder in PyTorch, with our weights.

It is the network that a PyTorch user would write. Our "same" padding at stride 2 is (1, 2): one
zero before, two after. PyTorch's `padding=2` is (2, 1), since the last row that does not fill a
stride is dropped. Mirrored images under mirrored kernels map one to the other exactly, so the
peer trains on mirrored images, and needs no copy to pad or to crop: `padding` and `output_padding`
say it all.

Its other advantages: channels_last, so that our NHWC arrays are its tensors as they are and a map
becomes a vector without a copy; fused Adam; gradients set to None; images laid out beforehand.

Not on a CPU: torch.compile took half a minute of a C++ compiler for every network and thread count
and the step was no faster than eager; NCHW was no faster; nor was a transposed convolution written
as a convolution and pixel_shuffle. Memory stays with the allocator that the process has.
"""

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from l2ae_core.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    L2Normalize,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
)
from l2ae_core.layers.base import Params, Shape
from l2ae_core.networks import AutoEncoder
from l2ae_kernels.arrays import Array

VARIANTS = ("torch", "torch-jit")  # on a CPU: eager, and the traced graph
# On a GPU: eager, a step as one graph, and compiled for the fastest kernels.
GPU_VARIANTS = ("torch", "torch-graph", "torch-compile")


class ToVector(nn.Module):
    """A channels_last map (N, C, H, W) as (N, H·W·C): a view."""

    def forward(self, x: Any) -> Any:
        return x.permute(0, 2, 3, 1).flatten(1)


class ToMap(nn.Module):
    """Vectors (N, H·W·C) as a channels_last map (N, C, H, W): a view."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Any) -> Any:
        return x.unflatten(1, self.shape).permute(0, 3, 1, 2)


class UnitNorm(nn.Module):
    """Eq. 4."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Any) -> Any:
        return F.normalize(x, dim=1, eps=self.eps)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm of a channels_last map (N, C, H, W) over C, which lies together: no copy."""

    def forward(self, x: Any) -> Any:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TorchStep:
    """Training steps of the peer; its network starts with the weights of `ours`.

    on: "cpu", or "cuda", where work is queued and a step does not wait for its loss.
    """

    def __init__(self, ours: AutoEncoder, variant: str, images: Array, on: str = "cpu") -> None:
        self.links = list(_links(ours))
        self.modules = [_module(*link[1:]) for link in self.links]
        self.network: Any = nn.Sequential(*self.modules).to(memory_format=torch.channels_last)
        for name, array in ours.params.items():
            self._parameter(name).data = self._theirs(name, array)
        self.network = self.network.to(on)
        self.x = torch.from_numpy(_mirrored(images)).to(on).permute(0, 3, 1, 2)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=1e-3, fused=True, capturable=on == "cuda"
        )
        self.queue: Callable[[], Any] = self._queue
        if variant == "torch-jit":
            with warnings.catch_warnings():  # deprecated, and still the fastest for some networks
                warnings.simplefilter("ignore")
                self.network = torch.jit.trace(self.network, self.x)
        elif variant == "torch-compile":
            self.network = torch.compile(self.network, mode="max-autotune")
        elif variant == "torch-graph":
            self.queue = self._captured()

    def step(self) -> float:
        """One step of Adam; return the loss before."""
        return float(self.queue().item())

    def steps(self, count: int) -> list[float]:
        """Make so many steps of Adam, wait once, and return the losses before them."""
        losses = [self.queue().detach().clone() for _ in range(count)]
        found: list[float] = torch.stack(losses).tolist()
        return found

    def _queue(self) -> Any:
        """Queue one step of Adam; return the loss before."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.mse_loss(self.network(self.x), self.x)
        loss.backward()
        self.optimizer.step()
        return loss

    def _captured(self) -> Callable[[], Any]:
        """Return a step as one graph; the steps before the capture are taken back."""
        from l2ae_bench.cuda.torch_calls import captured

        params = list(self.network.parameters())
        before = [p.detach().clone() for p in params]
        replay = captured(self._queue)
        with torch.no_grad():
            for p, value in zip(params, before, strict=True):
                p.copy_(value)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()
        return replay

    def loss_and_grads(self) -> tuple[float, Params]:
        """Return the loss, and its gradients under our names and in our layouts.

        Without those of a shift that BatchNorm takes away again: they are rounding.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.mse_loss(self.network(self.x), self.x)
        loss.backward()
        found = {}
        for i, link in enumerate(self.links):
            moot = ("b", "beta") if self._shift_is_moot(i) else ()
            for name in (f"{link.name}.{p}" for p in link.layer.params if p not in moot):
                found[name] = self._ours(name, self._parameter(name).grad.cpu().numpy())
        return float(loss.item()), found

    def gates_are_exact(self) -> bool:
        """Whether every unit is on the side of zero where it is in float64; statistics change."""
        x = self.x
        with torch.no_grad():
            wide_x, wide = x.double(), copy.deepcopy(self.network).double()
            for module, wide_module in zip(self.network, wide, strict=True):
                x, wide_x = module(x), wide_module(wide_x)
                if isinstance(module, nn.ReLU | nn.LeakyReLU) and ((x > 0) != (wide_x > 0)).any():
                    return False
        return True

    def _shift_is_moot(self, i: int) -> bool:
        """Whether BatchNorm follows layer i with nothing but dense layers in between."""
        after = (link.layer for link in self.links[i + 1 :] if not isinstance(link.layer, Dense))
        return isinstance(next(after, None), BatchNorm)

    def _parameter(self, name: str) -> Any:
        """The tensor that stands for our parameter `name`."""
        module = self.modules[self._index(name)]
        return module.weight if name.endswith(("W", "gamma")) else module.bias

    def _index(self, name: str) -> int:
        return [link.name for link in self.links].index(name.rpartition(".")[0])

    def _theirs(self, name: str, array: Array) -> Any:
        array = self._mirror(name, array)
        if array.ndim == 4:  # ours (kh, kw, a, b); theirs (b, a, kh, kw), transposed or not
            tensor = torch.from_numpy(array.transpose(3, 2, 0, 1).copy())
            return tensor.contiguous(memory_format=torch.channels_last)
        return torch.from_numpy(array.T.copy())

    def _ours(self, name: str, g: Array) -> Array:
        return self._mirror(name, g.transpose(2, 3, 1, 0) if g.ndim == 4 else g.T)

    def _mirror(self, name: str, array: Array) -> Array:
        """Turn a parameter into that of mirrored images, or back: twice is nothing.

        Kernels are turned by 180 degrees. A dense layer that reads a map as a vector finds its rows
        in another order; one whose output becomes a map has columns and bias to reorder, and so has
        a normalization in between.
        """
        i = self._index(name)
        if array.ndim == 4:
            return array[::-1, ::-1]
        source = self.links[i - 1]
        if source.reshapes and len(source.before) == 3 and array.ndim == 2:
            H, W, _ = source.before
            array = _mirrored(array.reshape(1, H, W, -1)).reshape(array.shape)
        for target in self.links[i + 1 :]:
            if isinstance(target.layer, Dense | Conv2d | ConvTranspose2d):
                break
            if target.reshapes and len(target.after) == 3:
                array = _mirrored(array.reshape(-1, *target.after)).reshape(array.shape)
        return array


class Link(NamedTuple):
    """A layer at its position in the network."""

    name: str
    layer: Layer
    before: Shape  # of a sample
    after: Shape

    @property
    def reshapes(self) -> bool:
        """Whether it makes a vector of a map, or a map of a vector."""
        return len(self.before) != len(self.after)


def _links(ours: AutoEncoder) -> Iterator[Link]:
    """Yield every layer, first to last."""
    D = ours.decoder.input_shape
    parts = {"encoder": ours.encoder, "decoder": ours.decoder}
    for part, layers in parts.items():
        if part == "decoder":
            yield Link("normalize", ours.normalize, D, D)
        shapes = pairwise(layers.shapes())
        for i, (layer, (before, after)) in enumerate(zip(layers.layers, shapes, strict=True)):
            yield Link(f"{part}.{i}", layer, before, after)


def _module(layer: Layer, before: Shape, after: Shape) -> Any:
    """Return PyTorch's own module for one of our layers; ValueError for a class of one's own."""
    if not type(layer).__module__.startswith("l2ae_core."):
        raise ValueError(f"bench: PyTorch's {layer} is not written")
    if isinstance(layer, Conv2d | ConvTranspose2d):
        return _convolution(layer, before, after)
    if isinstance(layer, Dense):
        return nn.Linear(math.prod(before), math.prod(after))
    if isinstance(layer, L2Normalize):
        return UnitNorm(layer.eps)
    if isinstance(layer, BatchNorm | LayerNorm):
        return _normalization(layer, before)
    if isinstance(layer, ReLU):
        return nn.ReLU()
    if isinstance(layer, LeakyReLU):
        return nn.LeakyReLU(layer.slope)
    if isinstance(layer, Reshape) and len(before) != len(after):
        return ToVector() if len(after) == 1 else ToMap(after)
    raise ValueError(f"bench: PyTorch's {layer} is not written")


def _normalization(layer: BatchNorm | LayerNorm, before: Shape) -> Any:
    affine, of_maps = layer.gamma is not None, len(before) == 3
    if isinstance(layer, LayerNorm):
        kind = ChannelNorm if of_maps else nn.LayerNorm
        return kind(before[-1], layer.eps, elementwise_affine=affine)
    kind = nn.BatchNorm2d if of_maps else nn.BatchNorm1d
    return kind(before[-1], layer.eps, 1 - layer.momentum, affine)


def _convolution(layer: Conv2d | ConvTranspose2d, before: Shape, after: Shape) -> Any:
    transposed = isinstance(layer, ConvTranspose2d)
    H, W, _ = after if transposed else before
    stride, (zeros, _) = layer.geometry((H, W))
    kernel, padding = layer.W.shape[0], zeros[1]  # the mirrored "before" is our "after"
    if not transposed:
        return nn.Conv2d(before[2], after[2], kernel, stride[0], padding)
    full = (before[0] - 1) * stride[0] - 2 * padding + kernel
    return nn.ConvTranspose2d(
        before[2], after[2], kernel, stride[0], padding, output_padding=after[0] - full
    )


def _mirrored(images: Array) -> Array:
    """Images (N, H, W, ...) turned by 180 degrees."""
    return np.ascontiguousarray(images[:, ::-1, ::-1])
