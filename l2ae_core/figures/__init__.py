"""Figures: functions from arrays to a matplotlib `Figure`, with no display and no global state.

Every title names what is shown; the caller adds data set, N and seed as `title`. `save` writes PNG,
SVG or PDF.
"""

from l2ae_core.figures.agreement import SeedScores, agreement_scatter
from l2ae_core.figures.charts import epoch_curves, histogram, paired, restart_dots, roc_curves
from l2ae_core.figures.confusion import matched_confusion
from l2ae_core.figures.counts import cluster_counts
from l2ae_core.figures.embedding import embedding_scatter, project
from l2ae_core.figures.gradients import gradient_errors
from l2ae_core.figures.maps import class_maps
from l2ae_core.figures.reconstructions import reconstructions
from l2ae_core.figures.sensitivity import sensitivity
from l2ae_core.figures.style import save

__all__ = [
    "SeedScores",
    "agreement_scatter",
    "class_maps",
    "cluster_counts",
    "embedding_scatter",
    "epoch_curves",
    "gradient_errors",
    "histogram",
    "matched_confusion",
    "paired",
    "project",
    "reconstructions",
    "restart_dots",
    "roc_curves",
    "save",
    "sensitivity",
]
