"""Figures: functions from arrays to a matplotlib `Figure`, with no display and no global state.

Every title names what is shown; the caller adds data set, N and seed as `title`. `save` writes PNG.
"""

from l2ae_core.figures.confusion import matched_confusion
from l2ae_core.figures.embedding import embedding_scatter, project
from l2ae_core.figures.maps import class_map, class_maps
from l2ae_core.figures.panels import epoch_bands, paired, restart_dots, roc_bands, value_histogram
from l2ae_core.figures.scores import roc_curves, score_histogram
from l2ae_core.figures.style import save
from l2ae_core.figures.training import loss_curve, reconstructions

__all__ = [
    "class_map",
    "class_maps",
    "embedding_scatter",
    "epoch_bands",
    "loss_curve",
    "matched_confusion",
    "paired",
    "project",
    "reconstructions",
    "restart_dots",
    "roc_bands",
    "roc_curves",
    "save",
    "score_histogram",
    "value_histogram",
]
