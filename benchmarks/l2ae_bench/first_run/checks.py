"""Every rung of the table on a device, and whole training steps, beside NumPy's in float64."""

from functools import partial

from l2ae_bench.case import Case
from l2ae_bench.choice import Choice
from l2ae_bench.cuda import rungs, step
from l2ae_bench.cuda.precision import Precision
from l2ae_bench.first_run.findings import Findings
from l2ae_bench.steps import NETWORKS
from l2ae_core.networks import Architecture
from l2ae_kernels.cuda.device import Device

EVERYTHING = Choice()  # at the shapes of the paper's networks
RAGGED = (
    Choice("^dense", shape="5x12", weights=(12, 7)),
    Choice("^correlate", shape="2x9x7x4", weights=(3, 2, 4, 5)),
    Choice("^(assign|update|restarts)-", shape="70x3", clusters=7),
    Choice("^assign-", shape="70x40", clusters=66),
    Choice("norm|bias|leaky|squared|moments", shape="9x33"),
    Choice("^adam", shape="301"),
)
LARGER = (
    Choice("^dense", shape="1x1", weights=(1, 1)),
    Choice("^dense", shape="65x300", weights=(300, 67)),
    Choice("^correlate", shape="3x13x11x1", weights=(5, 5, 1, 32)),
    Choice("^(assign|update|restarts)-", shape="1500x70", clusters=129),
    Choice("^assign-", shape="3000x128", clusters=1024),
    Choice("^assign-", shape="257x16", clusters=7, dtype="float64"),
    Choice("^(dense|correlate)", shape="", rungs=("cuda-naive",), dtype="float64"),
)
SMALL = {
    "dense": Architecture("dense", (3, 4, 1), 3, hidden=(5,)),
    "cae": Architecture("cae", (8, 8, 1), 3, filters=(3, 4), kernels=(5, 3)),
}


def run(device: Device, findings: Findings, tiny: bool) -> None:
    """Append how far each is from float64; what is too far, or raises, is not ok."""
    for choice in RAGGED if tiny else (*RAGGED, EVERYTHING, *LARGER):
        for case in rungs.cases(choice):
            findings.attempt("check", case.workload, partial(
                _case, case, device, choice, findings
            ))  # fmt: skip
    networks = {f"step-{name}": network for name, network in SMALL.items()}
    if not tiny:
        networks = NETWORKS
    for name, network in networks.items():
        for precision in step.PARTS:
            check = partial(_step, f"{name}-{precision}", network, precision, device, tiny)
            findings.attempt("check", f"{name}-{precision}", check)


def _case(case: Case, device: Device, choice: Choice, findings: Findings) -> dict[str, int]:
    """Append how far each rung is from float64, and return how many there are."""
    chosen, expected = rungs.rungs(case, device, choice), rungs.reference(case)
    for rung in chosen:
        findings.attempt("check", rung.workload, partial(rung.verified, expected))
    return {"rungs": len(chosen)}


def cases(tiny: bool) -> list[Case]:
    """Return what is compiled before it is checked."""
    return [case for c in (RAGGED if tiny else (*RAGGED, EVERYTHING)) for case in rungs.cases(c)]


def _step(
    name: str, network: Architecture, precision: Precision, device: Device, tiny: bool
) -> float:
    training = step.Training.of(network, 3 if tiny else 256, precision)
    return step.verified(name, training, device)[1]
