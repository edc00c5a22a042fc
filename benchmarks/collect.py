"""Collect finished runs into benchmarks/results: one line a run, one file a task, data and system.

    l2ae reproduce table1 table2 table3 table4 table5 --jobs 2 --out RESULTS    # hours
    python benchmarks/collect.py RESULTS
    python benchmarks/results_page.py

A run that is there already, by its name, is replaced. `--into` a file keeps runs out of the tables,
as those of a table that is not whole yet.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from l2ae_core.paper import Result, read_results
from l2ae_core.paper.result import write_results

RUNS = Path(__file__).parent / "results" / "runs"


def collect(source: Path, into: Path) -> list[Path]:
    """Add the results of `source` to those of `into`, a folder or a .jsonl file."""
    new = read_results(source)
    if not new:
        raise ValueError(f"collect: {source} has no result")
    results = {r.id: r for r in [*(read_results(into) if into.exists() else []), *new]}
    files: dict[Path, list[Result]] = defaultdict(list)
    for r in results.values():
        name = f"{r.run.task}-{r.run.data}-{r.run.system}.jsonl"
        files[into if into.suffix == ".jsonl" else into / name].append(r)
    for path, some in files.items():
        write_results(path, some)
    return sorted(files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="a folder of `l2ae reproduce`")
    parser.add_argument("--into", type=Path, default=RUNS, help="a folder, or one .jsonl file")
    arguments = parser.parse_args()
    try:
        for path in collect(arguments.results, arguments.into):
            print(path)
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")
