"""How an estimator is fitted: train the network, cluster the codes; alone or in a run directory."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from l2ae_core import commands, method, refinement
from l2ae_core.clustering.kmeans import Clustering, kmeans
from l2ae_core.commands.checks import ARRAYS, require_trainable
from l2ae_core.data import Dataset
from l2ae_core.devices import training_device
from l2ae_core.estimators import inputs, runs
from l2ae_core.estimators.fitted import FittedNetwork
from l2ae_core.estimators.parameters import make_self_labelling, make_warp
from l2ae_core.files import CONFIG
from l2ae_core.images import Images
from l2ae_core.networks import AutoEncoder
from l2ae_core.seeding import rngs
from l2ae_core.training.run import read_config
from l2ae_kernels.arrays import Array


def fit(estimator: FittedNetwork, images: Images, validation: float | Images) -> None:
    """Train on images (N, H, W, C) float32 or float64, cluster their codes, keep what was found."""
    e, random, shown = estimator, rngs(estimator.seed_), estimator.verbose > 0
    parameters = e.get_params()
    x = inputs.as_float32(images)
    device = training_device(e.device)
    asked = {"self_label": bool(e.self_label), "optimizer": e.optimizer}
    require_trainable(e.architecture_, asked, device)
    model, history = method.train(
        x,
        e.architecture_,
        epochs=int(e.epochs),
        batch_size=int(e.batch_size),
        optimizer=e.optimizer,
        learning_rate=float(e.learning_rate),
        reduction=e.reduction,  # type: ignore[arg-type]  # checked
        seed=e.seed_,
        weights=e.weights,
        warp=make_warp(parameters),
        validation=validation,
        patience=None if e.patience is None else int(e.patience),
        callbacks=e.callbacks,
        progress=shown,
        device=device,
    )
    e.autoencoder_, e.history_ = model, history.to_dicts()
    e.self_labelling_history_ = None
    chosen = make_self_labelling(parameters, warps=e.image_shape_ is not None)
    if chosen is not None:
        found = refinement.self_label(
            model, x, random.kmeans, chosen, rng=random.shuffle, progress=shown
        )
        e.self_labelling_history_ = found.rounds()
    settings: dict[str, Any] = {
        "n_init": int(e.n_init), "rng": rngs(e.seed_).kmeans, "spherical": bool(e.spherical),
        "progress": shown,
    }  # fmt: skip
    if inputs.on_workers(images):
        from l2ae_core.distributed import estimators

        u, errors = estimators.encode(e._network(images.code_dtype), images)
        e.embedding_, e.reconstruction_errors_ = u, errors
        e._take_clusters(kmeans(u, int(e.n_clusters), **settings))
        return
    network = e._network(images.dtype)
    _keep(e, images, *method.cluster(network, images, int(e.n_clusters), **settings))


def fit_in_run(estimator: FittedNetwork, X: Any, images: Images) -> None:
    """Do what `l2ae fit` does with the images (N, H, W, C) of X, in float32; keep what it found.

    Where X is the name of a data set or a path, the run has it as `--data`.
    """
    e, out = estimator, Path(estimator.run_dir or "").expanduser()
    resume = bool(e.resume) and (out / CONFIG).exists()
    drawn = not isinstance(e.random_state, int | np.integer)
    e.seed_ = read_config(out)["seed"] if resume and drawn else seed_of(e.random_state)
    given = runs.to_settings(e)
    if isinstance(X, str | Path):
        rows = inputs.parse_image_shape(e.image_shape) or given["image_shape"]
        given |= {"data": str(X), "image_shape": rows if Path(X).suffix in ARRAYS else None}
    x = inputs.as_float32(images)
    trained = commands.fit(
        out, given, dataset=Dataset(x, None, given["data"]), resume=resume,
        callbacks=e.callbacks, progress=e.verbose > 0, device=e.device,
    )  # fmt: skip
    model = commands.load_fitted(out).model  # with the weights that the clusters belong to
    assert isinstance(model, AutoEncoder)  # on the CPU
    e.autoencoder_, e.history_ = model, trained.history.to_dicts()
    rounds = trained.self_labelled
    e.self_labelling_history_ = None if rounds is None else rounds.rounds()
    _keep(e, x, model.encode(x), trained.clusters)


def _keep(e: FittedNetwork, images: Images, u: Array, found: Clustering) -> None:
    e.embedding_ = u
    network = e._network(images.dtype)
    e.reconstruction_errors_ = method.reconstruction_errors(network, images, u)
    e._take_clusters(found)


def seed_of(random_state: Any) -> int:
    """An integer is the seed itself (as of `l2ae fit --seed`), anything else draws one."""
    if isinstance(random_state, int | np.integer):
        if random_state < 0:
            raise ValueError(f"fit: random_state is {random_state} but expected an integer ≥ 0")
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
