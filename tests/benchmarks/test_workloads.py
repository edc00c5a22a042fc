"""Results are compared before anything is timed; a wrong contender is not timed."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from l2ae_bench import augmented, comparison, kmeans, operations, peak, peers, start, steps
from l2ae_bench.case import ROUNDING
from l2ae_bench.comparison import OURS, Disagreement, compare
from l2ae_bench.kmeans import SampleSet
from l2ae_core.networks import Architecture, build
from l2ae_core.refinement.step import ClusteringLoss
from l2ae_core.training.step import make_step
from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import get_vectors
from l2ae_kernels.operations import IMPLEMENTATIONS, Implementation
from l2ae_kernels.reference import dense

FEW = SampleSet(3000, 10, 5, groups=5, noise=0.6)


@pytest.fixture
def small(monkeypatch):
    """A small network in place of that of the paper."""
    monkeypatch.setattr(steps, "BATCH", 8)
    monkeypatch.setitem(steps.NETWORKS, "step-cae-28",
                        Architecture("cae", (16, 16, 1), filters=(8, 8, 8)))  # fmt: skip


@pytest.fixture
def no_torch(monkeypatch):
    def load(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    monkeypatch.setattr(peers, "load", load)


def test_without_torch_ours_stands_alone(small, no_torch):
    comparison = steps.comparison("step-cae-28")
    assert list(comparison.contenders) == [OURS]
    row = compare("step-cae-28", 1, comparison, 2, seconds=0.001)
    assert (row.peers, row.ratio_best_peer) == ({}, None)
    assert row.ours_ms > 0
    assert "torch is not installed" in peers.missing_peer("step")
    assert "faiss is not installed" in peers.missing_peer("kmeans")
    assert peers.missing_peer("operations") is None


@pytest.mark.slow  # imports a peer, which compiles each network for seconds
@pytest.mark.parametrize("network", [*steps.NETWORKS, *steps.NORMALIZED])
def test_torch_agrees_and_its_steps_too(network, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(steps, "BATCH", 16)
    comparison = steps.comparison(network)
    assert list(comparison.contenders) == [OURS, "torch", "torch-jit"]
    assert 0 < comparison.agreement < steps.tolerance(network)


@pytest.mark.slow  # imports a peer, which takes seconds
def test_a_wrong_gradient_is_not_timed(small, monkeypatch):
    pytest.importorskip("torch")

    def wrong(model, optimizer, reduction):
        step = make_step(model, optimizer, reduction)
        right = step.loss_and_grads

        def wrong_grads(x):
            loss, grads = right(x)
            return loss, grads | {"decoder.3.b": 1.001 * grads["decoder.3.b"]}

        step.loss_and_grads = wrong_grads
        return step

    monkeypatch.setattr(steps, "make_step", wrong)
    monkeypatch.setattr(steps, "GRADIENTS", 1e-4)
    with pytest.raises(Disagreement, match=r"step-cae-28, torch: the gradients of decoder.3.b"):
        steps.comparison("step-cae-28")


def test_gradients_are_compared_array_by_array():
    rng = np.random.default_rng(0)
    right = {"a": rng.random((3, 4)), "b": 1e-6 * rng.random(5)}
    assert steps.compare_gradients("workload", right, right) == 0
    wrong = right | {"b": right["b"] * 1.001}  # 1e-9 in absolute terms
    with pytest.raises(Disagreement, match="workload: the gradients of b differ by 1.0e-03"):
        steps.compare_gradients("workload", wrong, right)
    with pytest.raises(Disagreement, match="workload: the gradient of b is zero"):
        steps.compare_gradients("workload", right, right | {"b": 0 * right["b"]})


def test_images_are_clear_of_every_kink():
    model = build(Architecture("cae", (8, 8, 1)), np.random.default_rng(0))
    x = steps.clear_images(model, np.random.default_rng(1), 40)
    assert x.shape == (40, 8, 8, 1)
    gates = []
    for precision in (np.float32, np.float64):
        network = model.astype(precision)
        _, cache = network.forward(x.astype(precision))
        gates.append(network.gates(cache))
    assert all(np.array_equal(a, b) for a, b in zip(*gates, strict=True))


@pytest.mark.slow
def test_kmeans_agrees_with_scikit_learn(no_torch):
    comparison = kmeans.comparison("kmeans", 1, FEW)
    assert list(comparison.contenders) == [OURS, "sklearn-lloyd", "sklearn-elkan"]
    assert comparison.agreement < kmeans.INERTIA
    assert comparison.contenders[OURS]() == pytest.approx(
        comparison.contenders["sklearn-lloyd"](), rel=1e-4
    )


@pytest.mark.slow  # imports a peer, which takes seconds
def test_kmeans_agrees_with_faiss():
    pytest.importorskip("faiss")
    comparison = kmeans.comparison("kmeans", 1, FEW)
    assert "faiss" in comparison.contenders


def test_another_inertia_is_not_timed(no_torch, monkeypatch):
    right = kmeans._sklearn_inertia
    monkeypatch.setattr(kmeans, "_sklearn_inertia", lambda *a: 1.01 * right(*a))
    with pytest.raises(Disagreement, match="kmeans, sklearn-lloyd: the inertias differ by 1.0e-02"):
        kmeans.comparison("kmeans", 1, FEW)


@pytest.mark.parametrize("workload", kmeans.WORKLOADS)
def test_samples(workload):
    """Data as they are described, and iterations that are not cut short by convergence."""
    p = replace(kmeans.WORKLOADS[workload], n=2000)
    x, centers = p.make()
    assert x.shape == (2000, p.d)
    assert centers.shape == (p.k, p.d)
    assert x.dtype == np.float32
    if p.images:
        assert 0.5 < (x == 0).mean() < 0.9
        assert x.min() == 0
        assert x.max() <= 1
    else:
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)


def test_every_operation_of_the_table_has_a_case():
    assert {case.operation for case in operations.cases()} == set(IMPLEMENTATIONS)
    assert {case.operation for case in operations.cases(quick=True)} == set(IMPLEMENTATIONS)


@pytest.mark.slow
def test_every_rung_of_every_case_is_verified(monkeypatch):
    monkeypatch.setattr(operations, "BATCH", 3)
    monkeypatch.setattr(operations, "SAMPLES", {"70x10-k10": (70, 10, 10)})
    rungs = {case.workload: case.rungs() for case in operations.cases()}
    for case in operations.cases(quick=True):
        assert all(case.verified(rung) < ROUNDING["float32"] for rung in case.rungs())
    assert "restarts-70x10-k10" in rungs
    if get_vectors() is not None:  # winograd has no transforms for 3×3 at stride 2
        assert "winograd" in rungs["correlate-conv2"]
        assert "winograd" not in rungs["correlate-conv3"]


def test_rows_of_an_operation():
    case = next(case for case in operations.cases() if case.workload == "dense-784x500")
    rows = operations.rows(case, 1, 2, 0.001, lambda: None)
    assert [row.workload for row in rows] == [f"dense-784x500-{r}" for r in case.rungs()[1:]]
    for row, rungs in zip(rows, (case.rungs()[:i] for i in range(1, 9)), strict=False):
        assert list(row.peers) == [*rungs, "sgemm"]
        assert row.agreement < ROUNDING["float32"]


@pytest.mark.parametrize("operation", ["dense", "adam_step", "assign"])
def test_a_wrong_rung_is_not_timed(operation, monkeypatch):
    right = IMPLEMENTATIONS[operation]["reference"].function

    def wrong(*arguments, **keywords):
        result = right(*arguments, **keywords)
        written = {"dense": 3, "adam_step": 0}.get(operation)
        (result[1] if written is None else arguments[written])[...] *= 1.01
        return result

    monkeypatch.setitem(
        IMPLEMENTATIONS[operation], "wrong", Implementation("reference.dense:wrong")
    )
    monkeypatch.setattr(dense, "wrong", wrong, raising=False)
    monkeypatch.setattr(operations, "SAMPLES", {"700x10-k10": (700, 10, 10)})
    case = next(case for case in operations.cases() if case.operation == operation)
    with pytest.raises(Disagreement, match=f"{case.workload}-wrong: the rung and the reference"):
        operations.rows(case, 1, 1, 0.0, lambda: None)
    assert case.verified("reference") == 0  # arrays that a rung changes are put back


def test_the_peak_loop_makes_its_steps(monkeypatch):
    vectors = get_vectors()
    if vectors is None:
        pytest.skip("no vectors to emit for")
    monkeypatch.setattr(peak, "STEPS", 2)
    out = np.zeros(peak.CHAINS * vectors.lanes, np.float32)
    peak.fma_loop.__wrapped__(vectors)(out.ctypes.data, 3, 4)
    chains = np.repeat(np.arange(peak.CHAINS), vectors.lanes)
    np.testing.assert_array_equal(out, ((chains + 1) / 2 + 1) / 2)


@pytest.mark.needs_vectors
def test_a_triad_passes_its_lines_and_counts_twelve_bytes_an_element(monkeypatch):
    a, b, c = (np.full(64, value, np.float32) for value in (0.0, 1.0, 2.0))
    peak.triad_loop(get_vectors())(*(x.ctypes.data for x in (a, b, c)), 2, 1, 3)
    np.testing.assert_array_equal(a, np.repeat([0, 7, 7, 0], 16))
    seen = []
    monkeypatch.setattr(
        peak, "in_ranges", lambda loop, lines, *rest: seen.append((lines, rest[-1]))
    )
    for size in (1 << 14, 1 << 26):
        call, work = peak._triad(get_vectors(), size)
        call()
        lines, passes = seen.pop()
        assert size - 200 < 12 * lines * 16 <= size  # of all three arrays
        assert work.bytes == 12 * 16 * lines * passes >= peak.CALL - 200 * passes
        assert work.flop == work.bytes / 6


def test_start_measures_a_process(monkeypatch, tmp_path):
    """The process is a stand-in: a real one compiles for seconds."""
    monkeypatch.setattr(start, "COMMAND", (sys.executable, "-c", (
        "import json, sys, time, os;"
        "assert os.environ['L2AE_CACHE_DIR'] and os.environ['NUMBA_CACHE_DIR'];"
        "print(json.dumps({'step': 0.25, 'import': 0.5, 'done': time.time()}))"
    )))  # fmt: skip
    ticks = []
    rows = {row.workload: row for row in start.rows(1, lambda: ticks.append(1))}
    assert list(rows) == ["start-cold", "start-cold-with-import", "start-warm",
                          "start-warm-with-import"]  # fmt: skip
    assert rows["start-cold"].ours_ms == 250
    assert 0 < rows["start-warm-with-import"].ours_ms < 20_000
    assert len(ticks) == 1 + start.WARM_STARTS
    monkeypatch.setattr(start, "COMMAND", (sys.executable, "-c", "raise SystemExit('no kernel')"))
    with pytest.raises(ValueError, match="start: the process ended with 1: .*no kernel"):
        start.rows(1)


@pytest.fixture
def few_images(monkeypatch):
    """A small batch for a small network."""
    monkeypatch.setattr(steps, "BATCH", 8)
    monkeypatch.setitem(steps.NETWORKS, "step-cae-16",
                        Architecture("cae", (16, 16, 1), filters=(8, 8, 8)))  # fmt: skip


def test_augmented_steps_stand_beside_the_plain_one(few_images, monkeypatch):
    monkeypatch.setattr(comparison, "SECONDS", 0.0)
    ticks = []
    rows = augmented.rows("step-cae-16", 1, 2, lambda: ticks.append(1))
    assert [row.workload for row in rows] == ["step-cae-16-warped", "step-cae-16-self-labelled"]
    assert rows[0].peers == rows[1].peers  # one measurement of the plain step
    assert list(rows[0].peers) == ["plain"]
    for row in rows:
        assert row.ours_ms > 0
        assert row.agreement < steps.GRADIENTS
    assert len(ticks) == 2


def test_augmented_steps_train_on_new_warps_and_their_own_networks(few_images, monkeypatch):
    seen = []
    right = ops.warp

    def warp(x, maps, **how):
        seen.append(maps)
        return right(x, maps, **how)

    contenders, _ = augmented.prepare("step-cae-16")
    monkeypatch.setattr(ops, "warp", warp)
    losses = [contenders["plain"]() for _ in range(3)]
    assert not seen
    assert losses[2] < losses[0]  # Adam moved the weights
    for name in ("warped", "self-labelled"):
        contenders[name]()
    assert len(seen) == 2
    assert not np.array_equal(*seen)
    again, _ = augmented.prepare("step-cae-16")
    assert again["plain"]() == losses[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("kl", "step-cae-16-self-labelled: the losses differ"),
        ("du", "step-cae-16-self-labelled: the gradients of encoder"),
        ("warp", "step-cae-16-warped: the warped images differ"),
    ],
)
def test_a_wrong_augmented_step_is_not_timed(wrong, message, few_images, monkeypatch):
    if wrong == "warp":
        run = ops.warp
        monkeypatch.setattr(
            ops, "warp", lambda x, maps, impl=None: run(x, maps, impl=impl) * (1 + (impl is None))
        )
    else:
        sums, call = ClusteringLoss.sums, ClusteringLoss.__call__
        if wrong == "kl":
            monkeypatch.setattr(
                ClusteringLoss, "sums", lambda self: (1.1 * sums(self)[0], sums(self)[1])
            )
        else:
            monkeypatch.setattr(
                ClusteringLoss, "__call__", lambda self, first, u: 1.1 * call(self, first, u)
            )
    with pytest.raises(Disagreement, match=message):
        augmented.prepare("step-cae-16")
