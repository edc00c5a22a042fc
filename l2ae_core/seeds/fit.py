"""Several seeds: each a run directory that `l2ae_core.commands.fit` fills, and their agreement."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core.classes import training_data
from l2ae_core.clustering.agreement import agreement_between_runs
from l2ae_core.commands import (
    checked_settings,
    first_lines,
    fit,
    load_fitted,
    prepare,
    require_resumable,
    require_there,
    require_trainable,
    say,
)
from l2ae_core.commands.infer import require_trained, trained_data
from l2ae_core.data import Dataset
from l2ae_core.devices import DeviceName, training_device
from l2ae_core.files import CHECKPOINT, CONFIG, GALLERY, METRICS
from l2ae_core.gallery.seeds import SeedsGallery
from l2ae_core.locks import locked
from l2ae_core.readers import read_json
from l2ae_core.seeds.runs import SeedAgreement, SeedRuns, holds_seeds, seed_dir
from l2ae_core.settings import DEFAULTS, run_settings
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.run import create_run, read_config, resumed_config
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.ops.checks import count

MOST_SEEDS = 1000


@dataclass(frozen=True, eq=False)
class TrainedSeeds:
    """The runs that `fit_seeds` trained or found trained, in the order of their seeds."""

    seeds: list[int]
    runs: list[Path]
    metrics: list[dict[str, Any]]  # the content of their metrics.json
    weights: str  # "best", "last" or "self_labelled", as there: those of the clusters
    agreement: SeedAgreement


def fit_seeds(
    out: Path,
    given: dict[str, Any],
    seeds: int | None = None,
    *,
    data_dir: str | None = None,
    resume: bool = False,
    skip_unreadable: bool = False,
    checkpoint_every: int | str = 10,
    progress: bool = True,
    device: Device | DeviceName | None = None,
) -> TrainedSeeds:
    """Train networks with the seeds s, s + 1, …, s + seeds − 1, compare their clusters, choose one.

    s is the seed in `given`, which is as in `fit`. The runs are `out`/seed-<s>; `out`/seeds.json
    tells their agreement, which no label has a part in: NMI between the clusters of the training
    images, by the saved centers of each run. With `resume` the runs in `out` are gone on with, and
    `seeds` may be left out; those that are finished are not trained again. Whatever cannot work is
    refused before the first step. Raises what `fit` raises.
    """
    chosen = training_device(device)
    with ExitStack() as stack:
        if resume:
            there = _seeds_to_resume(out, given, seeds)
            stack.enter_context(locked(out))
            settings = _common_settings(out, there, given, checkpoint_every)
        else:
            there = _new_seeds(out, given, seeds)
            settings = checked_settings(DEFAULTS, given, checkpoint_every)
        if settings["anomaly_class"] is not None:
            raise ValueError(
                f"fit: seeds is {len(there)} but anomaly_class is {settings['anomaly_class']!r}: "
                "each seed leaves out other images, so that their clusters cannot be compared"
            )
        if resume:
            require_there(out, settings["data"])
            digest = read_config(seed_dir(out, there[0]))["data"]["digest"]
            dataset = trained_data(settings, digest, data_dir, by_position=False, progress=progress)
        else:
            dataset = training_data(
                settings, data_dir, skip_unreadable=skip_unreadable, progress=progress
            )
        prepared = {s: prepare(dataset, settings | {"seed": s}) for s in there}
        require_trainable(prepared[there[0]][0], settings, chosen)
        configs = {s: config for s, (_, config) in prepared.items()}
        if resume:
            for seed, config in configs.items():
                run = seed_dir(out, seed)
                require_resumable(run, run_settings(run), settings | {"seed": seed})
                require_trained(dataset, read_config(run)["data"]["digest"], settings["data"], run)
                resumed_config(run, config)
        else:
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(out))
            for seed, config in configs.items():
                create_run(seed_dir(out, seed), config)
        if progress:
            say(first_lines(dataset, prepared[there[0]][0], settings))
        (out / GALLERY).unlink(missing_ok=True)
        SeedRuns(there).write(out)  # an agreement of before is not that of the runs to come
        given = {name: value for name, value in given.items() if name != "seed"}
        for i, seed in enumerate(there, start=1):
            _say(f"seed {seed}, run {i} of {len(there)}", progress)
            _train(out, seed, given, settings, dataset, checkpoint_every, progress, chosen)
        return _compared(out, there, settings, dataset)


def _new_seeds(out: Path, given: dict[str, Any], seeds: int | None) -> list[int]:
    """Return the seeds of new runs in `out`; ValueError where it holds others."""
    R = count("fit", "seeds", seeds, least=2, most=MOST_SEEDS)
    first = count("fit", "seed", given.get("seed", DEFAULTS["seed"]), least=0, most=(1 << 64) - R)
    there = list(range(first, first + R))
    if (out / CONFIG).exists():
        raise ValueError(f"fit: seeds is {R} but {out} is a single run: choose another folder")
    if holds_seeds(out):
        raise CheckpointError(
            f"{out}: holds runs of several seeds already: resume these or choose another folder"
        )
    for seed in there:
        if (seed_dir(out, seed) / CHECKPOINT).exists():
            raise CheckpointError(f"{seed_dir(out, seed)}: already trained: choose another folder")
    return there


def _seeds_to_resume(out: Path, given: dict[str, Any], seeds: int | None) -> list[int]:
    """Return the seeds of the runs in `out`; ValueError where others are asked for."""
    if not holds_seeds(out):
        raise CheckpointError(f"{out}: there are no runs of several seeds to resume")
    there = SeedRuns.read(out).seeds
    if seeds is not None and seeds != len(there):
        raise ValueError(f"fit: seeds is {seeds} but {out} was started with {len(there)}")
    if given.get("seed", there[0]) != there[0]:
        raise ValueError(f"fit: seed is {given['seed']!r} but {out} was started with {there[0]}")
    return there


def _common_settings(
    out: Path, seeds: Sequence[int], given: dict[str, Any], checkpoint_every: int | str
) -> dict[str, Any]:
    """Return the settings of the runs as they go on: those of the first, which all share.

    ValueError, naming the setting, where one differs from run to run, as after a resume with more
    epochs that was interrupted and is now resumed without.
    """
    first, *others = (
        checked_settings(run_settings(seed_dir(out, s)), given | {"seed": s}, checkpoint_every)
        for s in seeds
    )
    for seed, settings in zip(seeds[1:], others, strict=True):
        for name in first.keys() - {"seed"}:
            if settings.get(name) != first[name]:
                raise ValueError(
                    f"fit: {name} is {settings.get(name)!r} in {seed_dir(out, seed)} but "
                    f"{first[name]!r} in {seed_dir(out, seeds[0])}: give one for all"
                )
    return first


def _train(
    out: Path,
    seed: int,
    given: dict[str, Any],
    settings: dict[str, Any],
    dataset: Dataset,
    checkpoint_every: int | str,
    progress: bool,
    device: Device | None,
) -> None:
    """Train the run of one seed to its end, unless it is finished."""
    run = seed_dir(out, seed)
    if (run / METRICS).exists() and run_settings(run) == settings | {"seed": seed}:
        return
    try:
        fit(run, given, dataset=dataset, resume=True, checkpoint_every=checkpoint_every,
            progress=progress, device=device)  # fmt: skip
    except KeyboardInterrupt as interrupt:
        on = "" if device is None else " --device cuda"
        again = f"l2ae fit --resume{on} --out {out}"
        interrupt.add_note(f"(seed {seed}; {again} goes on with all seeds)")
        raise


def _compared(
    out: Path, seeds: list[int], settings: dict[str, Any], dataset: Dataset
) -> TrainedSeeds:
    """Compare the clusters of the training images in all runs; write gallery and seeds.json."""
    runs = [seed_dir(out, seed) for seed in seeds]
    labels = np.stack([_labels(run, dataset) for run in runs])  # (R, N)
    found = SeedAgreement.of(agreement_between_runs(labels), seeds)
    SeedsGallery.of(labels, seeds.index(found.chosen), dataset).save(out)
    SeedRuns(seeds, found).write(out)
    metrics = [read_json(run / METRICS) for run in runs]
    weights = "self_labelled" if settings["self_label"] else settings["weights"]
    return TrainedSeeds(seeds, runs, metrics, weights, found)


def _labels(run: Path, dataset: Dataset) -> Array:
    """Return the clusters (N,) of the training images by the saved centers of a run."""
    loaded = load_fitted(run)
    labels: Array = ops.assign(loaded.model.encode(dataset.images), loaded.clusters.centers)[0]
    return labels


def _say(line: str, progress: bool) -> None:
    if progress:
        print(line, file=sys.stderr, flush=True)
