"""Write the tables of the READMEs from benchmarks/results/bench-*.json.

    l2ae bench --tables          # measures, keeps the results, and does what this script does
    python benchmarks/tables.py

The results come from `l2ae bench`; nobody writes a table by hand, and a test makes them again.
"""

from l2ae_core.bench.machine import ROOT
from l2ae_core.bench.tables import write_readmes

if __name__ == "__main__":
    write_readmes(ROOT)
