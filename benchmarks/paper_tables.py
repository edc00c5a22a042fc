"""Write the paper's tables into README.md, from benchmarks/results/runs (`benchmarks/collect.py`).

python benchmarks/paper_tables.py

The text between the markers is what `l2ae reproduce … --show --markdown --out
benchmarks/results/runs` prints; a test makes it again.
"""

from pathlib import Path

from l2ae_core.files import atomic_file
from l2ae_core.paper import read_results
from l2ae_core.paper.tables import paper_tables
from l2ae_core.text import rewrite

ROOT = Path(__file__).parents[1]
RUNS, README, REGION = ROOT / "benchmarks/results/runs", ROOT / "README.md", "paper:tables"


def readme() -> str:
    """Return README.md as it should be: its own text around the tables."""
    tables = "\n\n".join(table.markdown() for table in paper_tables(read_results(RUNS)))
    return rewrite(README.read_text(encoding="utf-8"), REGION, tables)


if __name__ == "__main__":
    text = readme()
    with atomic_file(README) as file:
        file.write(text.encode())
