"""Runs the planted faults under every tool: `python -m l2ae_kernels.emulator.planted`."""

import json
import sys
from collections.abc import Callable, Sequence

from tqdm import tqdm

from l2ae_kernels.emulator import EmulatorError, SanitizerError, sanitized
from l2ae_kernels.emulator.module import ORDERS
from l2ae_kernels.emulator.planted.cases import CASES, TOOLS, Case

WORKER = "--inside"  # a process in which the sanitizer is already
Found = dict[str, dict[str, str]]  # "fault" or "twin" → name of the case → what was found, or ""


def found_by(tool: str) -> Found:
    """Return what `tool` finds in every case, with its fault and in its correct twin."""
    if tool == "orders":
        return _all(_in_orders)
    command = [sys.executable, "-m", "l2ae_kernels.emulator.planted", WORKER]
    status, output, _ = sanitized.run(tool, command, capture=True)
    if status != 0:
        raise EmulatorError(f"planted: the run under {tool} ended with exit status {status}")
    found: Found = json.loads(output.splitlines()[-1])
    return found


def inside() -> Found:
    """What the sanitizer of this process reports."""
    return _all(_reported)


def _all(check: Callable[[Case, bool], str]) -> Found:
    return {
        kind: {case.name: check(case, faulty) for case in CASES}
        for kind, faulty in (("fault", True), ("twin", False))
    }


def _in_orders(case: Case, faulty: bool) -> str:
    for order in ORDERS:
        try:
            problem = case.run(faulty, order)
        except (EmulatorError, ValueError) as error:
            problem = str(error)
        if problem:
            return problem
    return ""


def _reported(case: Case, faulty: bool) -> str:
    try:
        case.run(faulty)
    except SanitizerError as error:
        return str(error)
    except (EmulatorError, ValueError):
        return ""  # the emulator's own errors count among the orders
    return ""


def expected() -> dict[str, Found]:
    """What the tools have to find; its table is that of the README."""
    return {
        tool: {
            "fault": {case.name: tool if tool in case.caught_by else "" for case in CASES},
            "twin": {case.name: "" for case in CASES},
        }
        for tool in TOOLS
    }


def table(found: dict[str, Found]) -> str:
    """Return the Markdown table of faults and tools."""
    lines = ["| fault | kernel | " + " | ".join(TOOLS) + " |", "|---|---|---|---|---|"]
    for case in CASES:
        marks = [_mark(case, tool, found[tool]) for tool in TOOLS]
        lines.append(f"| {case.fault} | `{case.name}` | {' | '.join(marks)} |")
    return "\n".join(lines)


def _mark(case: Case, tool: str, found: Found) -> str:
    if found["twin"][case.name]:
        return "FALSE ALARM"
    if found["fault"][case.name]:
        return "caught"
    return "MISSED" if tool in case.caught_by else ""


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit status 1 where a fault is missed or a twin accused."""
    if WORKER in arguments:
        print(json.dumps(inside()))
        return 0
    tools = tqdm(TOOLS, desc="planted faults", unit="tool", leave=False)
    text = table({tool: found_by(tool) for tool in tools})
    print(text)
    return int("MISSED" in text or "FALSE ALARM" in text)
