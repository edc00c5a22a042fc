"""Figures: functions from arrays to a matplotlib `Figure`, with no display and no global state.

Every title names what is shown; the caller adds data set, N and seed as `title`. `save` writes PNG.
"""

from l2ae_core.plots.confusion import matched_confusion
from l2ae_core.plots.embedding import embedding_scatter, project
from l2ae_core.plots.scores import roc_curves, score_histogram
from l2ae_core.plots.style import save
from l2ae_core.plots.training import loss_curve, reconstructions

__all__ = [
    "embedding_scatter",
    "loss_curve",
    "matched_confusion",
    "project",
    "reconstructions",
    "roc_curves",
    "save",
    "score_histogram",
]
