"""One seed, separate random streams: initial weights, shuffles and first centers of k-means.

The streams are independent, so that changing the number of epochs leaves the first centers of
k-means as they are.
"""

from typing import NamedTuple

from numpy.random import Generator, SeedSequence, default_rng


class Rngs(NamedTuple):
    """Independent generators spawned from one seed."""

    init: Generator  # initial weights
    shuffle: Generator  # order of the mini-batches
    kmeans: Generator  # first centers of k-means
    split: Generator  # random partitions of the data
    validation: Generator  # images that are held out of a training


def rngs(seed: int) -> Rngs:
    """Return the generators of `seed`; ValueError unless it is an integer ≥ 0."""
    if seed < 0:
        raise ValueError(f"seed is {seed} but expected an integer ≥ 0")
    return Rngs(*(default_rng(child) for child in SeedSequence(seed).spawn(len(Rngs._fields))))
