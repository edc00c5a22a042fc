"""Repeats, ratios and measurements."""

import json
from dataclasses import replace

import pytest

from l2ae_bench import comparison
from l2ae_bench.comparison import (
    OURS,
    Comparison,
    Disagreement,
    Measurement,
    compare,
    make_row,
    measure,
    require_agreement,
)
from l2ae_bench.targets import TARGETS, verdict
from l2ae_bench.work import Work

FIELDS = ["workload", "threads", "ours_ms", "peers", "ratio_best_peer", "ratio_spread", "agreement",
          "ours_spread", "work", "share", "ceiling"]  # fmt: skip


def test_a_ratio_is_taken_within_a_repeat():
    """The machine is ten times slower in one repeat: times change, the ratio does not."""
    times = {OURS: [1.0, 10.0, 1.0], "fast": [3.0, 30.0, 3.0], "slow": [4.0, 50.0, 4.0]}
    row = make_row("workload", 2, times, 1e-6)
    assert row.ratio_best_peer == 3.0
    assert row.ratio_spread == (3.0, 3.0)
    assert row.peers == {"fast": 3000.0, "slow": 4000.0}


def test_the_spread_holds_the_quartiles():
    times = {OURS: [1.0] * 5, "peer": [1.0, 2.0, 3.0, 4.0, 5.0]}
    row = make_row("workload", 1, times, 0.0)
    assert (row.ratio_best_peer, row.ratio_spread) == (3.0, (2.0, 4.0))


def test_a_row_is_what_the_json_file_holds():
    row = make_row("workload", 1, {OURS: [0.002], "peer": [0.003]}, 1e-7)
    value = json.loads(json.dumps(row.to_dict()))
    assert list(value) == FIELDS
    assert value == {
        "workload": "workload", "threads": 1, "ours_ms": 2.0, "peers": {"peer": 3.0},
        "ratio_best_peer": 1.5, "ratio_spread": [1.5, 1.5], "agreement": 1e-7,
        "ours_spread": [2.0, 2.0], "work": None, "share": None, "ceiling": None,
    }  # fmt: skip
    assert Measurement.from_dict(value) == row


def test_a_row_with_work_has_rates_in_the_file():
    work = Work(flop=4e6, bytes=1e6)
    row = make_row("workload", 1, {OURS: [0.001, 0.002, 0.003]}, None, work)
    row = replace(row, share=0.5, ceiling="gflop-fma")
    value = json.loads(json.dumps(row.to_dict()))
    assert value["gflop_per_s"] == 2.0  # 4 MFLOP in 2 ms
    assert value["gb_per_s"] == 0.5
    assert value["ours_spread"] == [1.5, 2.5]
    assert Measurement.from_dict(value) == row


def test_rows_of_older_files_are_read():
    """They have no work, but for the ceilings, whose time is that of 10⁹ operations."""
    old = {"workload": "gflop-fma", "threads": 1, "ours_ms": 4.0, "peers": {},
           "ratio_best_peer": None, "ratio_spread": None, "agreement": None}  # fmt: skip
    ceiling = Measurement.from_dict(old)
    assert ceiling.work.rate(ceiling.ours_ms) == 250
    row = Measurement.from_dict(old | {"workload": "dense-784x500-blocked"})
    assert row.work is row.ours_spread is row.share is None


def test_a_row_without_a_peer_has_no_ratio():
    value = make_row("workload", 1, {OURS: [0.002]}, None).to_dict()
    assert value["peers"] == {}
    assert value["ratio_best_peer"] is value["ratio_spread"] is value["agreement"] is None


def test_every_other_repeat_is_in_reverse_order():
    calls = []
    contenders = {name: (lambda name=name: calls.append(name)) for name in "ABC"}
    ticks = []
    times = measure(contenders, 2, 1, seconds=0.0, done=lambda: ticks.append(1))
    # two calls to see how many fit; then one for the caches and one that counts
    assert "".join(calls) == "AABBCC" + "AABBCC" + "CCBBAA"
    assert len(ticks) == 2
    assert all(len(t) == 2 for t in times.values())


@pytest.mark.parametrize(("threads", "seconds"), [(1, 0.0), (2, comparison.PAUSE), ("a GPU", 0.0)])
def test_a_pause_lets_threads_become_idle_first(monkeypatch, threads, seconds):
    done = []
    monkeypatch.setattr(comparison, "_wait", done.append)
    measure({name: lambda name=name: done.append(name) for name in "AB"}, 1, threads, seconds=0.0)
    assert done == [*"AABB", seconds, *"AA", seconds, *"BB"]


def test_a_slower_peer_gives_a_ratio_above_one():
    contenders = {OURS: lambda: sum(range(1000)), "peer": lambda: sum(range(20_000))}
    row = compare("workload", 1, Comparison(contenders, 0.0), 3, seconds=0.002)
    assert row.ratio_best_peer > 2


@pytest.mark.parametrize("difference", [2e-3, float("nan"), float("inf")])
def test_a_difference_stops_the_benchmark(difference):
    assert require_agreement("workload", "the results", 1e-4, 1e-3) == 1e-4
    with pytest.raises(Disagreement, match="workload: the results differ by .*: not timed"):
        require_agreement("workload", "the results", difference, 1e-3)


def test_targets():
    def row(workload, ratio, ms=1.0):
        return Measurement(
            workload, 1, ms, {} if ratio is None else {"peer": 1.0}, ratio, (1.0, 1.0)
        )

    assert verdict(row("step-cae-28", 2.6)) == "met"
    assert verdict(row("step-cae-28", 2.4)) == "missed"
    assert verdict(row("step-cae-28", None)) == ""
    assert verdict(row("start-cold", None, ms=5_900)) == "met"
    assert verdict(row("start-warm", None, ms=1_100)) == "missed"
    assert verdict(row("step-cae-28-self-labelled", 0.67)) == "met"  # 1.49 times as long
    assert verdict(row("step-cae-28-self-labelled", 0.66)) == "missed"
    assert verdict(row("step-cae-28-self-labelled", None)) == ""
    assert verdict(row("dense-784x500-blocked", 0.1)) == ""
    assert str(TARGETS["step-dense"]) == "≥ 1.3×"
