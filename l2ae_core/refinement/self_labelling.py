"""Self-labelling: an auto-encoder goes on training with its own clusters as the labels.

    start   directions m by k-means on the codes u of all images, brought to unit length
    round   q of all images as they are, p of q (the target of the round), then every batch once:
            loss = mse(x̂, x) + γ KL(p_i ‖ q(x)),  x the images of the batch, warped
    end     fewer than `tol` of the labels argmax_j q_ij changed, or after `rounds`

The target comes from an image as it is, the prediction from a warped one: what a warp does not
change is learnt here. The learning rate falls by a cosine from round to round,

    η_r = η/2 (1 + cos(π (r − 1)/R)),  r = 1 … R

since p follows q: with a constant rate the labels never settle. Codes and directions are unit
vectors, the assignment is that of SphericalAssignment.

After DEC (Xie et al. 2016), ConvDEC-DA (Guo, Zhu, Liu, Yin, ACML 2018) and ASPC-DA (Guo et al.
2019), which warp the images of a Student's t in Euclidean space.
"""

from dataclasses import KW_ONLY, asdict, dataclass, field
from math import cos, pi
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from numpy.random import Generator

from l2ae_core.images import Images, as_images
from l2ae_core.layers import L2Normalize
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.refinement.assignment import Assignment, SphericalAssignment, StudentAssignment
from l2ae_core.refinement.hooks import TargetHooks, first_centers
from l2ae_core.refinement.step import JointStep
from l2ae_core.training.augment import Warp
from l2ae_core.training.history import EpochRecord
from l2ae_core.training.optim import Adam
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import count, number

AssignmentName: TypeAlias = Literal["spherical", "student"]
Stopped: TypeAlias = Literal["tol", "rounds"]


WIDE = Warp(rotation=20.0, shift=0.15, scale=0.2)  # twice what a reconstruction learns well from


@dataclass(frozen=True)
class SelfLabelling:
    """The settings of self-labelling; they can be written as JSON.

    κ = 5 is for all data, and softer than the codes are: at several times as much, where the
    likelihood of the codes is highest, first labels that are wrong stay so (benchmarks/RESULTS.md).

    Raises ValueError, naming the field, for values out of range.
    """

    n_clusters: int = 10  # K
    _: KW_ONLY
    concentration: float = 5.0  # κ, of "spherical"
    gamma: float | None = 0.1  # γ; None: KL alone, the decoder is not trained
    rounds: int = 40  # R, at most
    tol: float = 1e-3  # end when fewer than this share of all labels changed in a round
    learning_rate: float = 1e-3  # η of Adam
    batch_size: int = 256
    n_init: int = 20  # restarts of the k-means that gives the first centers
    warp: Warp | None = WIDE  # of the images that q is predicted from
    assignment: AssignmentName = "spherical"  # "student": that of DEC, as a comparison
    scale: float = 1.0  # of the squared distance, of "student"

    def __post_init__(self) -> None:
        who = "SelfLabelling"
        for name in ("n_clusters", "rounds", "batch_size", "n_init"):
            count(who, name, getattr(self, name))
        for name in ("concentration", "learning_rate", "scale"):
            number(who, name, getattr(self, name), positive=True)
        if self.gamma is not None:
            number(who, "gamma", self.gamma, positive=True)
        number(who, "tol", self.tol, most=1)
        if self.warp is not None and not isinstance(self.warp, Warp):
            raise ValueError(f"{who}: warp is {self.warp!r} but expected a Warp or None")
        if self.assignment not in (known := get_args(AssignmentName)):
            raise ValueError(f"{who}: assignment is {self.assignment!r} but expected {known}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)

    def rate(self, round: int) -> float:
        """η_r, the learning rate of round r = 1 … R."""
        return self.learning_rate / 2 * (1 + cos(pi * (round - 1) / self.rounds))


@dataclass(frozen=True, eq=False)
class SelfLabelled:
    """What self-labelling found; the network it trained is the model that it was given."""

    labels: Array  # (N,) int32, argmax_j q_ij of all images at the end
    assignment: Assignment  # with the centers (K, D); of log q of codes u
    history: list[EpochRecord]  # a record a round; `extra`: label_change, kl, mean_max_q, …
    stopped: Stopped
    start_labels: Array  # (N,) int32, those of the first centers
    seconds: float  # k-means and rounds, of all sessions

    def rounds(self) -> list[dict[str, Any]]:
        """Return a dict a round, for JSON: round, loss, and the `extra` of its record."""
        return [{"round": r.epoch, "loss": r.loss, **r.extra} for r in self.history]


@dataclass(eq=False)
class SelfLabellingHooks(TargetHooks):
    """The hooks of self-labelling: the target of clean images, warped batches, a falling rate."""

    unit = "self-labelling, round"
    chosen: SelfLabelling
    shuffle: Generator | None = field(default=None, init=False)  # of `fit`

    @property
    def settings(self) -> dict[str, Any]:
        return {"self_labelling": self.chosen.to_dict(), "start": self.origin}

    def first_centers(self, centers: Array) -> Array:
        spherical = self.chosen.assignment == "spherical"
        return L2Normalize().forward(centers)[0] if spherical else centers

    def batches(self, epoch: int, count: int, batch_size: int, rng: Generator) -> list[Array]:
        self.shuffle = rng
        for optimizer in (self.step.optimizer, self.step.center_optimizer):
            assert isinstance(optimizer, Adam)  # of `self_label`
            optimizer.learning_rate = self.chosen.rate(epoch)
        return super().batches(epoch, count, batch_size, rng)

    def before_step(self, batch: Array, x: Array) -> Array:
        x = super().before_step(batch, x)
        if self.chosen.warp is None:
            return x
        assert self.shuffle is not None  # `batches` comes first
        warped: Array = self.chosen.warp(x, self.shuffle)
        return warped

    def after_epoch(self, images: Images) -> dict[str, Any]:
        return super().after_epoch(images) | {"mean_max_q": self.mean_max_q}


def self_label(
    model: AutoEncoder,
    images: Images,
    start: Array | Generator,
    settings: SelfLabelling,
    *,
    rng: Generator,
    run_dir: Path | None = None,
    checkpoint_every: int | str = 10,
    resume: bool = False,
    progress: bool = True,
) -> SelfLabelled:
    """Train `model` in place on `images` (N, H, W, C) with its own clusters as labels.

    `start` is a generator for k-means on the codes, or the first centers (K, D); `rng` gives the
    order of the batches and their warps. The codes should be of unit length (norm "l2").
    `images` have the dtype of the model's parameters.

    Run directory, checkpoints, resume, Ctrl-C and errors are those of `training.loop.fit`; a round
    is an epoch. What was at its end returns at once when it is resumed. Raises ValueError for
    centers that do not fit.
    """
    images, s = as_images(images), settings
    centers = first_centers(model, start, s.n_clusters)
    assignment = (
        SphericalAssignment(centers, s.concentration)
        if s.assignment == "spherical"
        else StudentAssignment(centers, scale=s.scale)
    )
    optimizer, center_optimizer = Adam(s.learning_rate), Adam(s.learning_rate)
    step = JointStep.make(model, assignment, optimizer, center_optimizer, s.gamma)
    hooks = SelfLabellingHooks.of(step, images, start, s, progress=progress)
    history = hooks.fit(
        images, s.rounds, rng=rng, run_dir=run_dir, checkpoint_every=checkpoint_every,
        resume=resume,
    )  # fmt: skip
    return SelfLabelled(
        hooks.labels, assignment, history.records,
        "tol" if hooks.is_last(history.records[-1]) else "rounds", hooks.start_labels,
        float(hooks.begin[1]) + sum(r.seconds for r in history),
    )  # fmt: skip
