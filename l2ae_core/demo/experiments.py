"""The two experiments of the demo: clustering (Section IV-A) and anomaly detection (IV-B)."""

import sys
from dataclasses import dataclass

from l2ae_core import method
from l2ae_core.anomaly import cosine_normality
from l2ae_core.data import Dataset
from l2ae_core.networks import Architecture, AutoEncoder
from l2ae_core.networks.architectures import Norm
from l2ae_core.seeding import rngs
from l2ae_core.training.history import History
from l2ae_kernels.arrays import Array

EPOCHS = 150  # these two are smaller than those of the command line: the demo takes a minute
BATCH_SIZE = 64
CLASSES = 10
ANOMALY_DIGIT = 1  # the paper discusses it: reconstruction error fails most clearly there
NAMES: dict[Norm, str] = {"l2": "with the l2 constraint", "none": "without the constraint"}


@dataclass(frozen=True)
class DemoSettings:
    """What was chosen before the first run."""

    seed: int
    epochs: int
    anomaly_digit: int
    progress: bool

    @property
    def anomaly_epochs(self) -> int:
        """Epochs of the two trainings for the anomalies: fewer, for the sake of time alone."""
        return max(1, round(0.6 * self.epochs))

    def say(self, line: str) -> None:
        """Print a line beside the progress bars, where these are wanted."""
        if self.progress:
            print(line, file=sys.stderr, flush=True)


@dataclass(eq=False)
class DemoClusters:
    """One network trained on all images, and the k-means labels of its codes."""

    model: AutoEncoder
    history: History
    codes: Array  # (N, D)
    labels: Array  # (N,)


@dataclass(eq=False)
class DemoScores:
    """One network trained on the contaminated images: scores of training and test images."""

    normality: Array  # (N,) of the test images, high is normal
    train_normality: Array  # of the training images
    error: Array  # (N,) reconstruction error of the test images


def both(
    norm: Norm, data: Dataset, mixed: Dataset, test: Dataset, settings: DemoSettings
) -> tuple[DemoClusters, DemoScores]:
    """Both experiments with one kind of network."""
    return cluster(norm, data, settings), score(norm, mixed, test, settings)


def cluster(norm: Norm, data: Dataset, settings: DemoSettings) -> DemoClusters:
    """Train on all images and cluster their codes: k-means, k = 10.

    Every network starts from the same weights and sees the same batches: the streams of random
    numbers begin anew, so that `norm` is the only difference.
    """
    model, history = _train(norm, data, settings.epochs, settings)
    codes, clustering = method.cluster(model, data.images, CLASSES, rng=rngs(settings.seed).kmeans)
    return DemoClusters(model, history, codes, clustering.labels)


def score(norm: Norm, train: Dataset, test: Dataset, settings: DemoSettings) -> DemoScores:
    """Train on contaminated images, keep the centers of the nine normal classes, score the test.

    Eq. 5 for both networks. Without the constraint the codes have any length, and the paper does
    not say what it did: they are brought to unit length for the scoring, as cosines are.
    """
    model, _ = _train(norm, train, settings.anomaly_epochs, settings)
    codes, clustering = method.cluster(
        model, train.images, CLASSES - 1, rng=rngs(settings.seed).kmeans
    )
    found = method.score(model, clustering.centers, test.images)
    return DemoScores(found.v, cosine_normality(codes, clustering.centers), found.error)


def _train(
    norm: Norm, data: Dataset, epochs: int, settings: DemoSettings
) -> tuple[AutoEncoder, History]:
    """Train DCEC's network for 8 × 8 images; return it as it was at its lowest loss."""
    H, W, C = data.images.shape[1:]
    settings.say(f"{data.name}, {len(data):,} images, {NAMES[norm]}:")
    return method.train(
        data.images,
        Architecture("cae", (H, W, C), norm=norm),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        seed=settings.seed,
        progress=settings.progress,
    )
