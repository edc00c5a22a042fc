"""Each planted fault is caught by the tools that have to catch it; no correct twin is accused."""

import sys

import pytest

from l2ae_kernels.emulator import sanitized
from l2ae_kernels.emulator.module import ORDERS

from . import planted
from .planted import FAULTS, TOOLS, found_by, table


def judge(tool):
    found = found_by(tool)
    must = {fault.name for fault in FAULTS if tool in fault.caught_by}
    assert {name for name, problem in found["fault"].items() if problem} == must
    assert not any(found["twin"].values())
    return found["fault"]


@pytest.mark.parametrize("orders", [ORDERS, ("shuffled",)], ids=len)
def test_orders(orders, monkeypatch):
    """Everyday tests of the kernels take the shuffled order alone: it finds what all three find."""
    monkeypatch.setattr(planted, "ORDERS", orders)
    judge("orders")


@pytest.mark.slow
def test_ptx(nvrtc):
    report = judge("ptx")["dynamic_out_of_bounds"]
    assert "block (2,0,0), thread (63,0,0), dynamic_out_of_bounds.cu:13" in report


@pytest.mark.slow
def test_address_sanitizer_names_the_line_and_the_thread():
    report = judge("address")["global_out_of_bounds"]
    assert "global_out_of_bounds.cu:10" in report
    assert "block (3,0,0), thread (10,0,0)" in report


@pytest.mark.slow
def test_thread_sanitizer_names_the_line_and_the_threads():
    report = judge("thread")["plain_add_in_shared"]
    assert "plain_add_in_shared.cu:8" in report
    assert report.count(", block (0,0,0), thread (") >= 2


def test_every_fault_is_caught_by_something():
    assert all(fault.caught_by for fault in FAULTS)


def test_table_tells_what_is_missed_and_who_is_accused():
    nothing = {fault.name: "" for fault in FAULTS}
    found = {tool: {"fault": dict(nothing), "twin": dict(nothing)} for tool in TOOLS}
    found["orders"]["fault"]["early_return"] = "wrong"
    found["address"]["twin"]["early_return"] = "wrong"
    lines = {line.split("`")[1]: line for line in table(found).splitlines()[2:]}
    assert lines["early_return"].split(" | ")[2:] == ["caught", "MISSED", "FALSE ALARM", " |"]
    assert lines["unset_shared"].split(" | ")[2:] == ["MISSED", "MISSED", "", " |"]


def test_the_status_says_whether_something_is_missed_or_accused(monkeypatch, capsys):
    found = planted.expected()
    monkeypatch.setattr(planted, "found_by", found.__getitem__)
    assert planted.main([]) == 0
    assert capsys.readouterr().out == table(found) + "\n"
    for kind, what in (("fault", ""), ("twin", "wrong")):
        changed = planted.expected()
        changed["thread"][kind]["missing_fence"] = what
        monkeypatch.setattr(planted, "found_by", changed.__getitem__)
        assert planted.main([]) == 1


FAULTY = """
import numpy as np
from l2ae_kernels.emulator import EmulatorError, RawModule
m = RawModule(code='extern "C" __global__ void f(int* x) { x[blockIdx.x + (SHIFT)] += 1; }',
              options=("-DSHIFT=" + %r,))
try:
    m.get_function("f")((2,), (1,), (np.zeros(2, np.int32),))
except EmulatorError:
    pass
"""


@pytest.mark.parametrize("tool", ["address", pytest.param("thread", marks=pytest.mark.slow)])
def test_command_fails_on_a_report_that_the_program_swallows(tool, capfd):
    shift = {"address": "1", "thread": "-int(blockIdx.x)"}[tool]
    status = sanitized.main(["--tool", tool, "--", sys.executable, "-c", FAULTY % shift])
    assert status == 1
    assert "kernel.cu:1" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["address", "thread"])
def test_a_kernel_without_a_fault_has_no_report(tool):
    assert sanitized.main(["--tool", tool, "--", sys.executable, "-c", FAULTY % "0"]) == 0


def test_command_keeps_the_status_of_the_program():
    assert sanitized.main(["--tool", "address", "--", "python", "-c", "raise SystemExit(7)"]) == 7
