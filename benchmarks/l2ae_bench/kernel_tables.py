"""Tables of the speed beside the peers, of augmented steps, and of every rung beside the peak."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from l2ae_bench.augmented import SELF_LABELLED, WARPED
from l2ae_bench.case import SGEMM as LIBRARY
from l2ae_bench.case import Case
from l2ae_bench.comparison import Measurement
from l2ae_bench.machine import Measurements, short_name
from l2ae_bench.operations import cases
from l2ae_bench.rates import Ceilings
from l2ae_bench.results import Parts
from l2ae_bench.targets import TARGETS, verdict
from l2ae_bench.text import fastest_first, milliseconds, sources
from l2ae_bench.work import FMA, SGEMM, triad_name
from l2ae_core.paper.tables import Table
from l2ae_kernels.cpu.codegen.vectors import AMX

NAMES = {
    "step-cae-28": "training step, convolutional, 28×28",
    "step-cae-16": "training step, convolutional, 16×16",
    "step-dense": "training step, dense, 28×28",
    "step-cae-28-layer-norm-embedding": "convolutional, layer norm on the embedding",
    "step-cae-28-layer-norm": "convolutional, layer norm everywhere",
    "step-cae-28-batch-norm": "convolutional, batch norm everywhere",
    "kmeans-70000x10-k10": "k-means, 70,000 × 10, 10 clusters",
    "kmeans-70000x784-k10": "k-means, 70,000 × 784, 10 clusters",
    "kmeans-200000x64-k256": "k-means, 200,000 × 64, 256 clusters",
    f"step-cae-28-{WARPED}": "convolutional, 28×28, warped images",
    f"step-cae-28-{SELF_LABELLED}": "convolutional, 28×28, warped images and self-labelling",
    f"step-cae-16-{WARPED}": "convolutional, 16×16, warped images",
    f"step-cae-16-{SELF_LABELLED}": "convolutional, 16×16, warped images and self-labelling",
    "start-cold": "first step of a process, all to be compiled",
    "start-warm": "first step of a process, from the cache",
}
FAMILIES = {  # operations whose rungs have the same names: a table each
    "Convolutions": ("correlate", "correlate_adjoint_x", "correlate_adjoint_W"),
    "Dense layers": ("dense", "dense_adjoint_x", "dense_adjoint_W"),
    "Elementwise, sums, normalization, Adam": (
        "bias_adjoint", "leaky_relu", "leaky_relu_adjoint", "moments", "batch_norm",
        "batch_norm_adjoint", "layer_norm", "layer_norm_adjoint", "adam_step", "warp",
    ),
    "k-means": ("assign", "update", "restarts"),
}  # fmt: skip
BY_TILES = ("step-dense",)  # workloads that differ with AMX: rows of their own
SHOWN = "conv2"  # the layer of the ladder: half of all multiply-adds of the network


def speed(results: Sequence[Parts]) -> list[Table]:
    """Return the table of steps, k-means and start beside the peers; none without results.

    A processor is a column: our time, the best peer's, and how many times as fast ours is. Where it
    was told to use AMX is a row.
    """
    return _by_processor("speed", "workload", results, ("step", "norms", "kmeans", "start"))


def augmented(results: Sequence[Parts]) -> list[Table]:
    """Return the table of steps on warped images beside plain ones; none without results.

    A processor is a column: our time, the plain step's, and how many times as long ours takes.
    """
    return _by_processor("augmented", "step", results, ("augmented",))


def _by_processor(
    name: str, first: str, results: Sequence[Parts], parts: Sequence[str]
) -> list[Table]:
    there = [[(part, own[part]) for part in parts if part in own] for own in results]
    there = [measured for measured in there if measured]
    columns: dict[str, dict[tuple[str, int | str, str], Measurement]] = {}
    for measured in there:
        machine = measured[0][1].machine
        tiles = machine["vectors"] if machine["vectors"] in AMX else ""
        base = AMX[tiles].name if tiles else machine["vectors"]
        column = columns.setdefault(short_name({**machine, "vectors": base}), {})
        column |= {
            (row.workload, row.threads, tiles): row
            for _, found in measured
            for row in found.rows
            if not tiles or row.workload in BY_TILES
        }
    every = dict.fromkeys(key for column in columns.values() for key in column if key[0] in NAMES)
    rows = [
        [NAMES[workload] + (f", `{tiles}`" if tiles else ""), str(threads), str(TARGETS[workload]),
         *(_cell(column.get((workload, threads, tiles))) for column in columns.values())]
        for workload, threads, tiles in sorted(
            every, key=lambda key: ([*NAMES].index(key[0]), key[2])
        )
    ]  # fmt: skip
    machines = [(part, found.machine) for measured in there for part, found in measured]
    columns_of = [first, "threads", "target", *columns]
    return [Table(name, "", columns_of, rows, sources(machines), 1)] if rows else []


def _cell(row: Measurement | None) -> str:
    """Return our time, the best peer's and their ratio as text, with "missed" where it is."""
    if row is None:
        return ""
    parts = [f"{milliseconds(row.ours_ms)} ms"]
    if row.ratio_best_peer is not None and row.ratio_spread is not None:
        ratio, (low, high) = row.ratio_best_peer, row.ratio_spread
        if TARGETS[row.workload].times is not None:  # how many times as long, not as fast
            ratio, low, high = 1 / ratio, 1 / high, 1 / low
        peer, ms = fastest_first(row.peers)[0]
        parts += [f"{peer} {milliseconds(ms)}", f"**{ratio:.2f}** ({low:.2f}–{high:.2f})"]
    return "; ".join([*parts, *(["missed"] if verdict(row) == "missed" else [])])


class Times:
    """The times of a result by shape, threads and rung, and the machine's peak."""

    def __init__(self, result: Measurements) -> None:
        self.rows = {(row.workload, int(row.threads)): row for row in result.rows}
        self.threads = sorted({int(row.threads) for row in result.rows})
        self.ceilings = Ceilings(result.rows)

    def of(self, case: Case, threads: int) -> dict[str, float]:
        """Return ms of the reference, of every rung, and of the library's product of that size."""
        times: dict[str, float] = {}
        for (workload, t), row in self.rows.items():
            name, _, rung = workload.rpartition("-")
            if name == case.workload and t == threads:
                times = row.peers | times | {rung: row.ours_ms}
        return times

    def share(self, case: Case, ms: float, threads: int) -> float | None:
        """Return the share of the ceiling, by the work of the plain computation."""
        ceiling = self.ceilings.of(case.work, threads)
        return None if ceiling is None else case.work.rate(ms) / ceiling[1]

    def cell(self, case: Case, ms: float | None, threads: int) -> str:
        """Return time, rate and share of the ceiling as text."""
        if ms is None:
            return ""
        share, unit = self.share(case, ms, threads), " GB/s" * (case.work.unit == "bytes")
        rate = f"{milliseconds(ms)} ms, {case.work.rate(ms):.3g}{unit}"
        return rate + ("" if share is None else f", {100 * share:.0f} %")


def rungs(result: Measurements) -> list[Table]:
    """Return a table a family: a line a shape and number of threads, a column a rung."""
    times, tables = Times(result), []
    for title, operations in FAMILIES.items():
        found = [
            (case, t, ms) for operation in operations for case in cases()
            if case.operation == operation for t in times.threads if (ms := times.of(case, t))
        ]  # fmt: skip
        height: dict[str, int] = {}  # of a rung; the library's product above all
        for _, _, ms in found:
            for i, name in enumerate(ms):
                height[name] = max(i + 99 * (name == LIBRARY), height.get(name, 0))
        columns = sorted(height, key=lambda name: height[name])
        rows = [
            [f"`{case.operation}` {case.shape}", str(t),
             *(times.cell(case, ms.get(name), t) for name in columns)]
            for case, t, ms in found
        ]  # fmt: skip
        if rows:
            tables.append(Table(title, title, ["operation", "threads", *columns], rows, "", 1))
    return [*tables, _ceilings(times, result.machine)] if tables else []


def _ceilings(times: Times, machine: dict[str, Any]) -> Table:
    rows = []
    for workload, name in ((FMA, "multiply-adds in registers"), (SGEMM, "one sgemm of 1536³")):
        rates = [times.ceilings.rate(workload, t) for t in times.threads]
        rows.append([name, *("" if r is None else f"{r:.0f}" for r in rates)])
    triads = {t: times.ceilings.triads(t) for t in times.threads}
    for size in max(triads.values(), key=len, default={}):
        rates = [triads[t].get(size) for t in times.threads]
        rows.append(
            [f"{triad_name(size)}, GB/s", *("" if r is None else f"{r:.0f}" for r in rates)]
        )
    of = "a ceiling: the first, or for GB/s the triad a = b + s c of about as many bytes"
    note = (
        "Cells above: time, GFLOP/s (GB/s where nothing is multiplied), share of "
        f"{of if any(triads.values()) else 'the first ceiling'}. Operations are those of the plain "
        "computation: Winograd does fewer and may pass "
        f"100 %. `{LIBRARY}` is the product alone, with all windows unrolled before.\n\n"
        + sources([("operations", machine)])
    )
    columns = ["GFLOP/s", *(f"{t} thread{'s' * (t > 1)}" for t in times.threads)]
    return Table("ceilings", "Ceilings", columns, rows, note, 1)


def ladder(result: Measurements) -> Table:
    """Return what each rung gains on the second convolution, on one thread."""
    times, rows = Times(result), []
    for case in _shown():
        before, best = "", 0.0
        for name, ms in times.of(case, 1).items():
            share = times.share(case, ms, 1)
            now = f"{milliseconds(ms)} ms"
            if name != LIBRARY:
                rows.append([f"`{case.operation}`", name, before, now,
                             "" if share is None else f"{100 * share:.0f} %"])  # fmt: skip
                before, best = now, ms
        assert best
    machine = result.machine
    note = (
        f"{SHOWN} of the paper's network, a batch of 256, one thread of {machine['processor']}, "
        f"vectors {machine['vectors']}; %: of the peak of multiply-adds in registers."
    )
    return Table(
        "ladder", "", ["operation", "rung", "before", "after", "of the peak"], rows, note, 2
    )


def _shown() -> list[Case]:
    return [case for case in cases() if case.shape == SHOWN]


def figure(result: Measurements) -> Figure:
    """Return the figure of the ladder: the share of the peak, rung by rung, for SHOWN."""
    times, figure = Times(result), Figure(figsize=(8, 3), layout="constrained")
    panels = figure.subplots(1, len(_shown()), sharey=True, squeeze=False)[0]
    for ax, case in zip(panels, _shown(), strict=True):
        found = dict(sorted(times.of(case, 1).items(), key=lambda item: item[0] == LIBRARY))
        shares = [100 * (times.share(case, ms, 1) or 0.0) for ms in found.values()]
        colours = ["#bbbbbb" if name == LIBRARY else "#0072b2" for name in found]
        bars = ax.bar(list(found), shares, color=colours)
        ax.bar_label(bars, fmt="%.0f", fontsize=8)
        ax.margins(y=0.12)
        ax.axhline(100, color="black", linewidth=0.8)
        ax.set_title(case.operation, fontsize=9)
        ax.tick_params("x", rotation=60, labelsize=8)
    panels[0].set_ylabel("% of the peak, one thread")
    return figure
