"""Every rung of the implementations table at the shapes of the paper's networks, batch 256.

    conv1  28×28×1  -> 14×14×32, 5×5/2    the deconvolutions are the same maps the other way round:
    conv2  14×14×32 -> 7×7×64,   5×5/2    `correlate_adjoint_x` at conv2 is backward of conv2 and
    conv3  7×7×64   -> 3×3×128,  3×3/2    forward of deconv2

A row is a rung. Its peers are the rungs before it, and for a product "sgemm": NumPy's product of
matrices of the same sizes, all windows unrolled beforehand, which is what a library takes for the
arithmetic alone. Shapes of one's own: `choice.py`.
"""

from collections.abc import Callable

from l2ae_bench.case import SGEMM, Case
from l2ae_bench.comparison import OURS, Measurement, make_row, measure
from l2ae_bench.shapes import Rule, Sizes, build
from l2ae_kernels.ops.checks import AXES

BATCH = 256
CAE_PARAMETERS = 275_979
CONVOLUTIONS: dict[
    str, tuple[tuple[int, ...], tuple[int, ...], Rule]
] = {  # (H, W, C), weights, padding; all of stride 2
    "conv1": ((28, 28, 1), (5, 5, 1, 32), "same"),
    "conv2": ((14, 14, 32), (5, 5, 32, 64), "same"),
    "conv3": ((7, 7, 64), (3, 3, 64, 128), "valid"),
}
DENSE = {"784x500": (784, 500), "500x2000": (500, 2000)}
SAMPLES = {"70000x10-k10": (70_000, 10, 10), "20000x64-k256": (20_000, 64, 256)}
MAP, IMAGE = (14, 14, 32), (28, 28, 1)  # the first hidden map of the network, and its input
QUICK = {"conv2", "500x2000", "70000x10-k10", "14x14x32", "cae", "10", "784", "28x28x1"}


def cases(quick: bool = False) -> list[Case]:
    """Return every operation at its shapes; `quick` leaves out all but one shape of each."""
    return [
        build(operation, name, sizes)
        for operation in (*AXES, "training_step")
        for name, sizes in shapes(operation).items()
        if not quick or name in QUICK
    ]


def shapes(operation: str) -> dict[str, Sizes]:
    """Return the shapes of the paper's networks for an operation, by name."""
    if operation.startswith("correlate"):
        return {name: Sizes((BATCH, *x), W, padding=padding)
                for name, (x, W, padding) in CONVOLUTIONS.items()}  # fmt: skip
    if operation.startswith("dense"):
        return {name: Sizes((BATCH, W[0]), W) for name, W in DENSE.items()}
    if operation in ("assign", "update", "restarts"):
        return {name: Sizes((n, d), k=k) for name, (n, d, k) in SAMPLES.items()}
    if operation.startswith("l2_normalize"):
        return {"10": Sizes((BATCH, 10))}
    if operation.startswith("squared_error"):
        return {"784": Sizes((BATCH, 784))}
    if operation == "adam_step":
        return {"cae": Sizes((CAE_PARAMETERS,))}
    if operation == "training_step":
        return {"cae": Sizes((BATCH, *IMAGE))}
    maps = (IMAGE, MAP) if operation == "warp" else (MAP,)
    return {"x".join(map(str, x)): Sizes((BATCH, *x)) for x in maps}


def rows(
    case: Case,
    threads: int,
    repeats: int,
    seconds: float,
    done: Callable[[], object],
    only: list[str] | None = None,
) -> list[Measurement]:
    """Return a row for each rung but the reference; `done` is called after each repeat.

    `only` names the rungs to time, the reference among them if it is to have a row of its own.
    """
    rungs = [r for r in case.rungs() if only is None or r in only]
    agreement = {rung: case.verified(rung) for rung in rungs}
    times = measure(case.contenders(rungs), repeats, threads, seconds=seconds, done=done)
    library = {name: t for name, t in times.items() if name == SGEMM}
    return [
        make_row(
            f"{case.workload}-{rung}",
            threads,
            {OURS: times[rung], **{r: times[r] for r in rungs[:i]}, **library},
            agreement[rung],
            case.work,
        )
        for i, rung in enumerate(rungs)
        if only is not None or rung != "reference"
    ]
