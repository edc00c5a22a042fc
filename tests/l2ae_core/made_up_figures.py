"""Codes, clusters, scores and images with figures of them."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from l2ae_core import figures
from l2ae_core.anomaly import roc
from l2ae_kernels.arrays import Array

N = 90
CLASSES = np.arange(N) % 3 + 5  # classes 5, 6, 7
WRONG = 4  # images in a cluster of another class


def codes(seed: int = 0) -> Array:
    """Three clouds of codes (N, 4)."""
    rng = np.random.default_rng(seed)
    return 6 * np.eye(3, 4)[CLASSES - 5] + rng.standard_normal((N, 4))


def clusters() -> Array:
    """Cluster 9 is class 5, 4 is class 6, 2 is class 7; the first four images are misplaced."""
    labels = np.array([9, 4, 2])[CLASSES - 5]
    labels[:WRONG] = np.array([4, 2, 9, 4])
    return labels


def embedding(**keywords: object) -> Figure:
    networks = {"with": codes(), "without": codes(1)}
    labels = {"with": clusters(), "without": clusters()}
    return figures.embedding_scatter(networks, CLASSES, labels, method="pca", **keywords)


def scores() -> tuple[Array, Array]:
    """Normality (N,) and who is anomalous: the first ten, all below every normal image."""
    v = np.linspace(-0.2, 1, N)
    return v, np.arange(N) < 10


def kinds() -> dict[str, Array]:
    """The scores of normal images and of anomalies."""
    v, anomalous = scores()
    return {"normal": v[~anomalous], "anomalies": v[anomalous]}


def roc_of_scores() -> dict[str, list[tuple[Array, Array]]]:
    """The ROC curves of the scores, and of the scores reversed."""
    v, anomalous = scores()
    return {"right": [roc(anomalous, -v)[:2]], "reversed": [roc(anomalous, v)[:2]]}


def images() -> tuple[Array, Array]:
    """Black images (N, 4, 6, 1); reconstruction i is grey i / N, so the error grows with i."""
    x = np.zeros((N, 4, 6, 1), np.float32)
    return x, x + (np.arange(N, dtype=np.float32) / N)[:, None, None, None]


def criteria() -> dict[str, list[float]]:
    """Two criteria of 2, 3 and 5 clusters; one of them is not defined everywhere."""
    return {"inertia": [9.0, 4.0, 3.0], "silhouette": [0.2, float("nan"), 0.1]}


def seeds() -> dict[str, figures.SeedScores]:
    """Runs of two ways to train; seed 2 of the first fails."""
    return {
        "plain": figures.SeedScores([0.86, 0.87, 0.7], [90, 91, 77], [0, 1, 2]),
        "warped": figures.SeedScores([0.9], [95], [12]),
    }


def by_value() -> dict[str, dict[float, list[float]]]:
    """Scores of runs at some values of a setting, not in order, of two data sets."""
    return {"a": {10.0: [90, 80], 2.0: [70, 75, 80]}, "b": {2.0: [60], 5.0: [65]}}


def gradients() -> dict[str, dict[str, Array]]:
    """Two layers: a wrong entry of W and one that is not compared, and a block of four axes."""
    wrong = np.full((3, 4), 1e-11)
    wrong[0, 1], wrong[2, 3] = 0.5, np.nan
    return {"own": {"W": wrong, "b": np.zeros(4)}, "other": {"x": np.full((2, 3, 3, 2), 1e-8)}}


FIGURES: dict[str, Callable[[], Figure]] = {
    "embedding": lambda: embedding(title="three clouds"),
    "confusion": lambda: figures.matched_confusion(CLASSES, clusters(), title="three clouds"),
    "roc": lambda: figures.roc_curves(roc_of_scores(), title="three clouds"),
    "histogram": lambda: figures.histogram(kinds(), 0.5, x="v", title="three clouds"),
    "loss": lambda: figures.epoch_curves({"l2": [[3.0, 1.0, 2.0]]}, y="loss", title="three clouds"),
    "counts": lambda: figures.cluster_counts([2, 3, 5], criteria(), title="three clouds"),
    "agreement": lambda: figures.agreement_scatter(seeds(), title="three clouds"),
    "sensitivity": lambda: figures.sensitivity(
        by_value(), x="κ", y="accuracy, %", title="three clouds"
    ),
    "gradients": lambda: figures.gradient_errors(gradients(), 1e-6, title="three clouds"),
    "reconstructions": lambda: figures.reconstructions(*images(), count=3, title="three clouds"),
}


def texts(figure: Figure) -> list[str]:
    """All texts of the figure, tick labels included."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(Text)]
    return [text for text in found if text]
