"""`run.py rungs --device cuda`: every rung of a device, compared before it is timed."""

from types import SimpleNamespace

import numpy as np
import pytest

from l2ae_bench import command, comparison
from l2ae_bench.choice import Choice
from l2ae_bench.command import main
from l2ae_bench.comparison import Disagreement
from l2ae_bench.cuda import run, rungs
from l2ae_kernels.cuda import products
from l2ae_kernels.operations import IMPLEMENTATIONS

DENSE = Choice("^dense-", shape="5x12", weights=(12, 7))


@pytest.fixture(autouse=True)
def few_calls(monkeypatch):
    monkeypatch.setattr(rungs, "CALLS", 2)
    monkeypatch.setattr(run, "REPEATS", 1)
    monkeypatch.setattr(run, "RUNG_SECONDS", 0.0)


def test_a_row_has_the_rungs_before_it_and_the_library(device):
    rows = list(run.rows("rungs", device, DENSE, progress=False))
    names = [f"cuda-{name}" for name in ("naive", "tiled", "tensor", "tf32")]
    assert [row.workload for row in rows] == [f"dense-5x12-w12x7-{name}-cuda" for name in names]
    for i, row in enumerate(rows):
        assert set(row.peers) == {*names[:i], *(["cublas"] if rungs.has_library(device) else [])}
        assert row.ours_ms > 0
    *precise, reduced = rows
    assert all(row.agreement < 1e-6 for row in precise)
    assert 1e-6 < reduced.agreement < 8 * 2.0**-10


def test_a_device_without_the_library_has_no_ceiling(device, monkeypatch, capsys):
    def absent(a, b):
        raise ImportError("libcublasLt.so.13")

    bare = SimpleNamespace(array_module=SimpleNamespace(ones=np.ones, matmul=absent))
    assert not rungs.has_library(bare)
    monkeypatch.setattr(rungs, "has_library", lambda _: False)
    rows = list(run.rows("rungs", device, DENSE, progress=False))
    assert "cublas" not in {name for row in rows for name in row.peers}
    assert "cuBLAS cannot be loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    "operation",
    ["bias_adjoint", "leaky_relu", "squared_error", "squared_error_adjoint", "adam_step", "moments",
     "batch_norm_adjoint", "layer_norm_adjoint", "l2_normalize_adjoint", "update", "assign",
     "restarts"],
)  # fmt: skip
def test_an_operation_runs_on_arrays_of_the_device(operation, device):
    shape = "300" if operation == "adam_step" else "30x4"
    choice = Choice(f"^{operation}-", shape=shape, clusters=3)
    (case,) = rungs.cases(choice)
    rows = list(rungs.rows(case, device, choice, 1, 0.0))
    assert rows
    assert all(row.workload.startswith(f"{operation}-{shape}") for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["correlate", "correlate_adjoint_x", "correlate_adjoint_W"])
def test_a_correlation_runs_on_every_rung(operation, device):
    choice = Choice(f"^{operation}-", shape="2x8x8x4", weights=(3, 3, 4, 5))
    (case,) = rungs.cases(choice)
    found, expected = rungs.rungs(case, device, choice), rungs.reference(case)
    assert [r.name for r in found] == ["cuda-naive", "cuda-tensor", "cuda-tf32"]
    *precise, reduced = (r.verified(expected) for r in found)
    assert max(precise) < 1e-6 < reduced


def test_every_operation_of_a_device_is_timed():
    on_device = {
        operation
        for operation, table in IMPLEMENTATIONS.items()
        if any(rung.on == "cuda" for rung in table.values())
    }
    timed = {case.operation for case in rungs.cases(Choice())}
    assert timed == on_device - {"training_step"}


def test_rungs_are_chosen_by_name(device):
    choice = Choice("^dense", rungs=("cuda-tiled",), shape="5x12")
    cases = rungs.cases(choice)
    assert [case.operation for case in cases] == ["dense", "dense_adjoint_x", "dense_adjoint_W"]
    assert [r.name for r in rungs.rungs(cases[0], device, choice)] == ["cuda-tiled"]
    assert rungs.cases(Choice("^dense", rungs=("blocked",))) == []


def test_a_wrong_rung_is_not_timed(device, monkeypatch):
    right = products.dense

    def wrong(*arguments, **named):
        right(*arguments, **named)
        arguments[3][...] *= 1.001

    monkeypatch.setattr(products, "dense", wrong)
    for rung in IMPLEMENTATIONS["dense"].values():
        vars(rung).pop("found", None)  # the function that was imported before
    try:
        with pytest.raises(Disagreement, match="dense-5x12-w12x7-cuda-naive: the rung and the ref"):
            list(rungs.rows(rungs.cases(DENSE)[0], device, DENSE, 1, 0.0))
    finally:
        for rung in IMPLEMENTATIONS["dense"].values():
            vars(rung).pop("found", None)


def test_what_belongs_to_operations_chooses_rungs(device, monkeypatch, capsys):
    monkeypatch.setattr(command, "choose_device", lambda name: (device, ""))
    monkeypatch.setattr(comparison, "SECONDS", 0.0)
    options = ["-k", "^dense-", "--shape", "5x12", "--weights", "12x7", "--rung", "cuda-naive"]
    assert main(["--device", "cuda", "--quiet", *options]) == 0
    assert "dense-5x12-w12x7-cuda-naive-cuda" in capsys.readouterr().out
    assert main(["--device", "cuda", "--quiet", "-k", "nothing"]) == 1
    assert "nothing is chosen by -k nothing" in capsys.readouterr().err
