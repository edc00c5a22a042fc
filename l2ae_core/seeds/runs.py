"""A folder of runs that differ in their seed, as `l2ae fit --seeds` makes it.

seed-<s>/     a run directory for each seed s
seeds.json    the seeds; once all are trained, how far they agree, and which one is chosen
gallery.npz   then, the clusters of all, and the images that change theirs
.lock         who trains here, while somebody does
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeAlias

from l2ae_core.clustering.agreement import FEWEST, RunAgreement
from l2ae_core.files import SEEDS, write_json
from l2ae_core.readers import one_line, read_json
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.typed_json import from_json, to_json

FORMAT: Literal["l2ae-seeds"] = "l2ae-seeds"
VERSION: Literal[1] = 1
Verdict: TypeAlias = Literal["agrees", "stands apart"]


@dataclass(frozen=True)
class SeedAgreement:
    """`RunAgreement` by seed; lists are in the order of the seeds."""

    nmi: list[list[float]]  # (R, R)
    mean_nmi: list[float]  # (R,), with the other runs
    chosen: int  # the seed of the run with the highest mean
    verdicts: list[Verdict] | None = None  # (R,); None for two runs

    @classmethod
    def of(cls, agreement: RunAgreement, seeds: list[int]) -> Self:
        """Return the agreement of the runs of `seeds`."""
        verdicts: list[Verdict] | None = None
        if agreement.apart is not None:
            verdicts = ["stands apart" if apart else "agrees" for apart in agreement.apart.tolist()]
        chosen = seeds[agreement.medoid]
        return cls(agreement.nmi.tolist(), agreement.mean.tolist(), chosen, verdicts)


@dataclass(frozen=True)
class SeedRuns:
    """The content of seeds.json; `agreement` is None until all runs are trained."""

    seeds: list[int]
    agreement: SeedAgreement | None = None

    def __post_init__(self) -> None:
        R = len(self.seeds)
        if len({*self.seeds}) < R or R < 2 or min(self.seeds) < 0:
            raise ValueError("seeds is not a list of two or more different integers ≥ 0")
        found = self.agreement
        if found is None:
            return
        sides = [R, *map(len, found.nmi), len(found.mean_nmi)]
        if found.verdicts is not None:
            sides.append(len(found.verdicts))
        if len(found.nmi) != R or {*sides} != {R} or found.chosen not in self.seeds:
            raise ValueError(f"agreement is not that of the {R} seeds")
        if (found.verdicts is None) != (R < FEWEST):
            raise ValueError(f"agreement.verdicts expected from {FEWEST} seeds on, and only then")

    def write(self, folder: Path) -> None:
        """Write seeds.json, atomically."""
        file = _File(FORMAT, VERSION, self.seeds, self.agreement)
        write_json(folder / SEEDS, to_json(file))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the content of seeds.json; CheckpointError, naming it, where it cannot be used."""
        path = folder / SEEDS
        try:
            values = read_json(path)
        except ValueError as error:  # it names the file
            raise CheckpointError(str(error)) from error
        try:
            file = from_json(_File, values)
            return cls(file.seeds, file.agreement)
        except ValueError as error:
            raise CheckpointError(f"{path}: not the seeds of runs: {one_line(error)}") from error


@dataclass(frozen=True)
class _File:
    """The JSON object."""

    format: Literal["l2ae-seeds"]
    version: Literal[1]
    seeds: list[int]
    agreement: SeedAgreement | None = None


def seed_dir(folder: Path, seed: int) -> Path:
    """Return the run directory of a seed in a folder of seeds."""
    return folder / f"seed-{seed}"


def holds_seeds(folder: Path) -> bool:
    """Whether `folder` is one of runs of several seeds."""
    return (folder / SEEDS).exists()


def chosen_run(run: Path) -> tuple[Path, str]:
    """Return the run directory to use for `run`, and a note that says so where it is another.

    Of a folder of seeds it is the chosen run; any other path is returned as it is, without a note.
    CheckpointError when the trainings of the folder have not come to their end.
    """
    if not holds_seeds(run):
        return run, ""
    found = SeedRuns.read(run)
    if found.agreement is None:
        raise CheckpointError(
            f"{run / SEEDS}: no run is chosen yet, since not all {len(found.seeds)} are trained; "
            f"`l2ae fit --resume --out {run}` goes on with them"
        )
    chosen = seed_dir(run, found.agreement.chosen)
    return chosen, f"{run} has {len(found.seeds)} runs: {chosen} is used"
