"""Write how far the seeds of a system agree: NMI of their clusters, no label used, and accuracy.

    l2ae reproduce beyond --seeds 10 --data usps --out RESULTS
    python benchmarks/agreement.py RESULTS
    python benchmarks/results_page.py

Result files have no clusters of single images: they are made again from the networks in
RESULTS/trainings, which takes k-means a run and trains nothing. Systems with two seeds or more go
to benchmarks/results/agreement.json, where each replaces what was there of the same data and
system.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from l2ae_core.clustering.agreement import agreement_between_runs
from l2ae_core.clustering.metrics import accuracy
from l2ae_core.files import CHECKPOINT, given_folder, write_json
from l2ae_core.paper import Result, read_results
from l2ae_core.paper.index import ResultIndex
from l2ae_core.paper.methods import CLUSTER
from l2ae_core.paper.protocols import load_all
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.systems import SYSTEMS
from l2ae_core.readers import read_json
from l2ae_core.typed_json import from_json, to_json
from l2ae_kernels.arrays import Array

FILE = Path(__file__).parent / "results" / "agreement.json"
DIGITS = 6
TOLERANCE = 1e-3  # of accuracy: another machine rounds otherwise


@dataclass(frozen=True, kw_only=True)
class SeedAgreement:
    """What the runs of one system on one data set say about each other, in the order of seeds."""

    data: str
    system: str
    epochs: int
    seeds: list[int]
    acc: list[float]
    nmi: list[list[float]]  # between all pairs
    mean_nmi: list[float]  # with the others
    medoid: int  # the seed that agrees most
    apart: list[int] | None = None  # seeds that stand apart; None for two, which cannot tell

    def __post_init__(self) -> None:
        R = len(self.seeds)
        good = len(self.acc) == len(self.mean_nmi) == len(self.nmi) == R
        if not good or any(len(row) != R for row in self.nmi) or self.medoid not in self.seeds:
            raise ValueError(f"{self.system} on {self.data}: lists do not fit {R} seeds")


def read(path: Path) -> list[SeedAgreement]:
    """Return what is in a file; an empty list where there is none."""
    return from_json(list[SeedAgreement], read_json(path), str(path)) if path.exists() else []


def measure(folder: ResultsDir) -> list[SeedAgreement]:
    """Return the agreement of each system in `folder` of which two networks or more are there.

    ValueError when the clusters that are made again are not those of a result.
    """
    index = ResultIndex(read_results(folder.path))
    groups = []
    for task, data, system, _ in index.found:
        if task == "clustering":
            results = index.seeds(task, data, system, None)
            there = [results[s] for s in sorted(results) if _network(folder, results[s])]
            if len(there) > 1:
                groups.append(there)
    found = []
    with tqdm(total=sum(map(len, groups)), desc="clusters", leave=False) as bar:
        for results_of_one in groups:
            labels = []
            for result in results_of_one:
                labels.append(_clusters(folder, result))
                bar.update()
            found.append(_compare(results_of_one, labels))
    return found


def _network(folder: ResultsDir, result: Result) -> bool:
    return SYSTEMS[result.run.system].trained and (
        (folder.training(result.run) / CHECKPOINT).exists()
    )


def _clusters(folder: ResultsDir, result: Result) -> Array:
    """Return the labels (N,) of a run that is done: its method finds the training at its end."""
    run = result.run
    dataset = load_all(run, folder)
    labels = CLUSTER[SYSTEMS[run.system].method](run, folder, dataset, False).labels
    assert dataset.labels is not None  # of `load_all`
    here = accuracy(dataset.labels, labels)
    if abs(here - result.scores["acc"]) > TOLERANCE:
        raise ValueError(
            f"agreement: {run}: clusters made again have accuracy {here:.4f} but the result has "
            f"{result.scores['acc']:.4f}"
        )
    return labels


def _compare(results: list[Result], labels: list[Array]) -> SeedAgreement:
    run, seeds = results[0].run, [r.run.seed for r in results]
    found = agreement_between_runs(labels)
    apart = None
    if found.apart is not None:
        apart = [seed for seed, yes in zip(seeds, found.apart.tolist(), strict=True) if yes]
    return SeedAgreement(
        data=run.data, system=run.system, epochs=run.epochs, seeds=seeds,
        acc=[r.scores["acc"] for r in results], nmi=found.nmi.round(DIGITS).tolist(),
        mean_nmi=found.mean.round(DIGITS).tolist(), medoid=seeds[found.medoid], apart=apart,
    )  # fmt: skip


def merge(path: Path, new: list[SeedAgreement]) -> None:
    """Write `new` into a file, in place of what it has of the same data and systems."""
    every = {(a.data, a.system): a for a in [*read(path), *new]}
    write_json(path, [to_json(every[key]) for key in sorted(every)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=given_folder, help="a folder of `l2ae reproduce`")
    parser.add_argument("--data-dir", help="folder with the MNIST or USPS files")
    arguments = parser.parse_args()
    try:
        made = measure(ResultsDir(arguments.results, arguments.data_dir))
        if not made:
            raise ValueError(f"agreement: {arguments.results} has no two networks of a system")
        merge(FILE, made)
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")
    for one in made:
        print(f"{one.system} on {one.data}: {len(one.seeds)} seeds")
