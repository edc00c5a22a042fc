"""Where the time of a training step goes, on this machine: `python benchmarks/run.py profile`.

measure.py   the calls of the compiled step, each timed by itself (cpu/step/profile.py)
show.py      the table and the figure
command.py   the part of run.py
"""

PART = "profile"
