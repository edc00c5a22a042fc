"""The roofline of a file of rows."""

import json

import numpy as np
import pytest

import roofline as script
from l2ae_bench import roofline as module
from l2ae_bench.comparison import Measurement
from l2ae_bench.machine import ROOT
from l2ae_bench.results import RESULTS
from l2ae_bench.roofline import PEER, Point, points, roofline
from l2ae_bench.work import Work

CEILINGS = [
    Measurement("gflop-fma", 1, 5.0, {}, work=Work(1e9, 0.0)),  # 200 GFLOP/s
    Measurement("triad-16KiB", 1, 4.0, {}, work=Work(2e8, 1e9, "bytes")),  # 250 GB/s
    Measurement("triad-512MiB", 1, 50.0, {}, work=Work(2e8, 1e9, "bytes")),  # 20 GB/s
]
DENSE = Work(8e7, 2e6)  # 40 FLOP/byte
ROWS = [
    *CEILINGS,
    Measurement("dense-784x500-blocked", 1, 0.8, {"reference": 1.6, "sgemm": 0.5}, work=DENSE),
    Measurement("leaky_relu-14x14x32-blocked", 1, 1.0, {"reference": 4.0},
                work=Work(1e6, 8e6, "bytes")),
    Measurement("step-cae-28", 1, 100.0, {"torch": 200.0}, work=Work(1e10, 1e7)),
    Measurement("dense-784x500-blocked", 2, 0.4, {}, work=DENSE),
    Measurement("start-cold", 1, 9.0, {}),
]  # fmt: skip


def test_a_point_is_a_rung_or_a_peer():
    assert points(ROWS, 1) == [
        Point("dense-784x500", "reference", 40, 50),
        Point("dense-784x500", "sgemm", 40, 160),
        Point("dense-784x500", "blocked", 40, 100),
        Point("leaky_relu-14x14x32", "reference", 0.125, 0.25),
        Point("leaky_relu-14x14x32", "blocked", 0.125, 1),
        Point("step-cae-28", "torch", 1000, 50),
        Point("step-cae-28", "ours", 1000, 100),
    ]
    assert points(ROWS, 2) == [Point("dense-784x500", "blocked", 40, 200)]


def test_the_figure_has_every_point_under_the_roofs():
    figure = roofline(ROWS, {"processor": "A Processor", "vectors": "avx2"}, 1)
    (ax,) = figure.axes
    drawn = {s.get_label(): np.asarray(s.get_offsets()).tolist() for s in ax.collections}
    assert drawn == {
        "reference": [[40, 50], [0.125, 0.25]],
        "blocked": [[40, 100], [0.125, 1]],
        "ours": [[1000, 100]],
        PEER: [[40, 160], [1000, 50]],
    }
    memory, cache = (line.get_xydata() for line in ax.lines[:2])
    for roof, bandwidth in ((memory, 20), (cache, 250)):
        np.testing.assert_allclose(roof[:, 1], np.minimum(200, bandwidth * roof[:, 0]))
    assert "A Processor, vectors avx2, 1 thread" in figure.get_suptitle()
    shown = [text.get_text() for text in ax.texts]
    assert shown[:3] == ["triad-512MiB: 20 GB/s", "triad-16KiB: 250 GB/s",
                         "multiply-adds: 200 GFLOP/s"]  # fmt: skip
    assert sorted(shown[3:]) == ["dense-784x500", "leaky_relu-14x14x32", "step-cae-28"]


def test_names_of_equal_workloads_are_moved_apart():
    rows = [Measurement(f"dense-{i}-blocked", 1, 1.0 + i, {}, work=DENSE) for i in range(20)]
    (ax,) = roofline([*CEILINGS, *rows], {}, 1).axes
    places = sorted(np.log10(t.xyann[0]) for t in ax.texts if t.get_text().startswith("dense"))
    low, high = np.log10(ax.get_xlim())
    assert np.diff(places).min() >= 0.99 * (high - low) * module.LABELS / module.WIDTH
    assert low <= places[0] < places[-1] <= high


def test_the_roofs_and_their_names_are_inside_whatever_the_points_are():
    """Of points where every roof is flat, and of points where none is."""
    for work in (Work(1e10, 1e7), Work(1e3, 1e7)):
        row = Measurement("step-cae-28", 1, 100.0, {}, work=work)
        (ax,) = roofline([*CEILINGS, row], {}, 1).axes
        (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
        for text in ax.texts[:3]:
            x, y = text.get_position()
            assert left < x < right
            assert low < y < high


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="roofline: no row of 3 threads knows its work"):
        roofline(ROWS, {}, 3)
    with pytest.raises(ValueError, match=r"roofline: no ceilings \(gflop-fma, triads\) of 2"):
        roofline(ROWS, {}, 2)


def test_a_file_is_drawn(tmp_path, capsys):
    rows, out = tmp_path / "rows.json", tmp_path / "roofline.svg"
    rows.write_text(json.dumps({"machine": {}, "rows": [row.to_dict() for row in ROWS]}))
    assert script.main([str(rows), "--out", str(out)]) == 0
    assert "step-cae-28" in out.read_text("utf-8")
    older = str(ROOT / RESULTS / "amd-epyc-avx512-2-cores" / "kmeans.json")
    for arguments in ([older], [str(rows), "--threads", "2"], [str(rows), "--out", "x.txt"]):
        assert script.main(arguments) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [line.partition(": error: ")[0] for line in errors] == ["roofline.py"] * 3
