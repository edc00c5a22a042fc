"""How well a score tells anomalies from normal images: ROC curves and the scores themselves."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from l2ae_core.anomaly import auc, roc
from l2ae_core.figures.style import (
    ANOMALY,
    FAINT,
    INK,
    LABEL,
    NORMAL,
    TICK,
    default_style,
    dress,
    line_styles,
    new_figure,
)
from l2ae_kernels.arrays import Array

BINS = 30
HEADROOM = 1.45  # height of the axis over the highest bar: room for the legend


@default_style()
def roc_curves(anomaly_scores: Mapping[str, Array], anomalous: Array, *, title: str = "") -> Figure:
    """Draw one ROC curve a score, with its AUC in the legend, and the line of chance.

    anomaly_scores maps names to scores (N,), high for anomalies (−v for Eq. 5); anomalous (N,) is
    bool. ValueError when there is no score, and as in `anomaly.roc`.
    """
    if not anomaly_scores:
        raise ValueError("roc_curves: anomaly_scores is empty but expected one or more scores")
    figure = new_figure(6.4, 6.6, "ROC: anomalies found against false alarms", title)
    ax = figure.subplots()
    styles = line_styles(list(anomaly_scores))
    for name, score in anomaly_scores.items():
        fpr, tpr, _ = roc(anomalous, score)
        colour, line = styles[name]
        label = f"{name}: AUC {auc(anomalous, score):.3f}"
        ax.plot(fpr, tpr, color=colour, linestyle=line, linewidth=2, label=label)
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, label="chance: AUC 0.5")
    count = int(np.sum(anomalous))
    dress(
        ax,
        x=f"false-positive rate (of {np.size(anomalous) - count:,} normal images)",
        y=f"true-positive rate (of {count:,} anomalies)",
    )
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.legend(loc="lower right", fontsize=TICK, frameon=True, framealpha=0.95, edgecolor="none")
    return figure


@default_style()
def score_histogram(
    normality: Array,
    anomalous: Array,
    tau: float,
    *,
    title: str = "",
    score_name: str = "normality v (Eq. 5)",
) -> Figure:
    """Draw how the normality of normal images and of anomalies is spread, and the threshold τ.

    normality (N,) is high for normal images; anomalous (N,) is bool, with both kinds. Each
    histogram sums to 100 % of its kind. The legend says which share of each lies below τ.
    ValueError for other shapes or dtypes, one kind only, or a number that is not finite.
    """
    v, anomalous = np.asarray(normality), np.asarray(anomalous)
    roc(anomalous, -v)  # makes the very same demands
    if not np.isfinite(tau):
        raise ValueError(f"score_histogram: tau is {tau} but expected a finite number")
    figure = new_figure(7.6, 4.8, "Normality of normal images and of anomalies", title)
    ax = figure.subplots()
    edges = np.histogram_bin_edges(np.append(v, tau), BINS)
    highest = 0.0
    for kind, mask, colour in (("normal", ~anomalous, NORMAL), ("anomalies", anomalous, ANOMALY)):
        label = f"{kind} ({mask.sum():,}), {_below(v[mask], tau)}"
        highest = max(highest, _steps(ax, v[mask], edges, colour, label))
    ax.axvline(
        tau, ymax=0.77, color=INK, linewidth=1.4, linestyle="--", label=f"threshold τ = {tau:.4f}"
    )
    dress(ax, x=score_name, y="share of its kind, %")
    ax.set_ylim(0, HEADROOM * highest)
    ax.legend(loc="upper left", fontsize=TICK, frameon=True, framealpha=0.95, edgecolor="none")
    ax.annotate("anomalous ←", (tau, 0.735), (-6, 0), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha="right", fontsize=LABEL, color=INK)  # fmt: skip
    return figure


def _below(v: Array, tau: float) -> str:
    return f"{100 * np.mean(v < tau):.0f} % below τ"


def _steps(ax: Axes, v: Array, edges: Array, colour: str, label: str) -> float:
    """Draw one histogram in per cent; return its highest bar."""
    heights = 100 * np.histogram(v, edges)[0] / len(v)
    ax.stairs(heights, edges, color=colour, alpha=0.35, fill=True)
    ax.stairs(heights, edges, color=colour, linewidth=1.6, label=label)
    return float(heights.max())
