"""The networks of a table, trained on a device: several of one shape at once.

Runs of one system, data set, anomaly and number of epochs differ by their seed alone, so their
epochs have batches of equal sizes. The run directories are those of a training alone; what follows
(clusters, scores, the result file) is as for any other run.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from l2ae_core.commands import Request, train_together
from l2ae_core.data import Dataset
from l2ae_core.files import CHECKPOINT, METRICS
from l2ae_core.paper import protocols
from l2ae_core.paper.methods.network import settings_of
from l2ae_core.paper.run import ResultsDir, Run
from l2ae_core.paper.systems import find_system
from l2ae_core.training import checkpoint
from l2ae_core.training.fingerprint import ON
from l2ae_core.training.together import MODELS
from l2ae_kernels.cuda.device import Device


def train_networks(
    runs: Sequence[Run], folder: ResultsDir, device: Device, *, progress: bool
) -> dict[Run, Exception]:
    """Train the networks of a group of runs at once; return which failed, and why."""
    requests = [
        Request(folder.training(run), settings_of(run), _images(run, folder)) for run in runs
    ]
    ended = train_together(requests, device, progress=progress)
    return {run: error for run, error in zip(runs, ended, strict=True) if error is not None}


def trained_on(run: Run, folder: ResultsDir) -> str | None:
    """Return the device on which the network of a run was trained; None is the processor."""
    path = folder.training(run) / CHECKPOINT
    if not is_network(run) or not path.exists():
        return None
    device: str | None = checkpoint.load(path).settings.get(ON)
    return device


def groups_of(runs: Sequence[Run], folder: ResultsDir) -> list[list[Run]]:
    """Return the runs whose networks are to be trained, in groups that are trained at once."""
    alike: dict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        if is_network(run) and not (folder.training(run) / METRICS).exists():
            alike[replace(run, seed=0)].append(run)
    return [
        same[first : first + MODELS]
        for same in alike.values()
        for first in range(0, len(same), MODELS)
    ]


def is_network(run: Run) -> bool:
    """Whether a run trains a network as `l2ae fit` does: a device has no other training."""
    return find_system(run.system).method == "network"


def _images(run: Run, folder: ResultsDir) -> Dataset:
    if run.task == "clustering":
        return protocols.load_all(run, folder)
    return protocols.partition(run, folder).train
