"""Maps of the codes: what the network put near what."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from l2ae_core.clustering.metrics import accuracy, encode_labels, matching
from l2ae_core.figures.style import (
    FAINT,
    GRID,
    INK,
    LABEL,
    PANEL,
    TICK,
    bare,
    class_labels,
    class_style,
    default_style,
    name_groups,
    new_figure,
)
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

Projection: TypeAlias = Literal["tsne", "pca"]
LONG = {"tsne": "t-SNE", "pca": "PCA"}
CLOSE = 1e-3  # deviations below, relative to the codes, lose half their digits in a float32 square
SMALL = 1e-15  # deviations whose squares are still far from the least float32
TSNE_ITERATIONS = 500  # of which scikit-learn spends 250 on early exaggeration


def project(codes: Array, method: Projection = "tsne", *, seed: int = 0) -> Array:
    """Return a map (N, 2) of codes (N, D).

    "pca": the two principal components, whose signs scikit-learn fixes. "tsne": t-SNE started from
    them, perplexity 30, or (N − 1)/3 where that is less. Equal input and seed give equal maps.
    Codes that are all equal lie at (0, 0).
    ValueError when codes are not (N, D) with N ≥ 4 and D ≥ 2, are not finite, or the method is
    unknown.
    """
    codes = np.asarray(codes)
    if method not in get_args(Projection):
        raise ValueError(
            f"project: method is {method!r} but expected one of {get_args(Projection)}"
        )
    if codes.ndim != 2 or len(codes) < 4 or codes.shape[1] < 2 or not np.isfinite(codes).all():
        raise ValueError(
            f"project: codes is {codes.shape} but expected finite (N, D) with N ≥ 4 and D ≥ 2"
        )
    if (codes == codes[0]).all():
        return np.zeros((len(codes), 2))
    codes = _in_range(codes)
    if method == "pca":
        from sklearn.decomposition import PCA

        return np.asarray(PCA(2, svd_solver="full").fit_transform(codes))
    from sklearn.manifold import TSNE  # takes a second to import

    perplexity = min(30.0, (len(codes) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, max_iter=TSNE_ITERATIONS, random_state=seed)
    # scikit-learn's threads spin between iterations: slow where another process wants the core
    with threadpool_limits(limits=1, user_api="openmp"):
        return np.asarray(tsne.fit_transform(codes))


def _in_range(codes: Array) -> Array:
    """Return codes (N, D), as deviations of size 1 where they lie close together or are extreme.

    scikit-learn multiplies codes with each other in their own dtype: of deviations that are small
    beside the codes nothing may be left then, and it would divide by a spread of 0.
    """
    size = np.abs(codes).max()
    deviations = codes.astype(np.float64) / size
    deviations -= deviations.mean(axis=0)
    spread = np.abs(deviations).max()
    if spread > CLOSE and SMALL < spread * size < 1 / SMALL:
        return codes
    return np.asarray(deviations / spread)


@default_style()
def embedding_scatter(
    codes: Mapping[str, Array],
    classes: Array,
    clusters: Mapping[str, Array],
    *,
    title: str = "",
    method: Projection = "tsne",
    seed: int = 0,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draw maps of codes side by side, made with equal settings: by class above, by cluster below.

    codes maps the name of a network to its codes (N, D), clusters the same names to cluster labels
    (N,); classes (N,) are the true labels, class_names their names in sorted order. A cluster has
    the colour of the class that Eq. 6 gives it, so a point whose colour differs between the two
    rows counts as an error; these are drawn as crosses. The letter "c" marks clusters.
    ValueError when names or lengths do not fit, or `project` refuses the codes.
    """
    _check_panels(codes, classes, clusters)
    values, truth = encode_labels("embedding_scatter", "classes", classes)
    names = class_labels("embedding_scatter", values, class_names)
    figure = new_figure(
        0.9 + 4.9 * len(codes), 9.6, f"Codes, drawn in 2-D by {LONG[method]}", title
    )
    axes = figure.subplots(2, len(codes), squeeze=False)
    for column, (network, u) in enumerate(codes.items()):
        points = project(u, method, seed=seed)  # (N, 2)
        kinds, member = encode_labels("embedding_scatter", "clusters", clusters[network])
        m = matching(classes, clusters[network])
        index_of = {value: index for index, value in enumerate(values.tolist())}
        found = np.array([index_of.get(m[c], -1) for c in kinds.tolist()])[member]  # (N,)
        acc = accuracy(classes, clusters[network])
        _scatter(axes[0, column], points, truth, np.ones(len(points), bool))
        name_groups(axes[0, column], points, truth, names)
        _scatter(axes[1, column], points, found, found == truth)
        labels = [f"c{c}" if m[c] is not None else f"c{c}, no class" for c in kinds.tolist()]
        name_groups(axes[1, column], points, member, labels)
        axes[0, column].set_title(network, fontsize=PANEL + 1, color=INK, weight="bold")
        axes[1, column].set_title(
            f"ACC {acc:.3f}, {counted(int((found != truth).sum()), 'error')} of {len(points):,}",
            fontsize=PANEL,
            color=INK,
        )
    for row, by in enumerate(("coloured by true class", "by cluster, in the colour of its class")):
        axes[row, 0].set_ylabel(by, fontsize=LABEL, color=INK)
    figure.supxlabel(
        "crosses: images whose cluster belongs to another class; axes of a map have no unit",
        fontsize=TICK,
        color=FAINT,
    )
    return figure


def _scatter(ax: Axes, points: Array, group: Array, right: Array) -> None:
    """Draw points (N, 2) in the style of their group (N,); group −1 is none, wrong ones crosses."""
    for index in np.unique(group).tolist():
        colour, marker = (INK, "o") if index < 0 else class_style(index)
        for mask, shape, area in ((right, marker, 11), (~right, "x", 14)):
            x, y = points[(group == index) & mask].T
            width = 0.9 if shape == "x" else 0.0
            ax.scatter(x, y, s=area, c=colour, marker=shape, alpha=0.8, linewidths=width)
    bare(ax)
    for spine in ax.spines.values():  # a map has no axes, but the four maps need edges
        spine.set(visible=True, color=GRID, linewidth=1)
    ax.margins(0.04)
    ax.set_aspect("equal", adjustable="datalim")


def _check_panels(
    codes: Mapping[str, Array], classes: Array, clusters: Mapping[str, Array]
) -> None:
    if not codes or list(codes) != list(clusters):
        raise ValueError(
            f"embedding_scatter: clusters has the names {list(clusters)} but expected those of "
            f"codes, {list(codes)}, one or more"
        )
    for name, u in codes.items():
        if not len(u) == len(classes) == len(clusters[name]):
            raise ValueError(
                f"embedding_scatter: {name!r} has {counted(len(u), 'code')} and "
                f"{counted(len(clusters[name]), 'cluster')} but expected "
                f"{len(classes)}, one for each class label"
            )
