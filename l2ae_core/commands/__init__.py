"""`l2ae fit`, `cluster` and `score` as functions: the method on a data set, with a run directory.

A run directory holds the trained network (`l2ae_core.training.run`) and the clusters of its
training images (`l2ae_core.clusters`): `fit` makes it, `cluster` and `score` read it. The command
line (`l2ae_core.cli`) calls these after it has parsed its options, the tables of the paper call
`fit`; the arithmetic is that of `l2ae_core.method`, which knows of no file.
"""

from l2ae_core.commands.apply import cluster, cluster_table, score, score_table
from l2ae_core.commands.checks import (
    checked_settings,
    prepare,
    require_resumable,
    require_there,
    require_trainable,
)
from l2ae_core.commands.gallery import galleries
from l2ae_core.commands.infer import LoadedRun, load_fitted, training_images
from l2ae_core.commands.look import Sight, look
from l2ae_core.commands.outlook import Outlook, first_lines, say
from l2ae_core.commands.recluster import recluster, sweep
from l2ae_core.commands.together import Request, train_together
from l2ae_core.commands.train import TrainedRun, fit, losses

__all__ = [
    "LoadedRun",
    "Outlook",
    "Request",
    "Sight",
    "TrainedRun",
    "checked_settings",
    "cluster",
    "cluster_table",
    "first_lines",
    "fit",
    "galleries",
    "load_fitted",
    "look",
    "losses",
    "prepare",
    "recluster",
    "require_resumable",
    "require_there",
    "require_trainable",
    "say",
    "score",
    "score_table",
    "sweep",
    "train_together",
    "training_images",
]
