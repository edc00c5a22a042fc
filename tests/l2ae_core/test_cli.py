"""The command line as a user meets it: files, messages, exit status."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core import commands, method
from l2ae_core.anomaly import ROUNDING
from l2ae_core.cli import main
from l2ae_core.commands import load_fitted, score
from l2ae_core.data import load
from l2ae_core.locks import locked
from l2ae_core.settings import DEFAULTS
from l2ae_kernels import ops

COMMON = ["--quiet", "--batch-size", "16", "--n-init", "2", "--clusters", "3"]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """48 images of three kinds, with labels."""
    rng = np.random.default_rng(0)
    y = np.arange(48) % 3
    x = rng.random((48, 8, 8)) * 0.2
    for kind in range(3):
        x[y == kind, :, kind * 3 : kind * 3 + 2] += 0.8
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture(scope="module")
def run(images, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["fit", "--data", str(images), "--epochs", "3", "--out", str(out), *COMMON]) == 0
    return out


def table(path: Path) -> np.ndarray:
    return np.genfromtxt(path, delimiter=",", names=True)


def test_fit_leaves_a_run(run):
    names = {p.name for p in run.iterdir()}
    assert names == {"config.json", "history.jsonl", "checkpoint.npz", "clusters.npz",
                     "gallery.npz", "metrics.json"}  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["epochs"] == 3
    assert metrics["images"] == 48
    for which in ("best", "last"):
        assert 0 < metrics[which]["acc"] <= 1
        assert metrics[which]["chance"]["acc"] >= 1 / 3


def test_chance_of_fit_is_that_of_cluster(run, images, capsys):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["best"]["chance"] == metrics["last"]["chance"]  # the same labels and numbers
    _, scores = commands.cluster(run, str(images), progress=False)
    assert scores["chance"] == metrics["best"]["chance"]


def test_one_is_no_plural(tmp_path, capsys, monkeypatch):
    """One image of each thing, one epoch, one file: "1 image", not "1 images"."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for i in range(2):
        x = np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(x).save(f"photos/{i}.png")
    Path("bad").mkdir()
    Path("bad/1.png").write_bytes(b"")
    fit = ["fit", "--data", "photos", "--epochs", "1", "--clusters", "1", "--n-init", "1",
           "--model", "dense", "--hidden", "8", "--out", "run"]  # fmt: skip
    label = ["fit", "--resume", "--self-label", "--rounds", "1", "--out", "run"]
    one = ["--data", "photos/0.png"]
    for command, status in (
        (fit, 0), (label, 0), (["score", "run", *one, "--fpr", "0.5"], 0),
        (["cluster", "run", *one, "--copy-to", "sorted"], 0), (["report", "run"], 0),
        (["pack", "photos/0.png", "one.npy"], 0), (["look", "photos/0.png"], 0),
        (["look", "bad"], 0), (["fit", "--data", "bad", "--skip-unreadable", "--out", "none"], 1),
        (["fit", "--data", "photos/0.png", "--clusters", "2", "--out", "none"], 1),
        (["fit", "--resume", "--epochs", "3", "--data", "bad", "--out", "run"], 1),
    ):  # fmt: skip
        assert main(command) == status, command
    told = [*capsys.readouterr(), Path("run/report.html").read_text("utf-8")]
    for text in told:
        visible = re.sub(r"<style.*?</style>|<svg.*?</svg>", "", text, flags=re.DOTALL)
        wrong = re.findall(r"(?<![\d.,])1 (?!pixels)[a-z]+s\b[^<\n]{0,30}", visible)
        wrong += re.findall(r"(?<![\d.,])1 [a-z]+ are\b", visible)
        assert [w for w in wrong if not w.startswith(("1 is ", "1 was "))] == []


def test_cluster_writes_the_same_labels_to_every_kind_of_file(run, images, tmp_path, capsys):
    assert main(["cluster", str(run), "--data", str(images), "--out", str(tmp_path / "c.csv")]) == 0
    assert main(["cluster", str(run), "--data", str(images), "--out", str(tmp_path / "c.npy")]) == 0
    shown = capsys.readouterr()
    assert "48 images, ACC" in shown.err
    assert "chance" in shown.err
    from_csv, from_npy = table(tmp_path / "c.csv"), np.load(tmp_path / "c.npy")
    assert from_npy.dtype.names == ("index", "cluster", "label")
    for name in from_npy.dtype.names:
        np.testing.assert_array_equal(from_csv[name], from_npy[name])
    assert main(["cluster", str(run), "--data", str(images)]) == 0
    assert capsys.readouterr().out == (tmp_path / "c.csv").read_text()


def test_images_of_a_folder_keep_the_names_of_their_files(run, images, tmp_path):
    names = ["b, a.png", "c.png", "sub/a.png"]
    for name, x in zip(names, load(images).images, strict=False):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * x[..., 0] / x.max()).astype(np.uint8)).save(path)
    for command in ("cluster", "score"):
        out = tmp_path / f"{command}.npy"
        call = [command, str(run), "--data", str(tmp_path / "photos"), "--out"]
        assert main([*call, str(out)]) == 0
        assert np.load(out)["file"].tolist() == names
        assert main([*call, str(out.with_suffix(".csv"))]) == 0
        with out.with_suffix(".csv").open(newline="") as file:
            assert [row["file"] for row in csv.DictReader(file)] == names


def test_clusters_of_the_training_images_are_those_of_fit(run, images, capsys):
    assert main(["cluster", str(run), "--data", str(images)]) == 0
    accuracy = json.loads((run / "metrics.json").read_text())["best"]["acc"]
    assert f"ACC {accuracy:.4f}" in capsys.readouterr().err


@pytest.mark.parametrize("weights", ["best", "last"])
def test_clusters_belong_to_the_weights_that_are_asked_for(weights, images, tmp_path):
    """Steps so large that the last epoch is not the best one."""
    out = tmp_path / "run"
    options = ["--epochs", "8", "--learning-rate", "0.1", "--weights", weights]
    assert main(["fit", "--data", str(images), *options, "--out", str(out), *COMMON]) == 0
    losses = [json.loads(line)["loss"] for line in (out / "history.jsonl").read_text().splitlines()]
    assert losses[-1] > min(losses)
    fitted = load_fitted(out)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["best"]["inertia"] != metrics["last"]["inertia"]
    u = fitted.model.encode(load(images).images)
    _, squared = ops.assign(u, fitted.clusters.centers)
    np.testing.assert_allclose(squared.sum(), metrics[weights]["inertia"], rtol=1e-4)


def test_score_flags_the_wanted_share_of_the_training_images(run, images, tmp_path, capsys):
    out = tmp_path / "s.csv"
    assert main(["score", str(run), "--data", str(images), "--fpr", "0.25", "--out", str(out)]) == 0
    scores = table(out)
    assert scores["anomalous"].sum() == 12
    assert np.all(np.abs(scores["normality"]) <= 1 + 1e-6)
    assert "12 of 48 images are anomalous" in capsys.readouterr().err
    call = ["score", str(run), "--data", str(images), "--fpr", "0.25", "--criterion", "cosine"]
    assert main([*call, "--out", str(out)]) == 0
    scores = table(out)
    flagged = scores["anomalous"] == 1
    assert flagged.sum() == 12
    assert scores["normality"][flagged].max() < scores["normality"][~flagged].min()


def test_an_image_alone_and_in_company_is_on_the_same_side(tmp_path):
    """Where the scores on both sides of τ differ by more than rounding."""
    digits = load("digits").images
    np.save(tmp_path / "all.npy", digits)
    options = ["--epochs", "1", "--n-init", "1", "--quiet", "--out", str(tmp_path / "run")]
    assert main(["fit", "--data", str(tmp_path / "all.npy"), *options]) == 0
    compared = 0
    for fpr in (0.001, 0.002, 0.003, 0.005, 0.01, 0.02):
        how = {"fpr": fpr, "criterion": "cosine"}
        whole, result = score(tmp_path / "run", str(tmp_path / "all.npy"), **how)
        tau, v = result["threshold"], whole["normality"].astype(float)
        above, below = np.where(v > tau, v, 2).argmin(), np.where(v < tau, v, -2).argmax()
        assert v[below] < tau < v[above]
        assert (v <= v[below]).mean() <= fpr < (v <= v[above]).mean()
        if v[above] - v[below] > 2 * ROUNDING:
            assert tau == pytest.approx((v[above] + v[below]) / 2, abs=1e-12)
            for k in (above, below):
                np.save(tmp_path / "one.npy", digits[k : k + 1])
                alone, _ = score(tmp_path / "run", str(tmp_path / "one.npy"), **how)
                assert alone["anomalous"][0] == whole["anomalous"][k]
            compared += 1
    assert compared >= 2


def test_resume_with_more_epochs_ends_as_one_long_run(images, tmp_path):
    start = ["fit", "--data", str(images), *COMMON]
    assert main([*start, "--epochs", "4", "--out", str(tmp_path / "long")]) == 0
    assert main([*start, "--epochs", "2", "--out", str(tmp_path / "short")]) == 0
    resume = ["fit", "--resume", "--epochs", "4", "--out", str(tmp_path / "short"), "--quiet"]
    assert main(resume) == 0
    for name in ("checkpoint.npz", "clusters.npz"):
        long, short = (np.load(tmp_path / run / name) for run in ("long", "short"))
        with long, short:
            assert long.files == short.files
            for key in set(long.files) - {"history"}:  # it holds seconds
                np.testing.assert_array_equal(long[key], short[key])


def test_a_run_in_training_is_read_but_not_trained_by_another(run, images, tmp_path, capsys):
    """Its metrics are not there yet, and the last line of its history is not whole."""
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "metrics.json").unlink()
    with (copy / "history.jsonl").open("a") as history:
        history.write('{"epoch": 4, "lo')
    with ThreadPoolExecutor(1) as other:
        lock = locked(copy)
        other.submit(lock.__enter__).result(timeout=20)
        for read in (["report", str(copy)], ["cluster", str(copy), "--data", str(images)]):
            assert main(read) == 0
        capsys.readouterr()
        assert main(["fit", "--resume", "--out", str(copy), "--quiet"]) == 1
        assert f"l2ae: error: {copy}: in use by process" in capsys.readouterr().err
        other.submit(lock.__exit__, None, None, None).result(timeout=20)
    assert main(["fit", "--resume", "--out", str(copy), "--quiet"]) == 0
    assert (copy / "history.jsonl").read_text() == (run / "history.jsonl").read_text()


@pytest.mark.parametrize("module", [commands.begin, method])
def test_a_run_is_locked_from_its_settings_to_its_clusters(module, images, tmp_path, monkeypatch):
    """Another resume between any two of them would take the files apart."""
    options = ["--epochs", "1", "--out", str(tmp_path), *COMMON]
    assert main(["fit", "--data", str(images), *options]) == 0
    name = {commands.begin: "run_settings", method: "kmeans"}[module]
    tried, plain = [], getattr(module, name)

    def watched(*arguments, **keywords):
        with ThreadPoolExecutor(1) as other:
            tried.append(other.submit(locked(tmp_path).__enter__).exception(timeout=20))
        return plain(*arguments, **keywords)

    monkeypatch.setattr(module, name, watched)
    assert main(["fit", "--resume", "--out", str(tmp_path), "--quiet"]) == 0
    assert type(tried[-1]) is BlockingIOError


def test_ctrl_c_says_how_to_go_on(images, tmp_path):
    out = tmp_path / "run"
    options = ["--epochs", "100000", "--checkpoint-every", "1", "--out", str(out), *COMMON]
    command = [sys.executable, "-m", "l2ae_core", "fit", "--data", str(images), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (out / "checkpoint.npz").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        message = process.stderr.read()
        assert process.wait() == 130
    assert "resume" in message
    assert "Traceback" not in message


def test_every_setting_is_an_option_of_fit(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    shown = capsys.readouterr().out
    for name in DEFAULTS.keys() - {"labels"} | {"no_labels"}:
        assert re.search(rf"^  --{name.replace('_', '-')}\b", shown, re.MULTILINE), name
