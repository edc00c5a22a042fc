"""VAE and GMVAE, and DRAE: models with losses of their own, trained by the common loop.

Each is scored at the epoch of its lowest training loss, as all networks here.
"""

import numpy as np

from l2ae_core.anomaly import reconstruction_error
from l2ae_core.baselines.drae import DRAEStep
from l2ae_core.baselines.gmvae import (
    GMVAE,
    GMVAEArchitecture,
    GMVAEStep,
    build_gmvae,
    most_confident_member_accuracy,
)
from l2ae_core.baselines.vae import (
    VAE,
    VAEArchitecture,
    VAEStep,
    build_vae,
    reconstruction_probability,
)
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.data import Dataset
from l2ae_core.files import CHECKPOINT
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.paper.methods.network import details, extremes, inertias, seconds
from l2ae_core.paper.protocols import ClusteringResult, DetectionResult, Partition, kmeans_rng
from l2ae_core.paper.run import CLASSES, ResultsDir, Run
from l2ae_core.paper.systems import find_system
from l2ae_core.seeding import rngs
from l2ae_core.training.history import History
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import Step

SAMPLES = 10  # of the latent, for a reconstruction probability


def train_vae(
    run: Run, folder: ResultsDir, dataset: Dataset, progress: bool
) -> tuple[VAE, History]:
    """Return a VAE and how it was trained."""
    random = rngs(run.seed)
    model = build_vae(
        VAEArchitecture(_shape(dataset), **find_system(run.system).settings), random.init
    )
    step = VAEStep(model, Adam(), random.shuffle)
    return model, _fit(run, folder, dataset, step, random.shuffle, progress)


def cluster_vae(run: Run, folder: ResultsDir, dataset: Dataset, progress: bool) -> ClusteringResult:
    """VAE + k-means: k-means on the means μ of the latent."""
    model, history = train_vae(run, folder, dataset, progress)
    found = kmeans(model.encode(dataset.images), CLASSES, n_init=run.n_init, rng=kmeans_rng(run))
    x, x_hat = np.asarray(dataset.images), model.reconstruct(dataset.images)
    mse = float(reconstruction_error(x, x_hat).mean()) / x[0].size
    scores = {"inertia": found.inertia, "reconstruction_mse": mse}
    return ClusteringResult(found.labels, {}, scores, details(history, inertia=inertias(found)),
                            seconds(history), extremes(x, x_hat))  # fmt: skip


def score_vae(run: Run, folder: ResultsDir, images: Partition, progress: bool) -> DetectionResult:
    """Reconstruction error of the mean image, and minus the reconstruction probability."""
    model, history = train_vae(run, folder, images.train, progress)
    x = np.asarray(images.test.images)
    probability = reconstruction_probability(model, x, SAMPLES, kmeans_rng(run))
    x_hat = model.reconstruct(x)
    scores = {"reconstruction": reconstruction_error(x, x_hat), "probability": -probability}
    return DetectionResult(scores, details(history), seconds(history), extremes(x, x_hat))


def cluster_gmvae(
    run: Run, folder: ResultsDir, dataset: Dataset, progress: bool
) -> ClusteringResult:
    """Labels of the recogniser. Its own accuracy is many-to-one: see `most_confident_member_…`."""
    random = rngs(run.seed)
    architecture = GMVAEArchitecture(_shape(dataset), **find_system(run.system).settings)
    model: GMVAE = build_gmvae(architecture, random.init)
    step = GMVAEStep(model, Adam(), random.shuffle)
    history = _fit(run, folder, dataset, step, random.shuffle, progress)
    responsibilities = model.responsibilities(dataset.images)  # (N, K)
    assert dataset.labels is not None
    own = most_confident_member_accuracy(dataset.labels, responsibilities)
    random_ones = np.random.default_rng(run.seed).random(responsibilities.shape)
    chance = most_confident_member_accuracy(dataset.labels, random_ones)
    return ClusteringResult(
        responsibilities.argmax(axis=1), {}, {"many_to_one": own}, details(history),
        seconds(history), extremes(np.asarray(dataset.images), model.reconstruct(dataset.images)),
        model.components,
        {"many_to_one": chance},
    )  # fmt: skip


def score_drae(run: Run, folder: ResultsDir, images: Partition, progress: bool) -> DetectionResult:
    """Reconstruction error of an auto-encoder that was trained to set its outliers apart."""
    random = rngs(run.seed)
    settings = find_system(run.system).settings
    architecture = Architecture(input_shape=_shape(images.train), **settings)
    model: AutoEncoder = build(architecture, random.init)
    history = _fit(run, folder, images.train, DRAEStep(model, Adam()), random.shuffle, progress)
    x, x_hat = np.asarray(images.test.images), model.reconstruct(images.test.images)
    return DetectionResult({"reconstruction": reconstruction_error(x, x_hat)},
                           details(history), seconds(history), extremes(x, x_hat))  # fmt: skip


def _fit(
    run: Run, folder: ResultsDir, dataset: Dataset, step: Step, rng: np.random.Generator,
    progress: bool,
) -> History:  # fmt: skip
    """Train a step's model, or go on with it; it has the weights of its best epoch then."""
    out = folder.training(run)
    history = fit(
        step.model, dataset.images, epochs=run.epochs, batch_size=run.batch_size,
        optimizer=step.optimizer, rng=rng, step=step, run_dir=out,
        resume=(out / CHECKPOINT).exists(), progress=progress,
    )  # fmt: skip
    history.restore_best(step.model)
    return history


def _shape(dataset: Dataset) -> tuple[int, int, int]:
    H, W, C = dataset.images.shape[1:]
    return H, W, C
