"""Whole training steps, ours and PyTorch's: `pytest benchmarks -n 0 --benchmark-only`."""

import pytest

from l2ae_bench import peers
from l2ae_bench.steps import NETWORKS, NORMALIZED, comparison

CONTENDERS = ["ours", "torch", "torch-jit"]


@pytest.fixture(scope="module", params=[*NETWORKS, *NORMALIZED])
def workload(request):
    """A network, and its contenders: they were found to agree."""
    return request.param, comparison(request.param).contenders


@pytest.mark.parametrize("contender", CONTENDERS)
def test_step(benchmark, workload, contender):
    name, contenders = workload
    if contender not in contenders:
        pytest.skip("torch is not installed")
    benchmark.group = name
    with peers.all_use(1, "torch"):
        benchmark(contenders[contender])
