"""Rows as text: the table on the screen, and pieces of Markdown."""

from collections.abc import Sequence
from typing import Any

from l2ae_bench.comparison import Measurement
from l2ae_bench.targets import TARGETS, verdict
from l2ae_bench.work import FMA, UNITS, is_ceiling
from l2ae_core.tables import aligned

HEADER = (
    "workload", "threads", "ours ms", "rate", "share", "peers ms", "ratio", "spread", "target", "",
)  # fmt: skip
NOTE = (
    f"share: of the ceiling of as many threads: multiply-adds in registers ({FMA}), or for GB/s "
    "the triad a = b + s c\nover about as many bytes. Work is that of the plain computation: "
    "Winograd and k-means with bounds do less."
)


def screen(rows: Sequence[Measurement]) -> str:
    """Return the table that `run.py` prints, and what its shares are of."""
    table = aligned(HEADER, [cells(row) for row in rows], right={1, 2, 3, 4, 6, 7})
    return f"{table}\n\n{NOTE}" if any(row.share is not None for row in rows) else table


def line(row: Measurement) -> str:
    """Return the row as one line, for those who watch while rows come."""
    workload, threads, ms, *others = cells(row)
    return "  ".join([workload, threads, f"{ms} ms", *filter(None, others)])


def cells(row: Measurement) -> tuple[str, ...]:
    """Return the row as text, a cell for each column of HEADER."""
    target = TARGETS.get(row.workload)
    peers = ", ".join(f"{name} {milliseconds(t)}" for name, t in fastest_first(row.peers))
    ratio, spread = "", ""
    if row.ratio_best_peer is not None and row.ratio_spread is not None:
        ratio = f"{row.ratio_best_peer:.2f}"
        spread = "{:.2f}–{:.2f}".format(*row.ratio_spread)
    ms = "" if is_ceiling(row.workload) else milliseconds(row.ours_ms)  # a rate, not a time
    share = "" if row.share is None else f"{100 * row.share:.0f} %"
    return (row.workload, str(row.threads), ms, rate(row), share, peers, ratio, spread,
            "" if target is None else str(target), verdict(row))  # fmt: skip


def rate(row: Measurement) -> str:
    """Return GFLOP/s or GB/s to three digits, nothing for a row without work."""
    if row.work is None:
        return ""
    return f"{row.work.rate(row.ours_ms):.3g} {UNITS[row.work.unit]}"


def fastest_first(peers: dict[str, float]) -> list[tuple[str, float]]:
    """Return names and times, the fastest first."""
    return sorted(peers.items(), key=lambda item: item[1])


def milliseconds(ms: float) -> str:
    """Return a time to three digits."""
    return f"{ms:,.0f}" if ms >= 1000 else f"{ms:.3g}" if ms < 100 else f"{ms:.0f}"


def sources(machines: list[tuple[str, dict[str, Any]]]) -> str:
    """Where the numbers come from; one sentence for parts that were measured alike."""
    parts: dict[str, list[str]] = {}
    for part, machine in machines:
        parts.setdefault(_machine(machine), []).append(part)
    sentences = [
        f"`python benchmarks/run.py {' '.join(names)} --tables`: {m}" for m, names in parts.items()
    ]
    return "\n".join(sentences)


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
    blas = "".join(f"BLAS {name}, " for name in machine.get("blas", ()))  # not in every file
    tile = f"dense tile {shape}, " if (shape := machine.get("dense_tile")) else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores, vectors {machine['vectors']}, {tile}"
        f"{blas}"
        f"{machine['system']}, Python {machine['python']}, {versions}; commit "
        f"{machine['commit']}, {machine['date']}."
    )
