"""What a training does besides its steps: `fit(..., hooks=...)`."""

from collections.abc import Mapping
from typing import Any

from numpy.random import Generator

from l2ae_core.images import Images
from l2ae_core.layers.base import Params
from l2ae_core.training.history import EpochRecord
from l2ae_kernels.arrays import Array


class Hooks:
    """The hooks of the training loop; these leave a training as it is. Override what is needed.

    Called in this order; `images` (N, H, W, C) are all of them:

        start          once, before the first epoch that is trained here
        batches        at the begin of an epoch
        before_step    before every step
        after_epoch    after the last step of an epoch, before its record and its checkpoint
        is_last        after that

    What they keep from epoch to epoch is in `state_dict`, which a checkpoint holds. `unit` is what
    the lines about the training call an epoch.
    """

    unit = "epoch"

    @property
    def settings(self) -> dict[str, Any]:
        """JSON values that must be equal for a training to be resumed."""
        return {}

    def start(self, images: Images, resumed: bool) -> None:
        """Prepare; when `resumed`, the memory was loaded from a checkpoint before."""

    def batches(self, epoch: int, count: int, batch_size: int, rng: Generator) -> list[Array]:
        """Return the batches of an epoch (1, 2, …), each the indices of some of `count` images.

        By default every image is in one of them, in an order drawn from `rng`; all batches have
        `batch_size` images but the last, which has what is left.
        """
        order = rng.permutation(count)
        return [order[start : start + batch_size] for start in range(0, count, batch_size)]

    def before_step(self, batch: Array, x: Array) -> Array:
        """Return what the step takes for x (B, H, W, C), the images of the indices batch (B,)."""
        return x

    def after_epoch(self, images: Images) -> dict[str, Any]:
        """Return further entries for the record of the epoch, by name: numbers or None."""
        return {}

    def is_last(self, record: EpochRecord) -> bool:
        """Whether the training ends after the epoch of this record."""
        return False

    def state_dict(self) -> Params:
        """Return what is kept from epoch to epoch as a flat dict of arrays."""
        return {}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take what `state_dict` returned; ValueError when it does not fit."""
        if state:
            raise ValueError(f"hooks: the checkpoint has {sorted(state)} but expected nothing")
