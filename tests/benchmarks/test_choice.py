"""What is timed: workloads, rungs, shapes and types that the options choose; the work of each."""

import math

import numpy as np
import pytest

from l2ae_bench import cpu, operations, peak
from l2ae_bench.choice import Choice, sizes_of
from l2ae_bench.command import main
from l2ae_bench.rates import Ceilings
from l2ae_bench.shapes import ELEMENTWISE, PASSES, Sizes, build
from l2ae_bench.steps import step_work
from l2ae_bench.work import Work, triad_bytes, triad_name
from l2ae_core.networks import Architecture
from l2ae_core.networks import build as build_network
from l2ae_kernels.operations import IMPLEMENTATIONS


def names(**options):
    return [case.workload for case in Choice(**options).cases()]


def test_everything_is_chosen_where_nothing_is_said():
    assert sorted(names()) == sorted(case.workload for case in operations.cases())


def test_a_pattern_and_a_named_shape():
    assert names(pattern="correlate", shape="conv2") == [
        "correlate-conv2", "correlate_adjoint_x-conv2", "correlate_adjoint_W-conv2"
    ]  # fmt: skip
    assert names(pattern="^dense-") == ["dense-784x500", "dense-500x2000"]
    (case,) = Choice(pattern="^assign", shape="70000x10-k10", rungs=("blocked",)).cases()
    assert Choice(rungs=("blocked", "reference")).only(case) == ["reference", "blocked"]


def test_operations_without_such_a_shape_or_rung_are_left_out():
    assert names(shape="64x20", clusters=7, pattern="dense|assign|correlate|l2|adam") == [
        "dense-64x20-w20x500", "dense_adjoint_x-64x20-w20x500", "dense_adjoint_W-64x20-w20x500",
        "l2_normalize-64x20", "l2_normalize_adjoint-64x20", "assign-64x20-k7",
    ]  # fmt: skip
    assert {name.partition("-")[0] for name in names(rungs=("fused",))} == {
        operation for operation, rungs in IMPLEMENTATIONS.items() if "fused" in rungs
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_of_ones_own_are_computed_right(dtype):
    """Every rung of every operation agrees with the reference there."""
    shapes = {"correlate": "3x9x8x2", "dense": "3x7", "assign|update|restarts": "40x3",
              "adam": "50", "training": "2x8x8x1", "warp": "2x8x8x1",
              "norm|leaky|squared|moments|bias": "4x5x6"}  # fmt: skip
    found = set()
    for pattern, shape in shapes.items():
        for case in Choice(pattern=pattern, shape=shape, clusters=4, dtype=dtype).cases():
            for rung in case.rungs():
                case.verified(rung)
            found.add(case.operation)
    assert found == set(IMPLEMENTATIONS)
    assert ("float64" in Choice(shape="50", dtype=dtype).cases()[0].shape) == (dtype == "float64")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rungs": ("fast",)}, "--rung: 'fast' is not one of blocked, compiled"),
        ({"shape": "conv2", "stride": (1, 1)}, "--weights, --clusters, --stride, --padding: are"),
        ({"shape": "2x3x3x1", "padding": "valid", "pattern": "correlate-"}, "does not fit"),
    ],
)
def test_what_cannot_be_timed_is_refused_before(options, message):
    with pytest.raises(ValueError, match=message):
        Choice(**options).cases()


@pytest.mark.parametrize(
    "options",
    [
        {"pattern": "no such"},
        {"shape": "7x7x7x7x7", "pattern": "dense"},
        {"shape": "4x9", "weights": (8, 3), "pattern": "dense"},  # of another number of inputs
        {"shape": "4x9", "clusters": 5, "pattern": "assign"},  # of fewer samples
        {"rungs": ("winograd",), "pattern": "dense"},
    ],
)
def test_nothing_may_be_left(options):
    assert Choice(**options).cases() == []


def test_sizes():
    assert sizes_of("256x28x28x1") == (256, 28, 28, 1)
    assert sizes_of("conv2") == sizes_of("0x3") == sizes_of("3x") == sizes_of("") == ()


# --- work


@pytest.mark.parametrize("operation", ["correlate", "correlate_adjoint_x", "correlate_adjoint_W"])
def test_work_of_a_correlation_is_that_of_its_loops(operation):
    """Counted one by one: a product and a sum for each number that each tap is multiplied with."""
    sizes = Sizes((2, 5, 6, 3), (3, 2, 3, 4), stride=(2, 1), padding="same")
    count = 0
    for _ in np.ndindex(2, 3, 6, 4):  # samples, output pixels, filters: ⌈5/2⌉ and ⌈6/1⌉
        for _ in np.ndindex(3, 2, 3):  # taps, channels
            count += 2
    case = build(operation, "own", sizes)
    assert case.work.flop == count
    assert case.work.bytes == 4 * (2 * 5 * 6 * 3 + 3 * 2 * 3 * 4 + 2 * 3 * 6 * 4)
    assert case.work.unit == "flop"
    assert 2 * math.prod(case.product) == count


def test_work_of_the_others():
    def work(operation, x, dtype="float32", **how):
        return build(operation, "own", Sizes(x, **how), dtype).work

    for operation in ("dense", "dense_adjoint_x", "dense_adjoint_W"):
        assert work(operation, (3, 7), W=(7, 5)) == Work(2 * 3 * 7 * 5, 4 * (21 + 35 + 15))
    assert work("assign", (40, 3), k=4) == Work(2 * 40 * 3 * 4, 4 * 120)
    assert work("update", (40, 3), k=4) == Work(120, 480, "bytes")
    assert work("restarts", (40, 3), k=4).flop == PASSES * 2 * 40 * 3 * 4
    assert work("leaky_relu", (4, 5)) == Work(20, 2 * 80, "bytes")  # read x, write y
    assert work("leaky_relu", (4, 5), "float64") == Work(20, 4 * 80, "bytes", "float64")
    assert work("adam_step", (9,)).bytes == 4 * 7 * 9  # p, m, v read and written, g read
    assert {*ELEMENTWISE} == {c.operation for c in operations.cases() if c.work.unit == "bytes"} - {
        "update"
    }


def test_work_of_a_step_is_three_products_a_layer():
    """Of the paper's network, layer by layer; the first needs no gradient of its input."""
    model = build_network(Architecture("cae", (28, 28, 1)), np.random.default_rng(0))
    macs = [156_800, 2_508_800, 663_552, 11_520, 11_520, 663_552, 2_508_800, 156_800]
    work = step_work(model, 10)
    assert work.flop == 2 * 10 * (3 * sum(macs) - macs[0])
    assert work.bytes == 4 * (10 * 784 + 2 * 275_979)


# --- ceilings and shares


def row(workload, ms, work, threads=1):
    from l2ae_bench.comparison import Measurement

    return Measurement(workload, threads, ms, {}, work=work)


CEILINGS = Ceilings([
    row("gflop-fma", 5.0, Work(1e9, 0.0)),  # 200 GFLOP/s
    row("gflop-fma", 2.5, Work(1e9, 0.0), threads=2),
    row("triad-16KiB", 4.0, Work(0.0, 1e9, "bytes")),  # 250 GB/s
    row("triad-16MiB", 20.0, Work(0.0, 1e9, "bytes")),  # 50
    row("triad-512MiB", 100.0, Work(0.0, 1e9, "bytes")),  # 10
    row("dense-784x500-blocked", 1.0, Work(1e12, 1e12)),  # no ceiling, however fast
])  # fmt: skip


@pytest.mark.parametrize(
    ("work", "threads", "share", "ceiling"),  # of a call of 1 ms
    [
        (Work(1e8, 1e3), 1, 0.5, "gflop-fma"),
        (Work(1e8, 1e3), 2, 0.25, "gflop-fma"),
        (Work(1e8, 1e3, dtype="float64"), 1, 1.0, "gflop-fma"),  # half as many in a register
        (Work(1.0, 1e4, "bytes"), 1, 0.01 / 250, "triad-16KiB"),
        (Work(1.0, 1e7, "bytes"), 1, 0.2, "triad-16MiB"),
        (Work(1.0, 1e8, "bytes"), 1, 10.0, "triad-512MiB"),
        (Work(1.0, 1e10, "bytes"), 1, 1000.0, "triad-512MiB"),
        (Work(1.0, 1e4, "bytes"), 2, None, None),  # not measured
        (Work(1e8, 1e3), 3, None, None),
        (None, 1, None, None),
    ],
)
def test_a_share_is_of_the_ceiling_of_its_kind_threads_and_size(work, threads, share, ceiling):
    found = CEILINGS.shared(row("workload", 1.0, work, threads))
    assert found.share == (None if share is None else round(share, 4))
    assert found.ceiling == ceiling


def test_a_ceiling_has_no_share_and_its_name_says_its_size():
    ceiling = row("gflop-fma", 5.0, Work(1e9, 0.0))
    assert CEILINGS.shared(ceiling) == ceiling
    for size in (*peak.SIZES, 1 << 30):
        assert triad_bytes(triad_name(size)) == size
    assert triad_name(1 << 29) == "triad-512MiB"


# --- the command


@pytest.fixture
def instant(monkeypatch):
    for name, value in {"SIDE": 8, "ITEMS": 1, "SIZES": (), "CALL": 1, "SECONDS": 0.0}.items():
        monkeypatch.setattr(peak, name, value)
    monkeypatch.setattr(peak, "memory_size", lambda: 1 << 16)
    monkeypatch.setattr(cpu, "OPERATION_SECONDS", 0.0)


@pytest.mark.usefixtures("instant")
def test_rows_have_shares(capsys):
    arguments = ["operations", "-k", "^leaky_relu-", "--shape", "4x5", "--threads", "1"]
    assert main([*arguments, "--rung", "reference,blocked", "--quick", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [line.split() for line in lines if line.startswith("leaky_relu-4x5")]
    assert [line[0] for line in shown] == ["leaky_relu-4x5-reference", "leaky_relu-4x5-blocked"]
    assert all("GB/s" in line for line in shown)
    assert main([*arguments, "--rung", "fused"]) == 1
    assert "nothing is chosen by -k ^leaky_relu- --rung fused" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("instant")
def test_a_rung_of_ones_own_is_timed_if_it_is_right(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(IMPLEMENTATIONS, "leaky_relu", dict(IMPLEMENTATIONS["leaky_relu"]))
    path = tmp_path / "my_rungs.py"
    path.write_text(
        "import numpy as np\nfrom l2ae_kernels.operations import register\n"
        "def mine(x, slope, out):\n    np.maximum(x, slope * x, out=out)\n"
        "def wrong(x, slope, out):\n    np.abs(x, out=out)\n"
        "register('leaky_relu', 'mine', mine)\nregister('leaky_relu', 'wrong', wrong)\n"
    )
    arguments = ["operations", "-k", "^leaky_relu-", "--shape", "4x5", "--quick", "--quiet"]
    assert main([*arguments, "--load", str(path), "--rung", "mine"]) == 0
    assert "leaky_relu-4x5-mine" in capsys.readouterr().out
    assert main([*arguments, "--rung", "wrong"]) == 1
    assert "leaky_relu-4x5-wrong: the rung and the reference differ" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--load", str(path)])
    assert "my_rungs.py: register: name is 'mine' but expected" in capsys.readouterr().err
