"""The iterations of a refinement, from one renewal of the target to the next, and their end."""

from math import isfinite
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from l2ae_core.baselines.dec.assignment import kl_divergence, target_distribution
from l2ae_core.baselines.dec.settings import DecSettings
from l2ae_core.baselines.dec.state import State, UpdateRecord
from l2ae_core.baselines.dec.step import JointStep
from l2ae_core.files import REFINEMENT
from l2ae_core.training.history import TrainingError
from l2ae_core.training.session import MINUTE
from l2ae_kernels.arrays import Array


def run(
    state: State,
    images: Array,
    settings: DecSettings,
    run_dir: Path | None,
    checkpoint_every: int,
    fixed: dict[str, Any],
    progress: bool,
) -> None:
    """Iterate until the labels hardly change, or `max_iter` is reached."""
    gamma = None if settings.method == "dec" else settings.gamma
    step = JointStep.make(
        state.model, state.assignment, state.optimizer, state.center_optimizer, gamma
    )

    saved = monotonic()

    def renew(iteration: int, reconstruction: float | None) -> Array:
        nonlocal saved
        p = _renew(state, images, settings, iteration, reconstruction)
        state.seconds = perf_counter() - state.begun
        due = state.stopped or (len(state.history) - 1) % checkpoint_every == 0
        if run_dir is not None and (due or monotonic() - saved >= MINUTE):
            state.save(run_dir, fixed)
            saved = monotonic()
        bar.set_postfix(changed=f"{state.history[-1].label_change:.2%}", refresh=False)
        return p

    try:
        with _bar(state, settings, progress) as bar, np.errstate(over="ignore", invalid="ignore"):
            p = _target(state, images)[0] if state.history else renew(0, None)
            while not state.stopped:
                end = min(state.iteration + settings.update_interval, settings.max_iter)
                mse = _iterate(step, range(state.iteration, end), images, p, settings, bar)
                p = renew(end, None if gamma is None else mse)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(_interrupted(state, run_dir))
        raise


def _iterate(
    step: JointStep,
    iterations: range,
    images: Array,
    p: Array,
    settings: DecSettings,
    bar: tqdm,
) -> float:
    """Do one batch an iteration; return the mean mse over the batches, weighted by their size."""
    size = settings.batch_size
    batches = -(-len(images) // size)  # of a pass over the images
    total, samples = 0.0, 0
    for iteration in iterations:
        at = iteration % batches * size
        x = images[at : at + size]
        losses = step(x, p[at : at + size])
        if not all(map(isfinite, losses)):
            raise TrainingError(
                f"refine: the losses are {losses} at iteration {iteration}, with "
                f"{step.optimizer}: a smaller learning rate may help"
            )
        total, samples = total + losses.reconstruction * len(x), samples + len(x)
        bar.update()
    return total / samples


def _target(state: State, images: Array) -> tuple[Array, Array]:
    """Return the target p (N, K) of all images as they are encoded now, and log q (N, K)."""
    log_q = state.assignment.log_q(state.model.encode(images))
    return target_distribution(np.exp(log_q)), log_q


def _renew(
    state: State,
    images: Array,
    settings: DecSettings,
    iteration: int,
    reconstruction: float | None,
) -> Array:
    """Return the target p (N, K) for the next iterations; record labels and losses, or the end."""
    state.check_finite()
    p, log_q = _target(state, images)
    labels = log_q.argmax(axis=1).astype(np.int32)
    if not state.history:
        state.start_labels = state.labels = labels
    change = float((labels != state.labels).mean())
    kl, _ = kl_divergence(log_q, p)
    state.labels = labels
    state.history.append(UpdateRecord(iteration, change, kl, reconstruction))
    if iteration > 0 and change < settings.tol:
        state.stopped = "tol"
    elif iteration == settings.max_iter:
        state.stopped = "max_iter"
    return p


def _interrupted(state: State, run_dir: Path | None) -> str:
    done = f"stopped after the renewal at iteration {state.iteration}"
    if run_dir is None:
        return f"{done}; nothing is on disk, since the refinement has no run directory"
    file = run_dir / REFINEMENT
    kept = f"{file}" if file.is_file() else "the start, no file was written yet"
    return f"{done}; resume=True goes on from {kept}"


def _bar(state: State, settings: DecSettings, progress: bool) -> tqdm:
    return tqdm(
        desc=settings.method,
        total=settings.max_iter,
        initial=state.iteration,
        unit=" iterations",
        mininterval=0.5,
        disable=not progress,
    )
