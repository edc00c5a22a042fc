"""`python benchmarks/run.py --device cuda`: a GPU beside the peers that are installed.

    kmeans.py     k-means whole, an iteration of it, and whether equal runs have equal bits
    kmeans_peers.py    the same in PyTorch, JAX, flash-kmeans and flashlib
    network.py    dense, dense → l2 → dense, and Adam, compared with NumPy in float64
    network_peers.py   the same in PyTorch and JAX
    run.py        workloads and measurements

A contender queues its work and waits for its end, so that its time is wall-clock time. Everything
takes a device: tests pass an emulated one, and the peers then run on the CPU.
"""
