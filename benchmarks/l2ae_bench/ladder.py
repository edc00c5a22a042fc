"""The ladder of kernels/README.md: every rung at every shape, with its share of the peak."""

from l2ae_bench.comparison import Measurement
from l2ae_bench.machine import Measurements
from l2ae_bench.operations import Case, cases
from l2ae_bench.text import milliseconds, sources
from l2ae_core.tables import markdown

PEAK, SGEMM, LIBRARY = "gflop-fma", "gflop-sgemm", "sgemm"


def ladder(result: Measurements | None) -> str:
    """Return the table, one line a shape and number of threads; "" without a result."""
    if result is None:
        return ""
    rows = {(row.workload, int(row.threads)): row for row in result.rows}
    counts = sorted({int(row.threads) for row in result.rows})
    peaks = {t: 1e3 / rows[PEAK, t].ours_ms for t in counts if (PEAK, t) in rows}
    found = [
        (case, t, times) for case in cases() for t in counts if (times := _times(case, t, rows))
    ]
    height: dict[str, int] = {}  # of a rung, the library's product above all
    for _, _, times in found:
        for i, name in enumerate(times):
            height[name] = max(i + 99 * (name == LIBRARY), height.get(name, 0))
    columns = sorted(height, key=lambda name: height[name])
    lines = [
        [f"`{case.operation}`", case.shape, str(t),
         *(_rate(case, times.get(name), peaks.get(t)) for name in columns)]
        for case, t, times in found
    ]  # fmt: skip
    table = markdown(("operation", "shape", "threads", *columns), lines, {2})
    parts = [table, _ceilings(counts, rows), sources([("operations", result.machine)])]
    return "\n\n".join(part for part in parts if part)


def _times(case: Case, threads: int, rows: dict[tuple[str, int], Measurement]) -> dict[str, float]:
    """Milliseconds of the reference, of every rung, and of the library's product of that size."""
    times: dict[str, float] = {}
    for (workload, t), row in rows.items():
        name, _, rung = workload.rpartition("-")
        if name == case.workload and t == threads:
            times = row.peers | times | {rung: row.ours_ms}
    return times


def _rate(case: Case, ms: float | None, peak: float | None) -> str:
    if ms is None:
        return ""
    rate = (case.flop or case.bytes) / ms / 1e6
    if not case.flop:
        return f"{milliseconds(ms)} ms, {rate:.3g} GB/s"
    return f"{milliseconds(ms)} ms, {rate:.3g}" + (
        "" if peak is None else f", {100 * rate / peak:.0f} %"
    )


def _ceilings(counts: list[int], rows: dict[tuple[str, int], Measurement]) -> str:
    """What the cells mean, and what the machine can do."""
    reached = []
    for workload, name in ((PEAK, "multiply-adds in registers"), (SGEMM, "one sgemm of 1536³")):
        rates = [f"{1e3 / rows[workload, t].ours_ms:.0f}" for t in counts if (workload, t) in rows]
        if rates:
            reached.append(f"{name} {' and '.join(rates)}")
    text = (
        "Cells: time, GFLOP/s (GB/s where nothing is multiplied), share of the first ceiling. "
        "Operations are those of the plain computation: Winograd does fewer and may pass 100 %."
    )
    if not reached:
        return text
    return f"{text} Ceilings in GFLOP/s at {' and '.join(map(str, counts))} threads: " + (
        f"{'; '.join(reached)}. `{LIBRARY}` is the product alone, with all windows unrolled before."
    )
