"""One training step in a process of its own, which `start.py` starts: `first_step.py THREADS`.

Prints one line of JSON: the clock when the step was done, and the seconds that the imports and the
step took.
"""

import json
import sys
import time


def main(threads: int) -> None:
    """Build the 28×28 network, make one step on 256 images, print the clock."""
    start = time.perf_counter()
    import numpy as np

    from l2ae_core.networks import Architecture, build
    from l2ae_core.training.optim import Adam
    from l2ae_core.training.step import make_step
    from l2ae_kernels.cpu.threads import use_threads

    imported = time.perf_counter()
    use_threads(threads)
    rng = np.random.default_rng(0)
    model = build(Architecture("cae", (28, 28, 1)), rng)
    x = rng.random((256, *model.input_shape), dtype=np.float32)
    make_step(model, Adam(), "mean")(x)
    now = time.perf_counter()
    print(json.dumps({"step": now - imported, "import": imported - start, "done": time.time()}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
