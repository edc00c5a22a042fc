"""The paper's tables and figures as commands: `l2ae reproduce table1 … table5, figure1`.

systems.py      every row and column of the tables: what is trained, and how it is read
run.py          one run: what fixes it, its name (a hash of that), its result file
clustering.py   the protocol of Tables I–III: all images, Hungarian accuracy
detection.py    the protocol of Tables IV and V: one digit as anomaly, AUC and AUPRC
methods/        what the systems do for the two protocols
schedule.py     runs what is missing, side by side, and goes on after a kill
paper.py        the tables as the paper prints them
statistics.py   mean, spread, paired differences, correlation
finder.py       results by what a table asks for
tables/         the paper's numbers beside ours
wanted.py       which runs a table asks for, and which are missing, in words
figure1.py      maps of the codes, by tsne.py
"""

from l2ae_core.paper.run import Result, Run, read_results
from l2ae_core.paper.schedule import run_missing
from l2ae_core.paper.systems import SYSTEMS, System

__all__ = ["SYSTEMS", "Result", "Run", "System", "read_results", "run_missing"]
