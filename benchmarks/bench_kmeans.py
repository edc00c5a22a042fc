"""k-means, ours and the peers': `pytest benchmarks/bench_kmeans.py -n 0 --benchmark-only`."""

import pytest

from l2ae_bench import peers
from l2ae_bench.kmeans import WORKLOADS, comparison
from l2ae_kernels.cpu.threads import MOST

CONTENDERS = ["ours", "sklearn-lloyd", "sklearn-elkan", "faiss"]


@pytest.fixture(scope="module", params=WORKLOADS)
def workload(request):
    """A data set, and its contenders: they were found to agree."""
    with peers.all_use(MOST, "faiss"):
        return request.param, comparison(request.param, MOST).contenders


@pytest.mark.parametrize("contender", CONTENDERS)
def test_kmeans(benchmark, workload, contender):
    name, contenders = workload
    if contender not in contenders:
        pytest.skip("faiss is not installed")
    benchmark.group = name
    with peers.all_use(MOST, "faiss"):
        benchmark.pedantic(contenders[contender], rounds=3, warmup_rounds=1)
