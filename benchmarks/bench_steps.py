"""Whole training steps, ours and PyTorch's: `pytest benchmarks/bench_steps.py --benchmark-only`."""

import pytest

from l2ae_bench import peers
from l2ae_bench.steps import NETWORKS, NORMALIZED, contest

SIDES = ["ours", "torch", "torch-jit"]


@pytest.fixture(scope="module", params=[*NETWORKS, *NORMALIZED])
def work(request):
    """A network, and its sides: they were found to agree."""
    return request.param, contest(request.param).sides


@pytest.mark.parametrize("side", SIDES)
def test_step(benchmark, work, side):
    name, sides = work
    if side not in sides:
        pytest.skip("torch is not installed")
    benchmark.group = name
    with peers.all_use(1, "torch"):
        benchmark(sides[side])
