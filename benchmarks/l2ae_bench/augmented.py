"""What warped images and self-labelling cost: training steps of a batch of 256, ours alone.

plain           forward, loss, backward, Adam
warped          maps are drawn and the batch is warped by them, then the same
self-labelled   the target is set and the batch warped further; KL of the codes beside the loss, and
                Adam of the centers: a step of self-labelling

The maps of each call are new ones, as in a training. Before anything is timed the warped images are
compared with those of the reference, and the losses and gradients of the steps with those layer by
layer.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import Generator, default_rng

from l2ae_bench import steps
from l2ae_bench.comparison import (
    OURS,
    Contender,
    Measurement,
    make_row,
    measure,
    require_agreement,
)
from l2ae_core.layers import L2Normalize
from l2ae_core.networks import AutoEncoder, build
from l2ae_core.refinement import SelfLabelling
from l2ae_core.refinement.assignment import (
    SphericalAssignment,
    kl_divergence,
    target_distribution,
)
from l2ae_core.refinement.step import JointStep
from l2ae_core.training.augment import Warp
from l2ae_core.training.loss import reconstruction_loss
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import Step, make_step
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array

NETWORKS = ("step-cae-28", "step-cae-16")  # of steps.NETWORKS
PLAIN, WARPED, SELF_LABELLED = "plain", "warped", "self-labelled"
LOSSES = 1e-5  # float32 codes, sums in another order
PIXELS = 1e-5  # float32 images of values in 0 … 1
SETTINGS = SelfLabelling()


def rows(
    network: str, threads: int, repeats: int, done: Callable[[], object] = lambda: None
) -> list[Measurement]:
    """Time the three steps of a network alternately; a row each of two, beside the plain one."""
    contenders, agreement = prepare(network)
    work = steps.step_work(_network(network), steps.BATCH)  # what is added is not counted
    times = measure(contenders, repeats, threads, done=done)
    return [
        make_row(f"{network}-{name}", threads, {OURS: times[name], PLAIN: times[PLAIN]},
                 agreement[name], work)
        for name in (WARPED, SELF_LABELLED)
    ]  # fmt: skip


def prepare(network: str) -> tuple[dict[str, Contender], dict[str, float]]:
    """Return the three steps, each of a network of its own, and how well two of them agree."""
    models = {name: _network(network) for name in (PLAIN, WARPED, SELF_LABELLED)}
    rng = default_rng(1)
    x = steps.clear_images(models[PLAIN], rng, steps.BATCH)
    plain, warped = (make_step(models[name], Adam(), "mean") for name in (PLAIN, WARPED))
    joint = _joint_step(models[SELF_LABELLED], rng)
    log_q = joint.loss.assignment.log_q(models[SELF_LABELLED].encode(x))  # (B, K)
    p, warp, wide = target_distribution(np.exp(log_q)), Warp(), SETTINGS.warp
    assert wide is not None  # by default
    agreement = {
        WARPED: _compare_warps(f"{network}-{WARPED}", warp, x),
        SELF_LABELLED: _compare_steps(f"{network}-{SELF_LABELLED}", joint, x, p),
    }
    contenders: dict[str, Contender] = {
        PLAIN: lambda: plain(x),
        WARPED: partial(_warped, warped, warp, x, rng),
        SELF_LABELLED: partial(_self_labelled, joint, p, wide, x, rng),
    }
    return contenders, agreement


def _network(name: str) -> AutoEncoder:
    return build(steps.NETWORKS[name], default_rng(0))


def _joint_step(model: AutoEncoder, rng: Generator) -> JointStep:
    """Return a step of self-labelling from random directions of the centers."""
    centers = rng.standard_normal((SETTINGS.n_clusters, model.latent_dim)).astype(np.float32)
    assignment = SphericalAssignment(L2Normalize().forward(centers)[0], SETTINGS.concentration)
    return JointStep.make(model, assignment, Adam(), Adam(), SETTINGS.gamma)


def _warped(step: Step, warp: Warp, x: Array, rng: Generator) -> None:
    step(warp(x, rng))


def _self_labelled(step: JointStep, p: Array, warp: Warp, x: Array, rng: Generator) -> None:
    step.loss.set_target(p)
    step(warp(x, rng))


def _compare_warps(workload: str, warp: Warp, x: Array) -> float:
    """Return the largest difference of a pixel from that of the reference."""
    _, height, width, _ = x.shape
    maps = warp.draw(default_rng(2), len(x), height, width).astype(x.dtype)
    difference = np.abs(ops.warp(x, maps) - ops.warp(x, maps, impl="reference")).max()
    return require_agreement(workload, "the warped images", float(difference), PIXELS)


def _compare_steps(workload: str, step: JointStep, x: Array, p: Array) -> float:
    """Return the largest difference of loss and gradients from those layer by layer."""
    step.loss.set_target(p)
    loss, grads = step.loss_and_grads(x)
    model, assignment, weight = step.model, step.loss.assignment, step.loss.weight
    x_hat, cache = model.forward(x, train=True)
    mse, dx_hat = reconstruction_loss(x_hat, x)
    log_q, assignment_cache = assignment.forward(model.code(cache))
    kl, dlog_q = kl_divergence(log_q, p)
    du, center_grads = assignment.backward(weight * dlog_q, assignment_cache)
    expected = model.weight_grads(dx_hat, cache, du) | center_grads
    total = mse + weight * kl
    return max(
        require_agreement(workload, "the losses", abs(loss / total - 1), LOSSES),
        steps.compare_gradients(workload, grads | step.loss.sums()[1], expected),
    )
