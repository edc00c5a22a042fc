"""This machine beside the peers that are installed: `python benchmarks/run.py`.

    comparison.py  contenders timed alternately; a measurement
    peers.py       which peers are installed, and how many threads each may use
    steps.py       whole training steps, beside PyTorch (torch_network.py)
    augmented.py   steps with warped images and self-labelling, beside the plain step
    kmeans.py      k-means, beside scikit-learn and faiss
    operations.py  every rung of the implementations table; case.py: one operation at a shape,
                   compared and timed; shapes.py: its arrays and its work; choice.py: which of them
    work.py        what a call has to do, and its GFLOP/s and GB/s; rates.py: their shares of the
                   machine's ceilings (peak.py)
    changes.py     rows beside those of an earlier run; roofline.py: a figure of all rungs
    start.py       seconds until the first step of a new process is done (../first_step.py)
    profile        where the time of a training step goes
    scale          time and memory by the number of samples, each cell in a process of its own
    cuda           the same on a GPU: `run.py --device cuda`
    machine.py     what was measured on
    targets.py     what the project wants to reach
    text.py        measurements as text
    results.py     the committed measurements; kernel_tables.py: tables and a figure of them,
                   for ../results_page.py
    cpu.py         the parts that run.py times; command.py, options.py: the command line

Nothing is timed before its result agrees. torch, faiss, JAX and other peers are imported here
alone, and only for a workload that they are peers of.
"""
