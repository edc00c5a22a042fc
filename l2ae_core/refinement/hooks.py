"""The target of a clustering loss over a training: first centers, p of all images, labels, end."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from time import perf_counter
from typing import Any, Self
from zlib import crc32

import numpy as np
from numpy.random import Generator

from l2ae_core.array_readers import array_group
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.images import Images, RemoteImages, parts
from l2ae_core.layers.base import Params
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.refinement.assignment import CHUNK, divergence, target_distribution
from l2ae_core.refinement.step import JointStep
from l2ae_core.training.history import EpochRecord, History, TrainingError, check_memory, copy_into
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.loop import fit
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class TargetHooks(Hooks):
    """Set the target p of KL(P‖Q) before each step; end when hardly a label changes.

    start         centers by k-means on the codes of all images, unless they are given; p
    before_step   the rows of p of the batch are the target of the step
    after_epoch   q and p of all images anew, labels = argmax_j q_ij
    is_last       fewer than `tol` of all labels changed
    """

    step: JointStep
    labels: Array  # (N,) int32
    start_labels: Array  # (N,) int32, those of the first centers
    chosen: Any  # the settings of the method
    _: KW_ONLY
    n_init: int  # restarts of k-means
    tol: float
    rng: Generator | None  # of k-means; None where the first centers are given
    origin: str | int  # of the first centers: "k-means", or their checksum
    progress: bool
    begin: Array = field(default_factory=lambda: np.zeros(2))  # KL of the first centers, seconds
    p: Array = field(default_factory=lambda: np.zeros((0, 0)), init=False)  # (N, K), the target
    mean_max_q: float = field(default=0.0, init=False)  # how sure q is, of all images

    @classmethod
    def of(
        cls, step: JointStep, images: Images, start: Array | Generator, chosen: Any, *,
        progress: bool,
    ) -> Self:  # fmt: skip
        """Return the hooks of a training by the settings `chosen`; `start`: see first_centers."""
        labels = np.zeros((2, len(images)), np.int32)
        rng = start if isinstance(start, Generator) else None
        return cls(
            step, labels[0], labels[1], chosen, n_init=chosen.n_init, tol=chosen.tol,
            rng=rng, progress=progress,
            origin=crc32(step.loss.assignment.centers.tobytes()) if rng is None else "k-means",
        )  # fmt: skip

    def fit(self, images: Images, epochs: int, **how: Any) -> History:
        """Train the network of the step by `training.loop.fit`, which takes all of `how`."""
        return fit(
            self.step.model, images, epochs=epochs, batch_size=self.chosen.batch_size,
            optimizer=self.step.optimizer, step=self.step, hooks=self, progress=self.progress,
            **how,
        )  # fmt: skip

    def start(self, images: Images, resumed: bool) -> None:
        if resumed:
            self.update_target(images)
            return
        begun = perf_counter()
        if self.rng is not None:
            self._find_centers(images, self.rng)
        self.begin[:] = self.update_target(images), perf_counter() - begun
        self.start_labels[...] = self.labels

    def _find_centers(self, images: Images, rng: Generator) -> None:
        model = self.step.model
        u = images.encode(model) if isinstance(images, RemoteImages) else model.encode(images)
        if not all(np.isfinite(u[part]).all() for part in parts(len(u))):
            raise TrainingError(
                "refinement: codes hold NaN or Inf before the first step: a smaller "
                "learning_rate of the training before may help"
            )
        centers = self.step.loss.assignment.centers  # (K, D)
        found = kmeans(u, len(centers), n_init=self.n_init, rng=rng, progress=self.progress)
        centers[...] = self.first_centers(found.centers)

    def first_centers(self, centers: Array) -> Array:
        """Return what the loss starts from for the centers (K, D) of k-means."""
        return centers

    def before_step(self, batch: Array, x: Array) -> Array:
        self.step.loss.set_target(self.p[batch])
        return x

    def after_epoch(self, images: Images) -> dict[str, Any]:
        before = self.labels.copy()
        kl = self.update_target(images)
        return {
            "label_change": float((self.labels != before).mean()),
            "kl": kl,
            "reconstruction": self.step.take_reconstruction(),
        }

    def is_last(self, record: EpochRecord) -> bool:
        return bool(record.extra["label_change"] < self.tol)

    def update_target(self, images: Images) -> float:
        """Set labels and target by the codes of all images as they are; return KL(P‖Q).

        Two arrays (N, K) are in memory, and the codes of CHUNK images; of all, where the images lie
        elsewhere.
        """
        self.p = np.zeros((0, 0))  # the one of before has no use
        assignment, model, N = self.step.loss.assignment, self.step.model, len(images)
        remote = images.encode(model) if isinstance(images, RemoteImages) else None  # (N, D)
        log_q: Array | None = None  # (N, K)
        for start in range(0, N, CHUNK):
            some = slice(start, start + CHUNK)
            found = assignment.log_q(model.encode(images[some]) if remote is None else remote[some])
            log_q = np.empty((N, found.shape[1]), found.dtype) if log_q is None else log_q
            log_q[some] = found
        assert log_q is not None  # a training has images
        q = np.exp(log_q)
        self.mean_max_q = float(q.max(axis=1).mean())
        self.labels[...] = log_q.argmax(axis=1)
        self.p = target_distribution(q, out=q)
        return divergence(log_q, self.p, terms=log_q)

    def state_dict(self) -> Params:
        memory = self.step.center_optimizer.state_dict()
        return self._arrays() | {f"center_optimizer.{name}": a for name, a in memory.items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        memory = array_group(state, "center_optimizer.")
        check_memory(memory, self.step.loss.assignment.params)
        own = {k: a for k, a in state.items() if not k.startswith("center_optimizer.")}
        copy_into(self._arrays(), own, "hooks")
        self.step.center_optimizer.load_state_dict(memory)

    def _arrays(self) -> Params:
        """What a checkpoint holds of this, live."""
        return {
            "centers": self.step.loss.assignment.centers,
            "labels": self.labels,
            "start_labels": self.start_labels,
            "begin": self.begin,
        }


def first_centers(model: AutoEncoder, start: Array | Generator, n_clusters: int) -> Array:
    """Return the given centers (K, D) as the network's type; zeros where k-means will find them.

    ValueError for centers that do not fit.
    """
    shape = n_clusters, model.latent_dim
    dtype = next(iter(model.params.values())).dtype
    if isinstance(start, Generator):
        return np.zeros(shape, dtype)
    centers = np.array(start, dtype, order="C")
    if centers.shape != shape or not np.isfinite(centers).all():
        raise ValueError(f"refinement: start is {centers.shape} but expected finite {shape}")
    return centers
