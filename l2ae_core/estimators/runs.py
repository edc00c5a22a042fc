"""An estimator as a run directory, and a run directory as an estimator."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from l2ae_core import commands, data
from l2ae_core.anomaly import ROUNDING, cosine_normality
from l2ae_core.clustering.kmeans import Clustering
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import Preparation
from l2ae_core.estimators import inputs
from l2ae_core.estimators.fitted import FittedNetwork
from l2ae_core.estimators.parameters import make_self_labelling, make_warp
from l2ae_core.files import (
    CHECKPOINT,
    HISTORY,
    SELF_LABELLING,
    new_folder,
    require_no_content,
    write_json_lines,
)
from l2ae_core.networks import Architecture, AutoEncoder
from l2ae_core.settings import (
    ARCHITECTURE,
    DEFAULTS,
    LABEL_WARP,
    NOT_TRAINING,
    PREPARATION,
    TRAIN_ARGUMENTS,
    WARP,
    make_preparation,
)
from l2ae_core.settings import SELF_LABELLING as ROUNDS
from l2ae_core.settings import make_self_labelling as from_settings
from l2ae_core.settings import make_warp as warp_of
from l2ae_core.tables import counted
from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training.checkpoint import Checkpoint
from l2ae_core.training.history import Best, History, parse_records, read_history
from l2ae_core.training.run import (
    create_run,
    make_config,
    read_config,
    require_new,
    write_metrics,
)

E = TypeVar("E", bound=FittedNetwork)
# Parameters that have the name of a setting of `l2ae fit`.
SHARED = ("n_init", "weights", *(n for n in (*ARCHITECTURE, *TRAIN_ARGUMENTS) if n != "seed"))
WITHOUT_EFFECT = {"cae": ("hidden", "slope"), "dense": ("filters", "kernels")}


def to_settings(estimator: FittedNetwork) -> dict[str, Any]:
    """Return the settings of `l2ae fit` that train what the estimator, with its X, would.

    Raises ValueError, naming the parameter, for what a run directory does not have.
    """
    e, parameters = estimator, estimator.get_params()
    problem = "but a run directory"
    if e.image_shape_ is None or e.scale != "auto":
        what = "X is a table" if e.image_shape_ is None else f"scale is {e.scale!r}"
        raise ValueError(f"{what} {problem} is one of images with values in [0, 1]")
    if e.spherical:
        raise ValueError(f"spherical is True {problem} has plain k-means")
    if isinstance(e.validation, np.ndarray):
        raise ValueError(f"validation is {e.validation.shape} {problem} keeps a share alone")
    given = {name: parameters[name] for name in SHARED}
    given |= {"model": e.architecture_.model, "clusters": e.n_clusters, "seed": e.seed_}
    given = {k: v for k, v in given.items() if k not in WITHOUT_EFFECT[given["model"]]}
    preparation = e.preparation or Preparation()
    given |= {name: getattr(preparation, name) for name in PREPARATION}
    if (warp := make_warp(parameters)) is not None:
        given |= {"augment": True, **{name: getattr(warp, name) for name in WARP}}
    if (chosen := make_self_labelling(parameters, warps=True)) is not None:
        given |= {"self_label": True, **{name: getattr(chosen, name) for name in ROUNDS}}
        if chosen.warp is not None:
            values = (chosen.warp.rotation, chosen.warp.shift, chosen.warp.scale)
            given |= dict(zip(LABEL_WARP, values, strict=True))
        if from_settings(DEFAULTS | given) != chosen:
            raise ValueError(
                f"self_label is {chosen!r} {problem} has a spherical assignment, and warp, "
                "learning_rate, batch_size and n_init of the training"
            )
    return {"data": data.IN_MEMORY, **given}


def load(cls: type[E], run: Path, X: Any) -> tuple[E, SavedClusters]:
    """Return what was trained in the run directory as an estimator, and the clusters there."""
    loaded = commands.load_fitted(run)
    settings, saved = loaded.settings, loaded.clusters
    architecture = Architecture.from_dict(read_config(loaded.path)["architecture"])
    preparation = make_preparation(settings)
    e = cls(
        len(saved.centers), random_state=settings["seed"], augment=warp_of(settings) or False,
        preparation=None if preparation == Preparation() else preparation,
        self_label=from_settings(settings) or False,
        **{name: settings[name] for name in SHARED},
    )  # fmt: skip
    assert isinstance(loaded.model, AutoEncoder)  # on the CPU
    e.architecture_, e.autoencoder_ = architecture, loaded.model
    e.image_shape_, e.mean_, e.scale_ = architecture.input_shape, None, None
    e.n_features_in_ = int(np.prod(architecture.input_shape))
    e.seed_, e.inertia_ = settings["seed"], saved.inertia
    e.cluster_centers_ = saved.centers
    e.history_ = [record.to_dict() for record in read_history(loaded.path)]
    e.self_labelling_history_ = None
    if settings["self_label"]:
        rounds = read_history(loaded.path / SELF_LABELLING)
        e.self_labelling_history_ = [{"round": r.epoch, "loss": r.loss, **r.extra} for r in rounds]
    e.reconstruction_errors_ = None
    if X is not None:
        _add_images(e, X, saved)
    return e, saved


def _add_images(e: FittedNetwork, X: Any, saved: SavedClusters) -> None:
    """Add what `fit` finds of its X; ValueError where X is not that of the run."""
    x = inputs.as_float32(e._checked("from_run", X))
    u = e.autoencoder_.encode(x)
    v = np.sort(cosine_normality(u, saved.centers))
    if len(v) != len(saved.normality) or np.abs(v - saved.normality).max() > ROUNDING:
        raise ValueError(
            f"from_run: X has {counted(len(x), 'image')} that are not the "
            f"{len(saved.normality):,} that the run was trained on"
        )
    e.embedding_ = u
    e.reconstruction_errors_ = e._errors(x, u)
    e.labels_ = Clustering(np.zeros(0, np.int32), saved.centers, saved.inertia, 0).predict(u)


def save(path: Path, estimator: FittedNetwork) -> None:
    """Write the run directory `path` of a fitted estimator; see `AutoEncoderBase.save_run`."""
    e = estimator
    try:
        settings = DEFAULTS | to_settings(e)
    except ValueError as error:
        raise ValueError(f"save_run: {error}") from error
    if not hasattr(e, "embedding_"):
        raise ValueError(
            "save_run: the estimator is that of a run, without its images: copy that folder"
        )
    if settings["self_label"]:
        raise ValueError(
            "save_run: self_label is on, and a run has the network before it, too, which the "
            "estimator does not keep: fit with run_dir"
        )
    settings["class_names"] = None
    config = make_config(
        e.architecture_, data=settings["data"], digest="", seed=e.seed_,
        training={k: v for k, v in settings.items() if k not in NOT_TRAINING},
    )  # fmt: skip
    records = parse_records(e.history_, "save_run")
    best = min(records, key=lambda record: record.watched)
    network = e.autoencoder_
    history = History(records, Best(best.epoch, best.watched, network.params, network.state))
    require_new(path)
    require_no_content(path, "save_run")
    with new_folder(path) as folder:
        create_run(folder, config)
        write_json_lines(folder / HISTORY, e.history_)
        checkpoint = Checkpoint(network.params, network.state, {}, {}, history, {})
        checkpoints.save(folder / CHECKPOINT, checkpoint)
        found = Clustering(np.asarray(e.labels_), e.cluster_centers_, e.inertia_, e.n_iter_)
        _saved(e, found).save(folder)
        write_metrics(folder, _metrics(history, found))


def _saved(e: FittedNetwork, found: Clustering) -> SavedClusters:
    """Return the clusters as a run has them; estimators of older files have no errors."""
    u = np.asarray(e.embedding_)
    if e.reconstruction_errors_ is not None:
        v = cosine_normality(u, found.centers)
        return SavedClusters.of(found, v, np.asarray(e.reconstruction_errors_))
    v = np.sort(cosine_normality(u, found.centers))
    return SavedClusters(found.centers, v, found.inertia)


def _metrics(history: History, found: Clustering) -> dict[str, Any]:
    """Return what `l2ae fit` writes without labels; the estimator keeps one network of the two."""
    scores = {"inertia": found.inertia}
    return {
        "epochs": len(history),
        "seconds": sum(record.seconds for record in history),
        "images": len(found.labels),
        **commands.losses(history),
        "best": scores,
        "last": scores,
    }
