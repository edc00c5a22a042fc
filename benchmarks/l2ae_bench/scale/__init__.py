"""How time and memory grow with the number of samples: `python benchmarks/run.py scale`.

    cells.py       what is measured: work, size, contender
    files.py       the samples and images, written once a size, a piece at a time
    contenders.py  one function a contender
    command.py     the part of run.py
    child.py       a process of its own for each cell, which reports seconds and peak memory
    memory.py      the peak of what a process, and those that it starts, have for themselves
    measure.py     all cells, one after the other; goes on after a kill
    growth.py      slopes, the table and the figure

A cell is a process, since memory that one contender has had is not given back before the next. So
contenders are not interleaved as in the other parts: measure on a machine that does nothing else.
"""

PART = "scale"
RESULTS = "benchmarks/results/scale.jsonl"  # below the root of a checkout
FIGURE = "benchmarks/results/scale.png"
