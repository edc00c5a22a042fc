"""What `l2ae fit --seeds` prints: a table of the runs, and which one to use."""

from pathlib import Path

import numpy as np

from l2ae_core.seeds.fit import TrainedSeeds
from l2ae_core.seeds.runs import seed_dir
from l2ae_core.tables import aligned, counted, duration

LOW = 0.5  # of NMI: runs that share less than half of what their clusters tell


def format_table(out: Path, trained: TrainedSeeds) -> str:
    """Return a text of some lines about the runs in the folder `out`."""
    found, weights, R = trained.agreement, trained.weights, len(trained.seeds)
    first, took = trained.metrics[0], duration(sum(m["seconds"] for m in trained.metrics))
    columns = {
        "seed": [f"{seed}" for seed in trained.seeds],
        "mean NMI": [f"{mean:.4f}" for mean in found.mean_nmi],
    }
    scored = "acc" in first[weights]
    if scored:
        columns["ACC"] = [f"{m[weights]['acc']:.4f}" for m in trained.metrics]
    numbers = range(len(columns))
    if found.verdicts is not None:
        columns["verdict"] = [*found.verdicts]
    chance = f"; ACC of chance: {first[weights]['chance']['acc']:.3f}" if scored else ""
    lines = [
        f"{out}: {counted(R, 'training')} of {counted(first['epochs'], 'epoch')} of "
        f"{counted(first['images'], 'image')} in {took}",
        aligned([*columns], [*zip(*columns.values(), strict=True)], numbers),
        f"mean NMI of the clusters of a run and those of each other run, without labels{chance}",
    ]
    if np.mean(found.mean_nmi) < LOW:
        lines.append(f"below {LOW}, the clusters depend on the seed: a longer training may help")
    chosen = seed_dir(out, found.chosen)
    if found.verdicts is None:
        lines.append("two runs tell how far they agree, not which is better")
        lines.append(f"{out} stands for {chosen}, the first, in l2ae cluster and score")
    else:
        lines.append(f"{chosen} agrees most: {out} stands for it in l2ae cluster and score")
    return "\n".join(lines)
