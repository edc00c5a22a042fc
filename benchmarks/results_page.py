"""Write benchmarks/RESULTS.md whole, and the small tables and the figure of the READMEs.

    python benchmarks/run.py --tables            # measures the speed, and then does this
    python benchmarks/results_page.py

Everything comes from benchmarks/results; a test makes the texts again and compares.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import agreement
import beyond
from findings import clustering, detection, seeds
from findings_tables import four_and_nine, glance, picks, verdicts, zeros
from l2ae_bench import kernel_tables, scale
from l2ae_bench.machine import ROOT, Measurements
from l2ae_bench.results import read, with_part
from l2ae_bench.scale import growth
from l2ae_bench.scale.measure import latest
from l2ae_bench.scale.measure import read as measured
from l2ae_core.figures import save
from l2ae_core.files import atomic_file
from l2ae_core.paper import read_results
from l2ae_core.paper.tables import paper_tables
from scores import Numbers

RESULTS = Path("benchmarks/results")
RUNS = RESULTS / "runs"
PAGE, README, KERNELS = (
    Path(p) for p in ("benchmarks/RESULTS.md", "README.md", "kernels/README.md")
)
LADDER = RESULTS / "ladder.png"
AGREEMENT = RESULTS / "agreement.json"
INTRODUCTION = """# Results

The tables of the paper beside our own runs, what the runs say, and the speed. This page is
written by `python benchmarks/results_page.py` from the files in [`results`](results); a test
makes it again.

`l2ae reproduce table1 … table5` makes such runs: one seed and the paper's epochs (for Tables IV
and V those of its clustering) where `--seeds`, `--epochs` and `--systems` say nothing else. It
goes on after a kill and prints these tables; `l2ae report RESULTS` makes one page of them, with
figures. A line of a result file is a run, with its configuration, versions, machine and curves.
Seeds 0 to n − 1, none left out; networks are those of their lowest training loss; labels make the
scores and, in Tables IV and V, the anomalies. The LeakyReLU of AE and AE-l2, and of what goes on
from them, has slope 0.01 where no other is named. A row or cell without a score was not run."""
FIGURE = """![Figure 1 of the paper, made again](results/figure1-mnist.png)

*Figure 1 made again: codes of MNIST without the constraint (a), the same brought to unit length
after training (b), and with the constraint in training (c), where 4 and 9 come apart. `l2ae
reproduce figure1 --data mnist`; here with 64 colours.*"""
TABLE4 = """Table IV has the networks after 200 epochs, as the paper. After 20, in the mean of more
partitions, the AUC by the cosine is {:.3f} without the constraint and {:.3f} with it."""
OLDER = """Smaller runs: the CAE-l2 on MNIST after 20 of its 200 epochs
([`mnist-cae-20-epochs.json`](results/mnist-cae-20-epochs.json)); the digits of scikit-learn,
seven seeds, 150 epochs, last weights ([`digits-cae.json`](results/digits-cae.json)). The demo
takes one digit and one seed; with other digits of this small data set the order can turn around
(try `--anomaly-digit 0`)."""
GROWTH = """Each cell is a process of its own, on a machine that does nothing else; k-means makes
ten updates from the same centers for all but mini-batches, `fit` an epoch of the paper's network,
and `score` writes a line an image where the images are a file. The thin lines have slope 1.

![Time and memory by the number of samples](results/scale.png)"""
SPEED = """Beside what is installed of PyTorch, scikit-learn and faiss, in one process,
interleaved, results compared first. A processor is a column, the one that was measured last first:
our time, the time of the best peer, and how many times as fast ours is, with the quartiles. The
column without a name of LLVM is of a Zen 5, whose core multiplies and adds 294 GFLOP/s. What LLVM
takes for a `rocketlake` by its number is a Xeon with AMX; rows with `amx3` and `amx6` are of
`--vectors`, with products of bfloat16, three or six for one. On two more processors older
versions were measured: on a Zen 3 without AVX-512 they were 2.0 to 2.4 times as fast as PyTorch
2.13 with convolutions, and no faster with dense layers; on a Xeon of the Sapphire Rapids kind 2.0
to 2.5 times with convolutions, and level with dense layers."""
AUGMENTED = """Steps on warped images, and on warped images with self-labelling: our time, that of
a plain step, and how many times as long ours takes."""


def page(root: Path) -> str:
    """Return the text of RESULTS.md."""
    results = read_results(root / RUNS)
    n, tables = Numbers(results), {t.name: t for t in paper_tables(results)}
    speed, pictures = read(root), [p.name for p in (root / RESULTS).glob("*.png")]
    agreements = agreement.read(root / AGREEMENT)

    def paper(*prefixes: str) -> list[str]:
        chosen = (t for name, t in tables.items() if name.startswith(prefixes))
        return [t.markdown() for t in chosen if not t.name.endswith("-picks")]  # `picks` has more

    parts = [
        INTRODUCTION,
        "## What holds", verdicts(n).markdown(), FIGURE,
        "## Clustering", _list(clustering(n)), *paper("table1", "table2", "table3"),
        four_and_nine(n).markdown(), zeros(n).markdown(),
        "## Seeds", _list(seeds(n)), picks(n).markdown(),
        "## Detection", _list(detection(n)), _after_20(n), *paper("table4", "table5"), OLDER,
        *beyond.section(n, agreements, pictures),
        "## Speed", SPEED, *(t.markdown() for t in kernel_tables.speed(speed)),
        AUGMENTED, *(t.markdown() for t in kernel_tables.augmented(speed)),
        *_growth(root),
        "## Kernels", *(t.markdown() for t in kernel_tables.rungs(_operations(root))),
    ]  # fmt: skip
    return "\n\n".join(filter(None, parts)) + "\n"


def _after_20(n: Numbers) -> str:
    """Return what Table IV does not show: shorter trainings, of more partitions."""
    found = (n.by_digit(s, "cosine.auc", epochs=20).mean() for s in ("cae", "cae-l2"))
    return TABLE4.format(*found)


def _growth(root: Path) -> list[str]:
    """Return the section about the number of samples; none where nothing was measured."""
    rows = latest(measured(root / scale.RESULTS))
    return ["## Any number of samples", GROWTH, growth.table(rows).markdown()] if rows else []


def _operations(root: Path) -> Measurements:
    """Return every rung's times, of the processor that was measured last."""
    return with_part(read(root), "operations")[0]


def texts(root: Path) -> dict[Path, str]:
    """Return the page and the two READMEs as they should be."""
    n = Numbers(read_results(root / RUNS))
    ladder = kernel_tables.ladder(_operations(root))
    regions = {README: ("results:glance", glance(n)), KERNELS: ("results:ladder", ladder)}
    return {PAGE: page(root)} | {
        path: rewrite((root / path).read_text(encoding="utf-8"), region, table.markdown())
        for path, (region, table) in regions.items()
    }


def write(root: Path) -> None:
    """Write the page, the READMEs, and the figures that are made of the results."""
    for path, text in texts(root).items():
        with atomic_file(root / path) as file:
            file.write(text.encode())
    with atomic_file(root / LADDER) as file:
        kernel_tables.figure(_operations(root)).savefig(file, dpi=110)
    if rows := latest(measured(root / scale.RESULTS)):
        save(growth.figure(rows), root / scale.FIGURE, dpi=110)
    agreements = agreement.read(root / AGREEMENT)
    for name, figure in beyond.figures(Numbers(read_results(root / RUNS)), agreements).items():
        save(figure, root / RESULTS / name, dpi=110)


def rewrite(text: str, region: str, content: str) -> str:
    """Return `text` with `content` between its markers; ValueError when they are not there once."""
    start, end = f"<!-- {region} -->", f"<!-- /{region} -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"results_page: expected {start} and {end} once each, in this order")
    before, _, rest = text.partition(start)
    return f"{before}{start}\n\n{content}\n\n{end}{rest.partition(end)[2]}"


def _list(items: Sequence[str] | Iterable[str]) -> str:
    return "\n".join(f"* {item}" for item in items)


if __name__ == "__main__":
    write(ROOT)
