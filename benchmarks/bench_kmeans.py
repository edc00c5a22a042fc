"""k-means, ours and the peers': `pytest benchmarks/bench_kmeans.py --benchmark-only`."""

import pytest

from l2ae_bench import peers
from l2ae_bench.kmeans import POINTS, contest
from l2ae_kernels.cpu.threads import MOST

SIDES = ["ours", "sklearn-lloyd", "sklearn-elkan", "faiss"]


@pytest.fixture(scope="module", params=POINTS)
def work(request):
    """A data set, and its sides: they were found to agree."""
    with peers.all_use(MOST, "faiss"):
        return request.param, contest(request.param, MOST).sides


@pytest.mark.parametrize("side", SIDES)
def test_kmeans(benchmark, work, side):
    name, sides = work
    if side not in sides:
        pytest.skip("faiss is not installed")
    benchmark.group = name
    with peers.all_use(MOST, "faiss"):
        benchmark.pedantic(sides[side], rounds=3, warmup_rounds=1)
