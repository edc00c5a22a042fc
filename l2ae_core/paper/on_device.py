"""The networks of a table, trained on a device: several of one shape at once.

Runs of one system, data set and number of epochs have networks of one shape, whatever their seeds
and anomalies. An anomaly says how many images there are: those of one digit are trained at once
where there are enough, since a training with fewer batches waits for the others in every epoch.
The run directories are those of a training alone; what follows (clusters, scores, the result file)
is as for any other run.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from l2ae_core.commands import Request, train_together
from l2ae_core.data import Dataset
from l2ae_core.files import CHECKPOINT, METRICS
from l2ae_core.paper import protocols
from l2ae_core.paper.methods.network import settings_of
from l2ae_core.paper.run import ResultsDir, Run, seeds_and_anomalies
from l2ae_core.paper.systems import find_system
from l2ae_core.tables import counted
from l2ae_core.training import checkpoint
from l2ae_core.training.fingerprint import ON
from l2ae_core.training.together import MODELS
from l2ae_kernels.cuda.device import Device


def train_networks(
    runs: Sequence[Run], folder: ResultsDir, device: Device, *, micro_batch: int | None = None,
    progress: bool,
) -> dict[Run, Exception]:  # fmt: skip
    """Train the networks of a group of runs at once; return which failed, and why."""
    requests = [
        Request(folder.training(run), settings_of(run), _images(run, folder)) for run in runs
    ]
    ended = train_together(requests, device, micro_batch=micro_batch, progress=progress)
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
    alike: dict[Run, list[Run]] = defaultdict(list)
    for run in runs:
        if is_network(run) and not (folder.training(run) / METRICS).exists():
            alike[_kind(run)].append(run)
    return [
        same[first : first + MODELS]
        for same in (sorted(runs, key=_digit) for runs in alike.values())
        for first in range(0, len(same), MODELS)
    ]


def describe_groups(groups: Sequence[Sequence[Run]], device: str) -> str:
    """Return in one line how many networks a device trains, and how many at once."""
    kinds: dict[Run, list[int]] = defaultdict(list)
    for group in groups:
        kinds[_kind(group[0])].append(len(group))
    told = [
        f"{kind.system} on {kind.where}, {sum(sizes):,} in {counted(len(sizes), 'group')}"
        for kind, sizes in kinds.items()
    ]
    networks = counted(sum(map(len, groups)), "network")
    which = f", up to {MODELS} of one system at once: {'; '.join(told)}" if told else ""
    return f"reproduce: {device} trains {networks}{which}"


def describe_group(group: Sequence[Run]) -> str:
    """Return in one line which networks are trained at once."""
    kind, pairs = group[0], {(run.seed, run.digit) for run in group}
    networks = counted(len(group), "network")
    return f"{networks} at once: {kind.system} on {kind.where}, {seeds_and_anomalies(pairs)}"


def _kind(run: Run) -> Run:
    """What runs have in common whose networks are of one shape."""
    return replace(run, seed=0, digit=None if run.digit is None else 0)


def _digit(run: Run) -> int:
    return -1 if run.digit is None else run.digit


def is_network(run: Run) -> bool:
    """Whether a run trains a network as `l2ae fit` does: a device has no other training."""
    return find_system(run.system).method == "network"


def _images(run: Run, folder: ResultsDir) -> Dataset:
    if run.task == "clustering":
        return protocols.load_all(run, folder)
    return protocols.partition(run, folder).train
