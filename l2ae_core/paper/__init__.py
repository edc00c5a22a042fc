"""The paper's tables and figures as commands: `l2ae reproduce table1 … table5, figure1`.

systems.py      every row and column of the tables: what is trained, and how it is read
run.py          one run: what fixes it, its name (a hash of that), the folder of results
result.py       what a run found, typed; a file a run, or a line a run
protocols.py    clustering all images (Tables I–III), finding one digit (IV, V)
methods/        what the systems do for the two protocols
schedule.py     runs what is missing, side by side, and goes on after a kill
published.py    the tables as the paper prints them, and the runs behind them
index.py        results by what a table asks for
statistics.py   mean, spread, paired differences, correlation
tables/         the paper's numbers beside ours
figure1.py      maps of the codes, by tsne.py
"""

from l2ae_core.paper.result import Result, read_results
from l2ae_core.paper.run import Run
from l2ae_core.paper.systems import SYSTEMS, System

__all__ = ["SYSTEMS", "Result", "Run", "System", "read_results"]
