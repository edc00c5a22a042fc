"""The two experiments of the demo: clustering (Section IV-A) and anomaly detection (IV-B)."""

import sys
from dataclasses import dataclass

from l2ae_core.anomaly import contaminate, cosine_normality, reconstruction_error
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.data import Dataset
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.networks.architectures import Norm
from l2ae_core.seeding import rngs
from l2ae_core.training.history import History
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import Adam
from l2ae_kernels.arrays import Array

BATCH_SIZE = 64
CLASSES = 10
N_INIT = 20
KEEP = 0.1  # share of the anomaly class that stays in training, Section IV-B
NAMES: dict[Norm, str] = {"l2": "with the l2 constraint", "none": "without the constraint"}


@dataclass(frozen=True)
class Plan:
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
class Clustered:
    """One network trained on all images, and the k-means labels of its codes."""

    model: AutoEncoder
    history: History
    codes: Array  # (N, D)
    labels: Array  # (N,)


@dataclass(eq=False)
class Scored:
    """One network trained on the contaminated images: scores of training and test images."""

    normality: Array  # (N,) of the test images, high is normal
    train_normality: Array  # of the training images
    error: Array  # (N,) reconstruction error of the test images


def both(
    norm: Norm, data: Dataset, mixed: Dataset, test: Dataset, plan: Plan
) -> tuple[Clustered, Scored]:
    """Both experiments with one kind of network."""
    return cluster(norm, data, plan), score(norm, mixed, test, plan)


def cluster(norm: Norm, data: Dataset, plan: Plan) -> Clustered:
    """Train on all images and cluster their codes: k-means, k = 10.

    Every network starts from the same weights and sees the same batches: the streams of random
    numbers begin anew, so that `norm` is the only difference.
    """
    model, history = _train(norm, data, plan.epochs, plan)
    codes = model.encode(data.images)
    random = rngs(plan.seed).kmeans
    found = kmeans(codes, CLASSES, n_init=N_INIT, rng=random)
    return Clustered(model, history, codes, found.labels)


def contaminated(train: Dataset, plan: Plan) -> Dataset:
    """Return the training part of Section IV-B: a tenth of the anomaly class, all other images."""
    assert train.labels is not None  # the digits have labels
    kept = contaminate(train.labels, plan.anomaly_digit, keep=KEEP, rng=rngs(plan.seed).split)
    return train.subset(kept, f"{train.name} with a tenth of digit {plan.anomaly_digit}")


def score(norm: Norm, train: Dataset, test: Dataset, plan: Plan) -> Scored:
    """Train on contaminated images, keep the centers of the nine normal classes, score the test.

    Eq. 5 for both networks. Without the constraint the codes have any length, and the paper does
    not say what it did: they are brought to unit length for the scoring, as cosines are.
    """
    model, _ = _train(norm, train, plan.anomaly_epochs, plan)
    codes = model.encode(train.images)
    centers = kmeans(codes, CLASSES - 1, n_init=N_INIT, rng=rngs(plan.seed).kmeans).centers
    return Scored(
        cosine_normality(model.encode(test.images), centers),
        cosine_normality(codes, centers),
        reconstruction_error(test.images, model.reconstruct(test.images)),
    )


def _train(norm: Norm, data: Dataset, epochs: int, plan: Plan) -> tuple[AutoEncoder, History]:
    """Train DCEC's network for 8 × 8 images; return it as it was at its lowest loss."""
    H, W, C = data.images.shape[1:]
    random = rngs(plan.seed)
    model = build(Architecture("cae", (H, W, C), norm=norm), random.init)
    plan.say(f"{data.name}, {len(data):,} images, {NAMES[norm]}:")
    history = fit(
        model,
        data.images,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        optimizer=Adam(),
        rng=random.shuffle,
        progress=plan.progress,
    )
    history.restore_best(model)
    return model, history
