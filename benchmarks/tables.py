"""Write the tables of the READMEs from benchmarks/results/bench-*.json.

    python benchmarks/run.py --tables    # measures, keeps the results, and does what this does
    python benchmarks/tables.py

The results come from `run.py`; nobody writes a table by hand, and a test makes them again.
"""

from l2ae_bench.machine import ROOT
from l2ae_bench.tables import write_readmes

if __name__ == "__main__":
    write_readmes(ROOT)
