"""`benchmarks/gpu_first.py`: every part in the emulator, and what is kept of one that fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gpu_first
from l2ae_bench.cuda import run, rungs
from l2ae_bench.first_run import checks, clock, end_to_end, times, warm
from l2ae_bench.first_run.findings import Findings
from l2ae_bench.first_run.summary import PREDICTED, summary
from l2ae_bench.options import make_parser
from l2ae_kernels.cuda import products
from l2ae_kernels.cuda.device import NoDevice
from l2ae_kernels.cuda.emulated import emulate

FEW = checks.RAGGED[:1]  # products


@pytest.fixture
def findings(tmp_path):
    return Findings(tmp_path / "found.jsonl")


@pytest.fixture
def few(monkeypatch, cxx):
    """One choice of operations, and the smaller network."""
    monkeypatch.setattr(checks, "RAGGED", FEW)
    monkeypatch.setattr(checks, "SMALL", {"dense": checks.SMALL["dense"]})
    monkeypatch.setattr(times.step, "MODELS", 2)


def by_name(findings, part):
    return {row["name"]: row for row in findings.read() if row["part"] == part}


def test_findings_are_kept_one_by_one(findings):
    findings.add("facts", "python", [3, 11])
    with pytest.raises(KeyboardInterrupt):
        findings.attempt("check", "stopped", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    findings.attempt("check", "broken", lambda: 1 / 0)
    findings.attempt("check", "unequal", lambda: {"equal bits": False, "iterations": 0})
    findings.attempt("check", "fine", lambda: {"equal bits": True, "iterations": 0})
    with findings.path.open("a") as file:
        file.write('{"part": "check", "na')  # cut off at a limit
    assert [(row["name"], row["ok"]) for row in findings.read()] == [
        ("python", True), ("broken", False), ("unequal", False), ("fine", True)
    ]  # fmt: skip
    broken = by_name(findings, "check")["broken"]
    assert broken["found"] == "ZeroDivisionError: division by zero"
    assert "lambda: 1 / 0" in broken["where"]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "part", ["facts", "check", pytest.param("time", marks=pytest.mark.slow), "warm"]
)
def test_a_part_runs_in_the_emulator(part, tmp_path, capsys):
    assert gpu_first.main([part, "--emulate", "--out", str(tmp_path)]) == 0
    rows = Findings(tmp_path / "found.jsonl").read()
    assert rows
    assert {row["part"] for row in rows} == {part}
    assert f"{part}: {len(rows)} of {len(rows)} ok" in capsys.readouterr().out


def test_without_a_device_there_is_a_finding_and_a_line(tmp_path, monkeypatch, capsys):
    def find_device():
        raise NoDevice("no CUDA device: the driver is too old")

    monkeypatch.setattr(gpu_first, "find_device", find_device)
    assert gpu_first.main(["check", "--out", str(tmp_path)]) == gpu_first.NO_DEVICE
    assert capsys.readouterr().err == "gpu_first.py: no CUDA device: the driver is too old\n"
    (row,) = Findings(tmp_path / "found.jsonl").read()
    assert (row["ok"], row["found"]) == (False, "no CUDA device: the driver is too old")


@pytest.mark.slow
@pytest.mark.usefixtures("cxx")
@pytest.mark.parametrize("part", gpu_first.PARTS)
def test_a_whole_part_runs_in_the_emulator(part, tmp_path):
    assert gpu_first.main([part, "--emulate", "--out", str(tmp_path)]) == 0


@pytest.mark.usefixtures("few")
def test_a_wrong_rung_is_found_and_the_others_are_checked(findings, monkeypatch):
    right = products.dense_adjoint_x

    def wrong(dy, W, out, **named):
        right(dy, W, out, **named)
        if named["impl"] == "tiled":
            out *= 1.01

    def nothing(*arguments, **named):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(products, "dense_adjoint_x", wrong)
    monkeypatch.setattr(products, "dense_adjoint_W", nothing)
    monkeypatch.setattr(products, "dense_adjoint_W_parts", nothing)  # of a step
    for operation in ("dense_adjoint_x", "dense_adjoint_W"):
        for rung in rungs.IMPLEMENTATIONS[operation].values():
            monkeypatch.delitem(vars(rung), "found", raising=False)  # imported before
    checks.run(emulate("shuffled", 1), findings, tiny=True)
    bad = {name: row["found"] for name, row in by_name(findings, "check").items() if not row["ok"]}
    names = {name.removeprefix("dense_adjoint_") for name in bad}
    assert names == {
        "x-5x12-w12x7-cuda-tiled",
        *(f"W-5x12-w12x7-cuda-{rung}" for rung in ("naive", "tiled", "tensor", "tf32")),
        *(f"step-dense-{precision}" for precision in times.step.PARTS),  # which have that product
    }
    assert "differ by" in bad["dense_adjoint_x-5x12-w12x7-cuda-tiled"]
    assert "no such kernel" in bad["dense_adjoint_W-5x12-w12x7-cuda-naive"]
    for rung in (*rungs.IMPLEMENTATIONS["dense_adjoint_x"].values(),
                 *rungs.IMPLEMENTATIONS["dense_adjoint_W"].values()):  # fmt: skip
        vars(rung).pop("found", None)


def test_runs_that_differ_in_bits_are_told(device, monkeypatch):
    """And labels that are not the CPU's."""
    right, runs = end_to_end.kmeans, []

    def other(x, **named):
        found = right(x, **named)
        runs.append(found)
        if len(runs) == 3:
            found.labels[0] += 1
        return found

    monkeypatch.setattr(end_to_end, "kmeans", other)
    samples = end_to_end.unit_rows(60)
    found = end_to_end.clusters(samples, device.to_device(samples))
    assert (found["labels as the CPU's"], found["equal bits"]) == (1, False)


def test_a_captured_product_leaves_other_arrays_alone(device):
    found = end_to_end.captured(device)
    assert found == {"result equal": True, "other arrays untouched": True}


def test_times_of_a_graph_are_of_one_call(device, monkeypatch):
    calls = []
    monkeypatch.setattr(clock.Clock, "_once", lambda self, call: 8.0)
    x = device.zeros(3, "float32")
    call = lambda: calls.append(device.full(x.shape, 1, "float32"))  # noqa: E731
    assert clock.Clock(device).in_graph(call, 4, 2) == 2.0
    assert len(calls) == 5


def test_a_summary_has_failures_and_times_beside_predictions():
    name = "step-cae-28, tf32, 1 model"
    least, most = PREDICTED[name]
    rows = [
        {"part": "check", "name": "dense", "ok": False, "found": "Disagreement: differ by 1"},
        {"part": "time", "name": name, "ok": True, "found": {"us": 2 * most, "Table IV, s": 3.0}},
        {"part": "time", "name": "new", "ok": True, "found": {"us": 5.0}},
        {"part": "end to end", "name": "codes", "ok": True, "found": {"codes": 1.23456e-7}},
    ]
    text = summary(rows)
    assert "check: 0 of 1 ok\n  FAILED dense: Disagreement: differ by 1" in text
    assert "  codes: codes 1.235e-07" in text
    (line,) = (line for line in text.splitlines() if line.startswith(name))
    assert line.split("  ")[0] == name
    assert f"{least:g}–{most:g}" in line
    assert "2.00" in line
    assert "Table IV, s 3" in line
    json.dumps(PREDICTED)


def test_every_prediction_has_a_time():
    """Names of times are made from the tables of workloads: none of them may be misspelt."""
    timed = {
        f"{case.operation}-{case.shape}-{rung}"
        for case in rungs.cases(times.Choice())
        for rung in rungs.IMPLEMENTATIONS[case.operation]
    }
    timed |= {
        f"{name}, {precision}, {models}"
        for name in times.NETWORKS
        for precision in times.step.PARTS
        for models in ("1 model", "8 models")
    }
    timed |= {f"{what} {s.name}" for what in ("assign", "pass", "resident") for s in times.SAMPLES}
    assert set(PREDICTED) <= timed


def test_a_process_compiles_what_it_is_given(monkeypatch, few):
    assert warm.rungs_of(0, tiny=True, emulated=True) >= 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the script is bash's, with GNU's timeout")
def test_the_script_ends_where_there_is_no_device(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('planted')\n")
    script = Path(gpu_first.__file__).with_suffix(".sh")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    (tmp_path / "python3").symlink_to(sys.executable)
    where = {"OUT": str(tmp_path / "out"), "PYTHONPATH": paths,
             "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    done = subprocess.run(
        ["bash", str(script)], env=os.environ | where, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == gpu_first.NO_DEVICE
    assert done.stdout.count("gpu_first.py ") == 1
    assert "no device" in done.stdout
    assert "planted" in done.stderr


STUBS = {  # programs of a machine with a GPU, as far as the script calls them: they say how
    "timeout": 'echo "$3 ${*:4}" >> "$CALLS"\nshift 3\nexec "$@"',
    "compute-sanitizer": 'exec "${@: -5}"',  # python3 gpu_first.py works --out FOLDER
    "ncu": 'exec "${@: -5}"',
    "python3": 'echo "python3 $*" >> "$CALLS.python"',
}
VALUES = {  # options, with a value each, of what is run over `works`
    "compute-sanitizer": {"--tool", "--error-exitcode", "--print-limit"},
    "ncu": {"--clock-control", "--set", "-c", "-k"},
}
WORKS = ["python3", "benchmarks/gpu_first.py", "works", "--out"]


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """What the script runs where there is everything: (limit, words) each, and of Python alone."""
    folder = tmp_path_factory.mktemp("stubs")
    for name, text in STUBS.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    where = {"OUT": str(folder / "out"), "CALLS": str(folder / "calls"),
             "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    script = str(Path(gpu_first.__file__).with_suffix(".sh"))
    done = subprocess.run(
        ["bash", script], env=os.environ | where, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "exit status" not in done.stdout
    lines = (folder / "calls").read_text().splitlines()
    of_python = (folder / "calls.python").read_text().splitlines()
    return [(int(line.split()[0]), line.split()[1:]) for line in lines], [
        c.split() for c in of_python
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="the script is bash's, with GNU's timeout")
def test_all_limits_of_the_script_fit_its_time(calls):
    """The four sanitizers run side by side."""
    timed, _ = calls
    beside = [limit for limit, words in timed if words[0] == "compute-sanitizer"]
    assert len(beside) == 4
    alone = [limit for limit, words in timed if words[0] != "compute-sanitizer"]
    assert len(alone) >= 10
    assert sum(alone) + max(beside) < 480


@pytest.mark.skipif(sys.platform != "linux", reason="the script is bash's, with GNU's timeout")
def test_the_script_calls_programs_by_what_they_take(calls):
    timed, of_python = calls
    for _, words in timed:
        known = VALUES.get(words[0])
        if known is None:
            assert words[0] == "python3"
            continue
        program = words.index("python3")
        options = words[1:program]
        assert set(options[::2]) <= known
        assert len(options) % 2 == 0
        assert words[program : program + 4] == WORKS
    parts = [w[2] for w in of_python if w[1].endswith("gpu_first.py")]
    assert set(parts) == {*gpu_first.PARTS, "summary"}
    (bench,) = (w[2:] for w in of_python if w[1] == "benchmarks/run.py")
    asked = make_parser().parse_args(bench)
    assert asked.device == "cuda"
    assert set(asked.parts) <= set(run.PARTS)
    (tests,) = (w[2:] for w in of_python if w[1] == "-m")
    assert tests[0] == "pytest"
