"""Every rung of the implementations table, compared with the reference before it is timed.

pytest benchmarks/bench_operations.py -n 0 --benchmark-only
"""

import pytest

from l2ae_bench import peers
from l2ae_bench.operations import cases
from l2ae_kernels.cpu.threads import MOST

CASES = {case.workload: case for case in cases()}
RUNGS = [(workload, rung) for workload, case in CASES.items() for rung in case.rungs()]


@pytest.mark.parametrize("threads", sorted({1, MOST}))
@pytest.mark.parametrize(("workload", "rung"), RUNGS)
def test_operation(benchmark, workload, rung, threads):
    case = CASES[workload]
    with peers.all_use(threads):
        case.verified(rung)
        benchmark.group = f"{workload}, {threads} threads"
        benchmark.extra_info |= {"flop": case.work.flop, "bytes": case.work.bytes}
        benchmark.pedantic(case.run, kwargs={"impl": rung}, rounds=9, warmup_rounds=1)
