"""The first minutes on a GPU, a part at a time; `gpu_first.sh` calls them all, each with a limit.

    python3 benchmarks/gpu_first.py PART [--out FOLDER] [--tiny | --emulate]

facts       versions, the card, the bandwidth of a copy, what can be imported
warm        compile every module, in many processes
works       every kernel once, on small arrays: what a sanitizer or a profiler is run over
check       every rung, and whole training steps, beside float64
end-to-end  k-means, trainings, codes and graphs, beside the CPU
time        each kernel alone
summary     what all of them found, measured times beside the predicted ones

Findings are appended to FOLDER/found.jsonl one by one. --emulate runs a part in the emulator, on
small arrays. Paths: PYTHONPATH=$PWD:$PWD/kernels:$PWD/benchmarks.
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from l2ae_bench.first_run import checks, end_to_end, facts, times, warm
from l2ae_bench.first_run.findings import Findings
from l2ae_bench.first_run.summary import summary
from l2ae_kernels.cuda.device import Device, NoDevice, find_device
from l2ae_kernels.cuda.emulated import emulate

Part = Callable[[Device, Findings, bool], None]
ROOT = Path(__file__).parents[1]
NO_DEVICE = 3  # the exit status by which gpu_first.sh knows that no other part can run


def works(device: Device, findings: Findings, tiny: bool) -> None:
    """Append whether each of the build checks' workloads runs to its end."""
    path = ROOT / "tests/l2ae_kernels/cuda/workloads.py"
    spec = importlib.util.spec_from_file_location("workloads", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    for i, workload in enumerate(module.WORKLOADS):
        name = f"{i} {getattr(workload, '__name__', '')}"
        findings.attempt("works", name, partial(_to_its_end, workload, device))


def _to_its_end(workload: Callable[[Device], None], device: Device) -> None:
    workload(device)
    device.synchronize()


PARTS: dict[str, Part] = {
    "facts": facts.run,
    "warm": warm.run,
    "works": works,
    "check": checks.run,
    "end-to-end": end_to_end.run,
    "time": times.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one part; 0, 1 where it has a finding that is not ok, NO_DEVICE where there is none."""
    words = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=words)
    parser.add_argument("part", choices=[*PARTS, "summary"])
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu_first")))
    parser.add_argument("--tiny", action="store_true", help="on small arrays")
    parser.add_argument("--emulate", action="store_true", help="in the emulator, on small arrays")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    findings = Findings(arguments.out / "found.jsonl")
    before = len(findings.read())
    if arguments.part == "summary":
        print(summary(findings.read()))
        return 0
    if arguments.part == "end-to-end" and not arguments.emulate:  # a product would fail without it
        sys.modules["cupy_backends.cuda.libs.cublas"] = None  # type: ignore[assignment]
    try:
        device = emulate("shuffled", seed=1) if arguments.emulate else find_device()
    except NoDevice as error:
        findings.add(arguments.part.replace("-", " "), "device", str(error), ok=False)
        print(f"gpu_first.py: {error}", file=sys.stderr)
        return NO_DEVICE
    if os.environ.get("NO_POOL") == "1" and not device.emulated:  # for sanitizers
        device.array_module.cuda.set_allocator(None)
    PARTS[arguments.part](device, findings, arguments.tiny or arguments.emulate)
    found = findings.read()[before:]
    bad = [row for row in found if not row["ok"]]
    print(f"{arguments.part}: {len(found) - len(bad)} of {len(found)} ok")
    for row in bad:
        print(f"  {row['name']}: {row['found']}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
