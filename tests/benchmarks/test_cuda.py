"""`run.py --device cuda`: the same code at tiny sizes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from l2ae_bench import command, comparison, peers
from l2ae_bench.command import main
from l2ae_bench.comparison import Disagreement, Measurement
from l2ae_bench.cuda import kmeans, kmeans_peers, network, network_peers, run, step
from l2ae_bench.kmeans import SampleSet, lloyd_work
from l2ae_bench.targets import TARGETS, Target, verdict
from l2ae_kernels.cuda import products
from l2ae_kernels.cuda.device import NoDevice

FEW = SampleSet(300, 10, 10, groups=5, noise=0.6)
PIECES = network.pieces(8, 70)


@pytest.fixture(autouse=True)
def few_calls(monkeypatch):
    monkeypatch.setattr(network, "CALLS", 2)
    monkeypatch.setattr(kmeans, "ITERATIONS", 4)
    monkeypatch.setattr(run, "REPEATS", 1)
    monkeypatch.setattr(run, "QUICK", 1)


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)


@pytest.fixture
def fixed_times(monkeypatch):
    """A contender takes as many seconds as it makes updates."""

    def measure(contenders, repeats, threads, *, seconds=None, done=None):
        for contender in contenders.values():
            contender()
        return {name: [1.0 if kmeans.ONCE in name else 4.0] * repeats for name in contenders}

    monkeypatch.setattr(kmeans, "measure", measure)


def test_an_iteration_that_takes_no_time_is_left_out():
    """What is not measurable has no number: neither a peer's, nor ours."""
    whole = {"ours": [2.0, 3.0], "torch": [2.0, 1.0]}
    times = {**whole, "ours, one update": [1.0, 1.0], "torch, one update": [1.0, 1.0]}
    assert kmeans._single(times, whole, 3) == {"ours": [0.5, 1.0]}


def test_an_iteration_of_ours_that_takes_no_time_has_no_row(device, alone, monkeypatch):
    def measure(contenders, repeats, threads, *, seconds=None, done=None):
        return {name: [1.0] * repeats for name in contenders}

    monkeypatch.setattr(kmeans, "measure", measure)
    rows = kmeans.rows("kmeans", device, 2, 0.0, FEW)
    assert [row.workload for row in rows] == ["kmeans-cuda", "kmeans-cuda-bits"]


def test_rows_of_kmeans(device, alone, fixed_times):
    whole, iteration, bits = kmeans.rows("kmeans", device, 2, 0.0, FEW)
    assert [r.workload for r in (whole, iteration, bits)] == [
        "kmeans-cuda", "kmeans-cuda-iteration", "kmeans-cuda-bits"
    ]  # fmt: skip
    assert {r.threads for r in (whole, iteration, bits)} == {device.properties.name}
    assert set(whole.peers) == set(iteration.peers) == {"sklearn-lloyd"}
    assert whole.ours_ms == 4000
    assert iteration.ours_ms == pytest.approx(1000)  # (4 s − 1 s) / 3 more of them
    x, centers = FEW.make()
    assert lloyd_work(x, len(centers), 1).flop == 2 * 300 * 10 * 10  # 300 samples, 10 centers
    assert whole.work.flop >= 3 * lloyd_work(x, len(centers), 1).flop
    assert bits.work is None
    assert 0 <= whole.agreement < 1e-5
    assert bits.agreement == 0


def test_samples_that_do_not_fit_are_streamed(device, alone, fixed_times, monkeypatch):
    monkeypatch.setattr(device, "free_memory", lambda: 1000)
    whole, _, bits = kmeans.rows("kmeans", device, 1, 0.0, FEW)
    assert whole.threads == f"{device.properties.name}, streamed"
    assert bits.agreement == 0


def test_an_iteration_of_many_bytes_stands_beside_a_copy(device, alone, fixed_times, monkeypatch):
    monkeypatch.setattr(kmeans, "BANDWIDTH", 1)
    whole, iteration, _ = kmeans.rows("kmeans", device, 1, 0.0, FEW)
    assert set(iteration.peers) == {"sklearn-lloyd", "copy"}
    assert "copy" not in whole.peers


@pytest.mark.slow  # imports a peer, which takes seconds
@pytest.mark.parametrize("module", ["torch", "jax"])
def test_the_peers_of_kmeans_agree(device, driver, module, monkeypatch):
    pytest.importorskip(module)
    monkeypatch.setattr(peers, "installed", lambda name: name == module)
    rows = kmeans.rows("kmeans", device, 1, 0.0, FEW)
    assert set(rows[0].peers) == {"sklearn-lloyd", module}


def test_other_centers_are_not_timed(device, alone, monkeypatch):
    right = kmeans_peers.sklearn_kmeans

    def wrong(x, centers, iterations, algorithm):
        found = right(x, centers, iterations, algorithm)
        found.cluster_centers_ *= np.float32(0.9)
        return found

    monkeypatch.setattr(kmeans_peers, "sklearn_kmeans", wrong)
    with pytest.raises(Disagreement, match="kmeans, sklearn-lloyd: the inertias differ"):
        kmeans.rows("kmeans", device, 1, 0.0, FEW)


def test_runs_that_differ_are_told(device):
    p = kmeans.prepare(FEW, device)
    a, b = p.run(3), p.run(3)
    assert kmeans.differing(a, b) == 0
    b.centers[0, 0] += 1
    assert kmeans.differing(a, b) > 0


@pytest.mark.parametrize("workload", PIECES)
def test_a_piece_of_the_network(workload, device, alone):
    rows = network.rows(workload, PIECES[workload], device, 1, 0.0)
    assert [row.workload for row in rows] == [f"{workload}-cuda", f"{workload}-cuda-launched"]
    for row in rows:
        assert row.threads == device.properties.name
        assert row.peers == {}
        assert 0 < row.agreement < network.ALLOWED[PIECES[workload].precision]
        assert row.to_dict()["gflop_per_s"] > 0


@pytest.mark.slow  # imports a peer, which takes seconds
@pytest.mark.parametrize("module", ["torch", "jax"])
@pytest.mark.parametrize("workload", PIECES)
def test_the_peers_of_a_piece_agree(workload, module, device, driver, monkeypatch):
    pytest.importorskip(module)
    monkeypatch.setattr(peers, "installed", lambda name: name == module)
    row, launched = network.rows(workload, PIECES[workload], device, 1, 0.0)
    assert set(row.peers) == (set() if (workload, module) == ("adam", "jax") else {module})
    assert launched.peers == {}
    assert 0 < row.agreement < network.ALLOWED[PIECES[workload].precision]
    assert row.to_dict()["gflop_per_s"] > 0


def test_a_wrong_gradient_is_not_timed(device, alone, monkeypatch):
    right = products.dense_adjoint_W

    def wrong(x, dy, out, impl):
        right(x, dy, out, impl=impl)
        out *= 1.001

    monkeypatch.setattr(products, "dense_adjoint_W", wrong)
    with pytest.raises(Disagreement, match=r"dense-7x5, ours, launched: dW differ by 1\.0e-03"):
        network.rows("dense-7x5", PIECES["dense-7x5"], device, 1, 0.0)


@pytest.mark.slow  # imports a peer, which takes seconds
def test_a_wrong_peer_is_not_timed(device, driver, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(peers, "installed", lambda name: name == "torch")
    monkeypatch.setitem(network_peers.FORWARD, "dense", lambda x, W, b: 1.01 * (x @ W + b))
    with pytest.raises(Disagreement, match="dense-7x5, torch: y differ"):
        network.rows("dense-7x5", PIECES["dense-7x5"], device, 1, 0.0)


def test_the_workloads_are_those_of_the_targets():
    on_gpu = [workload for workload in TARGETS if "-cuda" in workload]
    assert {workload.split("-cuda")[0] for workload in on_gpu} == {
        *kmeans.WORKLOADS, "step-cae-28", "step-cae-28-tf32", "table4", "table4-tf32"
    }  # fmt: skip
    assert {"step-cae-28", "step-cae-28-tf32"} < set(step.workloads())
    assert list(network.pieces()) == [
        "dense-784x500", "dense-500x2000", "dense-784x500-tf32", "dense-500x2000-tf32",
        "bottleneck", "adam",
    ]  # fmt: skip
    for p in kmeans.WORKLOADS.values():
        x, centers = replace(p, n=2000).make()
        assert (x.shape, centers.shape) == ((2000, p.d), (p.k, p.d))


def test_verdicts():
    row = Measurement(
        "kmeans-70000x10-k10-cuda", "a GPU", 1.0, {"torch": 5.0, "flash-kmeans": 30.0}, 5.0
    )
    assert verdict(row) == "met"
    assert verdict(replace(row, ours_ms=2.0)) == "missed"
    assert verdict(replace(row, peers={"torch": 5.0})) == ""
    bits = Measurement("kmeans-70000x10-k10-cuda-bits", "a GPU", 1.0, {}, agreement=0.0)
    assert verdict(bits) == "met"
    assert verdict(replace(bits, agreement=1e-6)) == "missed"
    iteration = Measurement("kmeans-70000x10-k10-cuda-iteration", "a GPU", 0.004, {})
    assert verdict(iteration) == "met"
    assert verdict(replace(iteration, ours_ms=0.006)) == "missed"
    assert str(Target(seconds=5e-6)) == "≤ 5 µs"
    assert str(Target(ratio=0.8, peer="copy")) == "≥ 0.8× copy"
    assert str(Target(agreement=0)) == "equal bits"


# --- the command


def test_rows_are_printed_and_written(device, alone, fixed_times, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "choose_device", lambda name: (device, ""))
    monkeypatch.setattr(comparison, "SECONDS", 0.0)
    monkeypatch.setattr(kmeans, "WORKLOADS", {"kmeans-few": FEW})
    monkeypatch.setattr(network, "pieces", lambda: PIECES)
    path = tmp_path / "rows.json"
    parts = ["kmeans", "operations", "--device", "cuda", "--quick", "--quiet"]
    assert main([*parts, "--json", str(path)]) == 0
    rows = [Measurement.from_dict(values) for values in json.loads(path.read_text())["rows"]]
    assert [row.workload for row in rows] == [
        "kmeans-few-cuda", "kmeans-few-cuda-iteration", "kmeans-few-cuda-bits",
        *(f"{workload}-cuda{suffix}" for workload in PIECES for suffix in ("", "-launched")),
    ]  # fmt: skip
    shown = capsys.readouterr()
    assert all(row.workload in shown.out for row in rows)
    assert "not installed: torch, jax, flash-kmeans, flashlib" in shown.err


def test_rows_are_kept_as_they_come(device, alone, monkeypatch, tmp_path, capsys):
    right, path = network.rows, tmp_path / "rows.json"

    def ends(workload, *arguments, **named):
        if workload == "bottleneck":
            raise KeyboardInterrupt
        return right(workload, *arguments, **named)

    monkeypatch.setattr(command, "choose_device", lambda name: (device, ""))
    monkeypatch.setattr(comparison, "SECONDS", 0.0)
    monkeypatch.setattr(network, "pieces", lambda: PIECES)
    monkeypatch.setattr(network, "rows", ends)
    assert main(["operations", "--device", "cuda", "--json", str(path)]) == 130
    kept = [row["workload"] for row in json.loads(path.read_text())["rows"]]
    assert kept == [
        f"{workload}-cuda{suffix}"
        for workload in ("dense-7x5", "dense-7x5-tf32")
        for suffix in ("", "-launched")
    ]
    said = capsys.readouterr().err
    assert all(said.count(f"{workload}  ") == 1 for workload in kept)
    assert "tf32: ours one product; torch 'high'; jax 'tensorfloat32'" in said


def test_samples_that_are_too_large_are_left_out(device, alone, fixed_times, monkeypatch, capsys):
    huge = replace(FEW, n=10**12)
    monkeypatch.setattr(kmeans, "WORKLOADS", {"kmeans-huge": huge, "kmeans-few": FEW})
    rows = list(run.rows("kmeans", device, progress=False))
    assert {row.workload.split("-cuda")[0] for row in rows} == {"kmeans-few"}
    assert "kmeans-huge is left out" in capsys.readouterr().err


def test_without_a_device_there_is_one_line(monkeypatch, capsys):
    from l2ae_core import devices

    def find_device():
        raise NoDevice("no CUDA device: the driver is too old")

    monkeypatch.setattr(devices, "find_device", find_device)
    assert main(["--device", "cuda"]) == 1
    shown = capsys.readouterr()
    assert "no CUDA device: the driver is too old" in shown.err
    assert (len(shown.err.splitlines()), shown.out) == (1, "")
