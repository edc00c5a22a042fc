"""What the other parts found, on a screen: what failed, what differs, times beside predictions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from l2ae_core.tables import aligned

Row = Mapping[str, Any]
PARTS = ("facts", "warm", "works", "check", "end to end", "time")
FAILURES = 12  # that are shown of a part
# Microseconds on an H100 or H200 that were derived before any run: instructions of the inner loop
# and bytes, at the rates of the card; the least and the most.
PREDICTED: dict[str, tuple[float, float]] = {
    "step-cae-28, tf32, 1 model": (107, 128),
    "step-cae-28, float32, 1 model": (153, 176),
    "step-cae-28, tf32, 8 models": (95, 98),
    "step-cae-28, float32, 8 models": (141, 146),
    "resident 70000x10-k10": (3.5, 6),
    "pass 100000000x10-k10": (1_250, 1_670),
    "assign 1000000x128-k1024": (1_600, 3_900),
    "correlate-conv2-cuda-tf32": (4.2, 4.7),
    "correlate-conv2-cuda-tensor": (12, 14),
    "correlate_adjoint_x-conv2-cuda-tf32": (4.2, 4.7),
    "correlate_adjoint_x-conv2-cuda-tensor": (12, 14),
    "correlate_adjoint_W-conv2-cuda-tf32": (4.2, 4.7),
    "correlate_adjoint_W-conv2-cuda-tensor": (12, 14),
}


def summary(rows: Sequence[Row]) -> str:
    """Return the findings as text."""
    lines = [line for part in PARTS for line in _counted(part, rows)]
    for part in ("facts", "end to end"):
        lines += [f"  {row['name']}: {_short(row['found'])}" for row in _ok(part, rows)]
    return "\n".join([*lines, *_times(rows)])


def _counted(part: str, rows: Sequence[Row]) -> Iterator[str]:
    """Yield how many findings of a part are ok, and the first that are not."""
    of_part = [row for row in rows if row["part"] == part]
    bad = [row for row in of_part if not row["ok"]]
    yield f"{part}: {len(of_part) - len(bad)} of {len(of_part)} ok"
    for row in bad[:FAILURES]:
        yield f"  FAILED {row['name']}: {str(row['found'])[:160]}"


def _times(rows: Sequence[Row]) -> list[str]:
    """Measured microseconds beside the predicted ones, and what else was found of a time."""
    cells = []
    for row in _ok("time", rows):
        found = dict(row["found"])
        us = found.pop("us", None)
        predicted = PREDICTED.get(row["name"])
        expected = "" if predicted is None else "{:g}–{:g}".format(*predicted)
        ratio = "" if us is None or predicted is None else f"{us / predicted[1]:.2f}"
        cells.append((row["name"], "" if us is None else f"{us:.4g}", expected, ratio,
                      _short(found)))  # fmt: skip
    if not cells:
        return []
    header = ("time", "µs", "predicted", "of the most", "")
    return ["", aligned(header, cells, right={1, 2, 3})]


def _ok(part: str, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["part"] == part and row["ok"]]


def _short(found: Any) -> str:
    """Numbers to four digits."""
    if isinstance(found, Mapping):
        return ", ".join(f"{name} {_short(value)}" for name, value in found.items())
    if isinstance(found, list):
        return "[" + ", ".join(map(_short, found)) + "]"
    return f"{found:.4g}" if isinstance(found, float) else str(found)
