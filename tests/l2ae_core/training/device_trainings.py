"""Trainings of small networks on a device and on the processor, and their comparison."""

import numpy as np

from l2ae_core.networks import Architecture, build
from l2ae_core.seeding import rngs
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import Adam

IMAGES, BATCH = 13, 5  # three steps an epoch, the last one of three images


# 18 steps in float64: rounding that Adam cannot enlarge where its ε is 0.1
CLOSE = {"rtol": 0, "atol": 1e-12}


class Training:
    """A training of a small network: its parts and, once it was trained, its history."""

    def __init__(
        self, seed=0, model="dense", dtype="float64", norm="l2", images=IMAGES, reduction="mean",
        **adam,
    ):  # fmt: skip
        self.reduction = reduction
        self.random = rngs(seed)
        architecture = Architecture(
            model, (8, 8, 1), latent_dim=3, norm=norm, hidden=(6,), filters=(2, 3, 4),
            kernels=(3, 3, 3), hidden_norm="batch" if norm == "batch" else "none",
            affine=norm == "batch",
        )  # fmt: skip
        self.model = build(architecture, self.random.init).astype(dtype)
        bytes = np.random.default_rng(seed).integers(0, 256, (images, 8, 8, 1))
        self.images = (bytes.astype("float32") / np.float32(255)).astype(dtype)
        self.optimizer = Adam(**{"learning_rate": 0.01, "eps": 0.1, **adam})

    def arguments(self, **how):
        return {
            "model": self.model, "images": self.images, "optimizer": self.optimizer,
            "rng": self.random.shuffle, "batch_size": BATCH, "epochs": 2, "progress": False,
            "reduction": self.reduction, **how,
        }  # fmt: skip

    def fit(self, **how):
        self.history = fit(**self.arguments(**how))
        return self

    @property
    def numbers(self):
        memory = self.optimizer.state_dict()
        arrays = *self.model.params.values(), *self.model.state.values(), *memory.values()
        return [*arrays, np.array(self.history.losses)]


def assert_equal(one, other):
    for a, b in zip(one.numbers, other.numbers, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(one, other):
    for a, b in zip(one.numbers, other.numbers, strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)
