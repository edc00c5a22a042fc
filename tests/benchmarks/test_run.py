"""`python benchmarks/run.py` as a user meets it."""

import json
import shutil

import pytest

import results_page
from l2ae_bench import command, comparison, cpu, kmeans, peak, peers, results, steps
from l2ae_bench.command import main
from l2ae_bench.comparison import OURS, Comparison
from l2ae_bench.kmeans import SampleSet
from l2ae_bench.machine import OTHER_KERNELS, ROOT, short_name
from l2ae_bench.text import milliseconds
from l2ae_bench.work import is_ceiling
from l2ae_kernels.cpu.codegen.vectors import get_vectors, vectors
from l2ae_kernels.cpu.threads import MOST, get_threads


@pytest.fixture(autouse=True)
def instant(monkeypatch):
    """Repeats of no length, and workloads that take no time to prepare."""
    monkeypatch.setattr(comparison, "SECONDS", 0.0)
    monkeypatch.setattr(cpu, "OPERATION_SECONDS", 0.0)
    seen = []

    def prepared(workload):
        return Comparison({OURS: lambda: seen.append(get_threads()), "torch": lambda: None}, 1e-6)

    monkeypatch.setattr(steps, "comparison", prepared)
    monkeypatch.setattr(
        kmeans, "WORKLOADS", {"kmeans-small": SampleSet(500, 4, 3, groups=3, noise=0.6)}
    )
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    for name, value in {"SIDE": 8, "ITEMS": 1, "SIZES": (), "CALL": 1, "SECONDS": 0.0}.items():
        monkeypatch.setattr(peak, name, value)
    monkeypatch.setattr(peak, "memory_size", lambda: 1 << 16)
    return seen


def test_rows_are_printed_and_written(instant, tmp_path, capsys):
    path = tmp_path / "rows.json"
    assert main(["step", "--quick", "--quiet", "--json", str(path)]) == 0
    value = json.loads(path.read_text())
    rows = [row for row in value["rows"] if not is_ceiling(row["workload"])]
    assert [(row["workload"], row["threads"]) for row in rows] == [
        (workload, threads)
        for workload in ("step-cae-28", "step-cae-16", "step-dense")
        for threads in sorted({1, MOST})
    ]
    assert set(instant) == {1, MOST}
    shown = capsys.readouterr()
    assert "torch is not installed" in shown.err
    assert all(row["workload"] in shown.out for row in rows)
    assert {"governor", "mhz", "model", "load"} <= value["machine"].keys()
    assert "governor" in shown.err


def test_parts_threads_and_vectors(instant, monkeypatch, tmp_path, capsys):
    path = tmp_path / "rows.json"
    with vectors(getattr(get_vectors(), "name", "none")):  # what is forced ends with the block
        arguments = ["kmeans", "operations", "--threads", "1", "--vectors", "none", "--json"]
        arguments += [str(path), "--quick", "--quiet", "-k", "^(kmeans|leaky_relu-)"]
        assert main(arguments) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["workload"] for row in rows] == [
        "gflop-sgemm", "kmeans-small", "leaky_relu-14x14x32-blocked"  # the ceilings once
    ]  # fmt: skip
    assert set(rows[1]["peers"]) == {"sklearn-lloyd", "sklearn-elkan"}
    assert "vectors none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stepp"], "argument PART: 'stepp' is not one of step, norms, augmented, kmeans,"),
        (["--threads", "0"], f"argument --threads: 0 is not between 1 and {MOST}"),
        (["--threads", "many"], "argument --threads: many is not"),
        (["--json", "/dev/null/x.json"], "argument --json: /dev/null/x.json"),
        (["--vectors", "mmx"], "argument --vectors: invalid choice: 'mmx'"),
        (["-k", "("], "argument -k: '(' is no regular expression"),
        (["--stride", "x"], "argument --stride: 'x' is not like"),
        (["--padding", "full"], "argument --padding: 'full' is not same, valid, or like 1x2"),
        (["--fail-above", "0.5"], "argument --fail-above: 0.5 is not a ratio ≥ 1"),
        (["--fail-above", "2"], "argument --fail-above: is for --compare"),
        (["--load", "absent.py"], "argument --load: absent.py is not a Python file"),
        (["step", "--shape", "conv2"], "argument PART: --rung, --shape, --dtype and what goes"),
        (["--tables", "-k", "dense"], "argument --tables: are of everything"),
        (["--tables", "--quick"], "argument --tables: is not for --quick"),
        (["norms", "--device", "cuda"], "argument PART: norms is not for a GPU"),
        (["rungs"], "argument PART: rungs is not for a CPU"),
        (["step", "--device", "cuda", "--shape", "conv2"], "argument PART: --rung, --shape"),
        (["--tables", "--device", "cuda"], "argument --tables: is for the CPU"),
    ],
)
def test_a_wrong_command_line_names_the_argument(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_tables_are_not_made_where_a_peer_is_slowed_down(monkeypatch, capsys):
    """OPENBLAS_CORETYPE=Haswell halves the speed of NumPy's products on AVX-512."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    with pytest.raises(SystemExit, match="2"):
        main(["kmeans", "--tables"])
    assert "--tables: unset OPENBLAS_CORETYPE=Haswell" in capsys.readouterr().err


@pytest.mark.slow
def test_tables_are_written(monkeypatch, tmp_path):
    for name in OTHER_KERNELS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    shutil.copytree(ROOT / results_page.RESULTS, tmp_path / results_page.RESULTS)
    for path in (results_page.README, results_page.KERNELS):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    assert main(["step", "norms", "--threads", "1", "--tables", "--quiet"]) == 0
    kept = results.read(ROOT)
    (here,) = [parts for parts in results.read(tmp_path) if parts not in kept]
    assert all("gflop-sgemm" in {r.workload for r in here[part].rows} for part in ("step", "norms"))
    name = short_name(here["step"].machine)
    others = [o for o in kept if short_name(next(iter(o.values())).machine) != name]
    found = results.read(tmp_path)
    assert [o for o in found if o != here] == others  # of other processors nothing changes
    row = next(r for r in here["step"].rows if r.workload == "step-dense")
    page = (tmp_path / results_page.PAGE).read_text("utf-8")
    begins = ("| workload | threads | target |", "| training step, dense, 28×28 | 1 | ≥ 1.3× |")
    header, cells = (
        next(line for line in page.splitlines() if line.startswith(begin)).split(" | ")
        for begin in begins
    )
    column = [cell.strip(" |") for cell in header].index(name)
    assert cells[column].startswith(f"{milliseconds(row.ours_ms)} ms")


def test_ctrl_c_shows_and_keeps_the_rows_up_to_there(monkeypatch, tmp_path, capsys):
    right = steps.comparison

    def interrupted(workload):
        if workload == "step-dense":
            raise KeyboardInterrupt
        return right(workload)

    monkeypatch.setattr(steps, "comparison", interrupted)
    path = tmp_path / "rows.json"
    assert main(["step", "--quick", "--threads", "1", "--quiet", "--json", str(path)]) == 130
    rows = [row["workload"] for row in json.loads(path.read_text())["rows"]]
    assert rows[-2:] == ["step-cae-28", "step-cae-16"]
    shown = capsys.readouterr()
    assert "interrupted" in shown.err
    assert "step-cae-16" in shown.out
    assert "step-dense" not in shown.out


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "run.py step kmeans --threads 1 --json rows.json" in capsys.readouterr().out


def test_a_pattern_chooses_among_all_parts(capsys):
    assert main(["-k", "^step-dense$", "--quick", "--quiet", "--threads", "1"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [n for n in names[1:] if n.startswith(("step", "kmeans", "start"))] == ["step-dense"]
    assert main(["-k", "no such workload", "--quiet"]) == 1
    assert "nothing is chosen by -k no such workload" in capsys.readouterr().err
