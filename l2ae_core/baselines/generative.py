"""What the generative baselines share: an encoder of distributions, a decoder, a likelihood."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any, Self

import numpy.typing as npt

from l2ae_core.baselines.likelihood import Likelihood
from l2ae_core.images import Images
from l2ae_core.layers import Cache, Params, Sequential, Shape
from l2ae_core.layers.describe import describe, describe_class
from l2ae_core.networks.parts import in_batches, named
from l2ae_core.training.step import NoisyStep
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class Generative(ABC):
    """A model with a loss that is a function of images and noise.

    Its networks are its fields of type Sequential; parameters are named after them: "encoder.1.W".
    """

    encoder: Sequential  # (H, W, C) -> means and log-variances
    decoder: Sequential  # latent (D,) -> (P · per_pixel,), P = H W C
    likelihood: Likelihood

    def __post_init__(self) -> None:
        output = self.decoder.shapes()[-1]
        expected = (prod(self.input_shape) * self.likelihood.per_pixel,)
        if output != expected:
            name = type(self).__name__
            raise ValueError(
                f"{name}: decoder returns {output} but {self.likelihood} expects {expected}"
            )

    @abstractmethod
    def loss(self, x: Array, noise: Array) -> tuple[float, Cache]:
        """Return the loss of images x (N, H, W, C) at the noise (N, noise_dim), and the cache."""

    @abstractmethod
    def weight_grads(self, cache: Cache) -> Params:
        """Return the gradients of the loss, named like `params`."""

    @property
    @abstractmethod
    def noise_dim(self) -> int:
        """How many standard normal numbers an image takes."""

    @abstractmethod
    def code(self, x: Array) -> Array:
        """Return the mean (N, D) of the latent that the decoder takes."""

    @property
    def input_shape(self) -> Shape:
        """Shape (H, W, C) of one image."""
        return self.encoder.input_shape

    @property
    def latent_dim(self) -> int:
        """D, the length of what the decoder takes."""
        return self.decoder.input_shape[0]

    @property
    def params(self) -> Params:
        """The trainable arrays, live."""
        return named(**{name: part.params for name, part in self.networks().items()})

    @property
    def state(self) -> Params:
        """Arrays that are saved but not trained."""
        return named(**{name: part.state for name, part in self.networks().items()})

    def networks(self) -> dict[str, Sequential]:
        """Return the networks by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Sequential)}

    def describe(self) -> list[str]:
        """Return every layer as text, the likelihood, and a class that is not of this package."""
        layers = [line for part in self.networks().values() for line in describe(part)]
        return [*layers, *describe(self.likelihood), *describe_class(self)]

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Return a copy whose arrays are all of `dtype`."""
        parts: dict[str, Any] = {k: part.astype(dtype) for k, part in self.networks().items()}
        return replace(self, **parts)

    def encode(self, images: Images, batch_size: int = 1024) -> Array:
        """Return the means (N, D) of the latent of images (N, H, W, C)."""
        return in_batches(self.code, images, batch_size)

    def latent(self, images: Images, batch_size: int = 1024) -> Array:
        """Return what `encode` does: its lengths are what the history of a training records."""
        return self.encode(images, batch_size)

    def reconstruct(self, images: Images, batch_size: int = 1024) -> Array:
        """Return the mean image (N, H, W, C) of p(image | code) for images (N, H, W, C).

        `anomaly.reconstruction_error(images, model.reconstruct(images))` is an anomaly score.
        """

        def mean(x: Array) -> Array:
            output, _ = self.decoder.forward(self.code(x))
            return self.likelihood.mean(output).reshape(x.shape)

        return in_batches(mean, images, batch_size)


@dataclass(eq=False)
class GenerativeStep(NoisyStep):
    """A training step on `model.loss`, with one draw of noise for each image and step."""

    model: Generative

    @property
    def settings(self) -> dict[str, Any]:
        return {"loss": type(self.model).__name__}

    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        loss, cache = self.model.loss(x, self.noise(len(x), self.model.noise_dim))
        return loss, self.model.weight_grads(cache)
