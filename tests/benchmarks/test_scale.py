"""The part `scale`: cells in processes of their own, memory, slopes, and what is kept."""

import mmap
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from l2ae_bench.command import main
from l2ae_bench.scale.cells import MAPPED, MEMORY, Cell, cells
from l2ae_bench.scale.growth import figure, slope, table
from l2ae_bench.scale.measure import Row, latest, measure, read
from l2ae_bench.scale.memory import anonymous_bytes, sampled_peak

MACHINE = {"processor": "A", "cores": 2, "vectors": "avx2", "system": "Linux", "python": "3.11",
           "versions": {}, "commit": "abc", "date": "2026-01-02"}  # fmt: skip
SIZE = 50 << 20


def rows(contender=MEMORY, power=1.0, work="k-means"):
    return [
        Row(work, N, 10, 10, contender, 1e-6 * N**power, N, {}, MACHINE)
        for N in (10_000, 100_000, 1_000_000)
    ]


def test_a_peak_leaves_mapped_files_out(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    before = anonymous_bytes()
    with sampled_peak() as peak, path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        np.frombuffer(mapped, np.uint8).sum()
        assert anonymous_bytes() - before < SIZE / 2
    assert peak.bytes - before < SIZE / 2


AFTER = f"""
import numpy as np
from l2ae_bench.scale.memory import anonymous_bytes, sampled_peak
before = anonymous_bytes()
with sampled_peak() as peak:
    while peak.bytes < before + {SIZE} / 2:  # a sample comes while the array is there
        array = np.ones({SIZE}, np.uint8)
        array.sum()
    del array
print(peak.bytes - before, anonymous_bytes() - before)
"""


def test_a_peak_is_seen_after_it_is_over():
    """In a process of its own: of this one, other tests may have threads and processes at work."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", AFTER], env=environment, capture_output=True, text=True, check=True
    )
    peak, left = map(int, run.stdout.split())
    assert left < SIZE / 2 < peak


def test_slopes_are_those_of_large_sizes():
    assert slope(rows(power=1.25)) == pytest.approx(1.25)
    small = [replace(rows()[0], seconds=1e9)]
    assert slope(small + rows()[1:]) == pytest.approx(1.0)
    assert slope(rows()[:2]) is None


def test_table_and_figure_show_every_contender():
    some = rows() + rows(MAPPED, 1.1) + rows(MEMORY, work="score")[:1]
    text = table(some).markdown()
    assert "| k-means, d = 10, k = 10 | memory map | 0.0251 · 0 MB |" in text
    assert "| 1.10 |" in text
    drawn = figure(some)
    assert len(drawn.axes) == 4
    assert [t.get_text() for t in drawn.legends[0].get_texts()] == [MEMORY, MAPPED]


def test_rows_of_another_processor_stay_but_are_not_shown():
    other = [replace(row, machine=MACHINE | {"processor": "B"}) for row in rows()]
    assert latest(rows() + other) == other


def test_small_cells_come_first_and_none_twice():
    every = cells()
    assert len(set(every)) == len(every)
    assert {cell.work for cell in every} == {"k-means", "fit", "score"}
    assert [c.N for c in every][:4] == [10_000] * 4


@pytest.mark.slow
def test_a_measurement_goes_on_where_it_stopped(tmp_path):
    wanted = [Cell("k-means", 20_000, 10, 10, who) for who in (MEMORY, MAPPED, "scikit-learn")]
    out = tmp_path / "rows.jsonl"
    first = next(iter(measure(wanted, out, progress=False)))
    rest = [*measure(wanted, out, progress=False)]
    assert [row.cell for row in [first, *rest]] == wanted
    assert read(out) == [first, *rest]
    inertias = [row.result["inertia"] for row in [first, *rest]]
    assert inertias[0] == inertias[1]
    assert inertias[2] == pytest.approx(inertias[0], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scale", "step"], "argument PART: scale is measured alone"),
        (["scale", "--device", "cuda"], "argument PART: scale is not for a GPU"),
        (["scale", "--threads", "1"], "argument --threads: is not for scale"),
        (["scale", "--tables", "--quick"], "argument --tables: keeps all rows itself"),
    ],
)
def test_a_wrong_command_line_names_the_argument(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err
