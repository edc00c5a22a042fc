"""The first minutes on a GPU: what `benchmarks/gpu_first.py` does, part by part.

    findings.py     what was found, a line of JSON each, written at once
    facts.py        versions, the card, the bandwidth of a copy, what can be imported
    warm.py         every module compiled, in many processes, to CuPy's cache
    checks.py       every rung and whole training steps, beside float64
    end_to_end.py   k-means, trainings, codes and graphs, beside the CPU
    times.py        each kernel alone: by events, in a graph, and as Python queues it
    summary.py      all of it in a screen, measured times beside the predicted ones

A part takes a device and the findings. In the emulator its sizes are small (`tiny`).
"""
