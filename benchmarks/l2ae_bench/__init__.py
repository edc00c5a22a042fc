"""This machine, side by side with the peers that are installed: `python benchmarks/run.py`.

    rounds.py      both sides take turns; a row of the result
    peers.py       which peers are there, and how many threads each may use
    steps.py       whole training steps, beside PyTorch (torch_network.py)
    points.py      k-means, beside scikit-learn and faiss
    operations.py  every rung of the implementations table, beside the machine's peak (peak.py)
    start.py       seconds until the first step of a new process is done (first_step.py)
    cuda           the same on a GPU: `l2ae bench --device cuda`
    machine.py     what was measured on
    goals.py       what the project wants to reach
    text.py        rows as text
    tables.py      the results of a checkout, and the tables of its READMEs (ladder.py: of kernels)
    command.py     the command line

Nothing is timed before its result agrees. torch, faiss, JAX and other peers are imported here
alone, and only when a work that they are peers of is prepared.
"""
