"""Rows beside those of an earlier run."""

import json

import pytest

import compare
from l2ae_bench.changes import above, changes, read_rows, report
from l2ae_bench.comparison import OURS, Measurement, make_row
from l2ae_bench.machine import ROOT
from l2ae_bench.results import RESULTS
from l2ae_bench.work import Work


def row(name, *ms, threads=1):
    return make_row(name, threads, {OURS: [t / 1e3 for t in ms]}, None)


BEFORE = [row("noisy", 8, 10, 12), row("steady", 9.9, 10, 10.1), row("gone", 1, 1, 1),
          row("steady", 5, 5, 5, threads=2)]  # fmt: skip
NOW = [row("noisy", 9, 11, 13), row("steady", 10.9, 11, 11.1), row("new", 1, 1, 1),
       row("steady", 4, 4, 4, threads=2)]  # fmt: skip


def test_slower_is_what_no_quartile_explains():
    """Both take a tenth longer: of one that is within the noise, of the other it is not."""
    noisy, steady, both = changes(BEFORE, NOW)
    assert noisy.ratio == pytest.approx(1.1)
    assert noisy.interval == pytest.approx((10 / 11, 12 / 9))
    assert (noisy.verdict, steady.verdict, both.verdict) == ("", "slower", "faster")
    assert above(changes(BEFORE, NOW), 1.05) == [steady]
    assert above(changes(BEFORE, NOW), 1.2) == []


def test_the_report_counts_what_has_no_partner():
    lines = report(changes(BEFORE, NOW), BEFORE, len(NOW)).splitlines()
    assert lines[2].split() == [
        "steady",
        "1",
        "10",
        "ms",
        "11",
        "ms",
        "1.10",
        "1.09–1.11",
        "slower",
    ]
    assert lines[-1] == (
        "3 rows compared: 1 slower, 1 faster, the others within the noise; 1 of this run were not "
        "there before, 1 of before not in this run"
    )


def test_a_slower_machine_is_named():
    def peak(ms):
        return Measurement("gflop-fma", 1, ms, {}, ours_spread=(ms, ms), work=Work(1e9, 0.0))

    found = changes([peak(4.0)], [peak(5.0)])
    text = report(found, [peak(4.0)], 1)
    assert "250 GFLOP/s  200 GFLOP/s" in text
    assert "the machine itself is slower: gflop-fma takes 1.25 times as long on 1 thread" in text
    assert above(found, 1.0) == []  # it is no kernel


def test_rows_of_older_files_have_the_noise_of_the_new_run_alone():
    old = Measurement("steady", 1, 10.0, {})
    (change,) = changes([old], [NOW[1]])
    assert change.interval == pytest.approx((1.095, 1.105))
    assert change.verdict == "slower"


@pytest.mark.parametrize(
    "path", sorted((ROOT / RESULTS).glob("*/*.json")), ids=lambda p: f"{p.parent.name}-{p.name}"
)
def test_files_of_the_repository_are_read(path):
    rows = read_rows(path)
    assert len(rows) == len(json.loads(path.read_text("utf-8"))["rows"]) > 0
    assert all(c.ratio == 1 and not c.verdict for c in changes(rows, rows))


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]", '[{"workload": "x"}]', "3", "no JSON"])
def test_another_file_is_refused_by_name(text, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{path}: "):
        read_rows(path)


def test_two_files(tmp_path, capsys):
    paths = [tmp_path / name for name in ("before.json", "now.json")]
    paths[0].write_text(json.dumps([r.to_dict() for r in BEFORE]))  # as older versions wrote it
    paths[1].write_text(json.dumps({"machine": {}, "rows": [r.to_dict() for r in NOW]}))
    files = [*map(str, paths)]
    assert compare.main(files) == 0
    assert "steady" in capsys.readouterr().out
    assert compare.main([*files, "--fail-above", "1.2"]) == 0
    assert compare.main([*files, "--fail-above", "1.05"]) == 1
    assert compare.main([files[0], str(tmp_path / "absent.json")]) == 1
    assert "absent.json" in capsys.readouterr().err
