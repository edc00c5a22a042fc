"""A small network with parts of classes of one's own, derived from those of the package."""

import numpy as np

from l2ae_core.layers import Dense, L2Normalize, LeakyReLU, ReLU, Reshape, Sequential
from l2ae_core.networks import AutoEncoder

from .stacks import dense, stack

SHAPE, LATENT = (4, 4, 1), 3


class Calls:
    """Counts the forward passes of a class that derives from it first."""

    count = 0

    def forward(self, x, train=False):
        type(self).count += 1
        return super().forward(x, train)


class Denoising(Calls, AutoEncoder):
    """Learns to reproduce x from a part of it."""

    def forward(self, x, train=False):
        kept = np.where(np.arange(x.shape[1]) % 2, x.dtype.type(1), x.dtype.type(0))
        return super().forward(x * kept[:, None, None] if train else x, train)


class Doubled(Calls, AutoEncoder):
    """Twice the reconstruction: a backward pass of its own, and no gradients."""

    def forward(self, x, train=False):
        y, cache = super().forward(x, train)
        return 2 * y, cache

    def backward(self, dy, cache):
        return super().backward(2 * dy, cache)


class Residual(Calls, Sequential):
    """y = x + 2 f(x)."""

    def forward(self, x, train=False):
        y, cache = super().forward(x, train)
        return x + 2 * y, cache

    def backward(self, dy, cache):
        dx, grads = super().backward(2 * dy, cache)
        return dy + dx, grads


class Squared(Calls, ReLU):
    """y = x² where x > 0."""

    def forward(self, x, train=False):
        y, cache = super().forward(x, train)
        return y * y, cache

    def backward(self, dy, cache):
        return super().backward(2 * cache * dy, cache)


class Halved(Calls, Dense):
    """y = (x W + b) / 2: the lowest layer with parameters, asked for its gradients alone."""

    def forward(self, x, train=False):
        y, cache = super().forward(x, train)
        return y / 2, cache

    def backward(self, dy, cache):
        return super().backward(dy / 2, cache)


class Shifted(Calls, L2Normalize):
    """u = z/|z| + 1."""

    def forward(self, x, train=False):
        u, cache = super().forward(x, train)
        return u + 1, cache


def network(first=None, activation=None, block=None, normalize=None, kind=AutoEncoder):
    """16 → 6 → 3 → 6 → 16, with one part of another class."""
    first = first or dense(16, 6)
    block = block or Sequential([dense(6, 6), LeakyReLU(0.2)], (6,))
    encoder = [Reshape((16,)), first, activation or LeakyReLU(0.3), block, dense(6, LATENT)]
    decoder = [dense(LATENT, 6), LeakyReLU(0.3), dense(6, 16), Reshape(SHAPE)]
    plain = stack(encoder, decoder, SHAPE, LATENT, normalize)
    return plain if kind is AutoEncoder else kind(plain.encoder, plain.normalize, plain.decoder)


OWN = {
    "model": (Denoising, lambda: network(kind=Denoising)),
    "model with a backward pass": (Doubled, lambda: network(kind=Doubled)),
    "container": (Residual, lambda: network(block=Residual([dense(6, 6), LeakyReLU(0.2)], (6,)))),
    "activation": (Squared, lambda: network(activation=Squared())),
    "first dense layer": (Halved, lambda: network(first=Halved(*dense(16, 6).params.values()))),
    "normalization": (Shifted, lambda: network(normalize=Shifted())),
}


def images(count=9, dtype=np.float32):
    return np.random.default_rng(3).random((count, *SHAPE)).astype(dtype)
