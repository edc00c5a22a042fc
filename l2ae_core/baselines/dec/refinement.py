"""DEC, IDEC and DCEC: a trained auto-encoder goes on, pulled towards cluster centers.

    start     centers μ by k-means on the codes u of all images
    renew     every `update_interval` iterations: q of all images, labels = argmax_j q_ij, p of q;
              end when fewer than `tol` of the labels changed
    iterate   one batch: loss = mse + gamma · KL(P‖Q), or KL alone; network and centers move

Batches are taken in the order of the images, as in the authors' code, never shuffled: the last of
a pass holds what is left. Nothing is random after k-means.

Sources: DEC, Xie et al. 2016; IDEC, Guo, Gao, Liu, Yin, IJCAI 2017; DCEC, Guo, Liu, Zhu, Yin,
ICONIP 2017. Of the reference code we leave out Keras's clipping of p and q to [1e-7, 1].
"""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np
from numpy.random import Generator

from l2ae_core.baselines.dec.assignment import StudentAssignment
from l2ae_core.baselines.dec.iterate import run
from l2ae_core.baselines.dec.settings import DecSettings
from l2ae_core.baselines.dec.state import State, Stopped, UpdateRecord
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.files import REFINEMENT
from l2ae_core.layers import Conv2d, Layer, Sequential
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.training.session import open_run
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import count

CHUNK = 4096  # images checked at a time: they may be a memory map larger than memory


@dataclass(frozen=True, eq=False)
class Refined:
    """What a refinement found; the network it trained is the model that it was given."""

    labels: Array  # (N,) int32, argmax_j q_ij at the end
    centers: Array  # (K, D)
    history: list[UpdateRecord]
    stopped: Stopped  # "tol": hardly a label changed; "max_iter"
    start_labels: Array  # (N,) int32, those of the first centers
    alpha: float
    seconds: float  # k-means and iterations, of all sittings

    @property
    def iterations(self) -> int:
        """Updates of the parameters."""
        return self.history[-1].iteration

    def soft_labels(self, u: Array) -> Array:
        """Return q (N, K) of codes u (N, D)."""
        q: Array = np.exp(StudentAssignment(self.centers, self.alpha).log_q(u))
        return q


def refine(
    model: AutoEncoder,
    images: Array,
    start: Array | Generator,
    settings: DecSettings,
    *,
    run_dir: Path | None = None,
    checkpoint_every: int = 10,
    resume: bool = False,
    progress: bool = True,
) -> Refined:
    """Train `model` in place on `images` (N, H, W, C) by DEC, IDEC or DCEC, and cluster them.

    `start` is a generator for k-means on the codes (`settings.n_init` restarts), or the first
    centers (K, D). The codes are u = E_c(I): z itself in the networks of these methods, which have
    no normalization. `images` have the dtype of the model's parameters.

    With `run_dir`, a folder made when missing, `refinement.npz` is replaced every
    `checkpoint_every` renewals of the target, at the end, and at the renewal at which it became a
    minute old. `resume=True` goes on from there, given model, images and start as before, and ends
    with the bits of a refinement that never stopped; one that was at its end returns at once.
    Ctrl-C (KeyboardInterrupt) is raised on, with a note that says how to resume. One thread of one
    process at a time may use a run directory: another gets a BlockingIOError.

    Raises ValueError for bad arguments and for settings or images other than those of the file;
    CheckpointError when the file cannot be used, or is there although `resume` is False;
    TrainingError when a loss or an array becomes NaN or Inf.
    """
    images, run_dir = np.asarray(images), None if run_dir is None else Path(run_dir)
    count("refine", "checkpoint_every", checkpoint_every)
    _check_method(model, settings)
    by_kmeans = isinstance(start, Generator)
    fixed = {
        **settings.to_dict(),
        "images": _checked(images, model),
        "layers": model.describe(),
        "start": "k-means" if by_kmeans else crc32(np.ascontiguousarray(start).data),
    }
    with open_run("refine", run_dir, REFINEMENT, resume) as path:
        begun = perf_counter()
        state = _blank(model, images, start, settings, path is not None, progress)
        if path is not None:
            state.load(path, fixed)
        state.begun = begun - state.seconds
        if not state.stopped:
            run(state, images, settings, run_dir, checkpoint_every, fixed, progress)
    return Refined(
        state.labels, state.assignment.centers, state.history, state.stopped, state.start_labels,
        settings.alpha, state.seconds,
    )  # fmt: skip


def _blank(
    model: AutoEncoder,
    images: Array,
    start: Array | Generator,
    settings: DecSettings,
    resumed: bool,
    progress: bool,
) -> State:
    """The state before the first iteration; where a file is about to be read, with any centers."""
    shape = settings.n_clusters, model.latent_dim
    dtype = next(iter(model.params.values())).dtype
    if not isinstance(start, Generator):
        centers = np.array(start, dtype, order="C")
        if centers.shape != shape or not np.isfinite(centers).all():
            raise ValueError(f"refine: start is {centers.shape} but expected finite {shape}")
    elif resumed:
        centers = np.zeros(shape, dtype)
    else:
        u = model.encode(images)  # (N, D)
        clusters = kmeans(
            u, settings.n_clusters, n_init=settings.n_init, rng=start, progress=progress
        )
        centers = clusters.centers
    none = np.empty(0, np.int32)
    optimizer, center_optimizer = settings.make_optimizer(), settings.make_optimizer()
    assignment = StudentAssignment(centers, settings.alpha)
    return State(model, assignment, optimizer, center_optimizer, none, none)


def _check_method(model: AutoEncoder, settings: DecSettings) -> None:
    """A row of a table shall not carry the name of another method."""
    convolutional = _has_convolution(model.encoder)
    if settings.method != "dec" and convolutional != (settings.method == "dcec"):
        raise ValueError(
            f"refine: settings.method is {settings.method!r} but the encoder has "
            f"{'' if convolutional else 'no '}convolutions: expected "
            f"{'dcec' if convolutional else 'idec'!r}"
        )


def _has_convolution(layer: Layer) -> bool:
    if isinstance(layer, Sequential):
        return any(map(_has_convolution, layer.layers))
    return isinstance(layer, Conv2d)


def _checked(images: Array, model: AutoEncoder) -> dict[str, Any]:
    """Raise ValueError unless the images fit the model and are finite; return their fingerprint."""
    dtype = next(iter(model.params.values())).dtype
    if not len(images) or images.shape[1:] != model.input_shape or images.dtype != dtype:
        raise ValueError(
            f"refine: images is {images.shape} {images.dtype} but the model takes "
            f"(N, {str(model.input_shape)[1:]} {dtype}"
        )
    checksum = 0
    for first in range(0, len(images), CHUNK):
        chunk = np.ascontiguousarray(images[first : first + CHUNK])
        if not np.isfinite(chunk).all():
            raise ValueError(f"refine: images {first} to {first + len(chunk) - 1} hold NaN or Inf")
        checksum = crc32(chunk.data, checksum)
    return {"shape": list(images.shape), "dtype": dtype.name, "crc32": checksum}
