"""The two-sided verdict: thresholds that share a rate, reasons, the order of images, old runs."""

import csv
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from l2ae_core import commands
from l2ae_core.anomaly import allowed_outside, threshold_at_fpr, threshold_below
from l2ae_core.cli import main
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import load
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.verdict import Thresholds, error_quantile
from l2ae_kernels.arrays import Array


def scores(n: int = 400, seed: int = 0) -> tuple[Array, Array]:
    """v and errors of n images that go together a little, as they do in runs."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    return 1 - 0.3 * hard * rng.random(n), 5 + 10 * hard + 10 * rng.random(n)


# --- thresholds


@pytest.mark.parametrize("fpr", [0.0, 0.0025, 0.01, 0.05, 0.25, 0.29, 0.6, 0.99])
@pytest.mark.parametrize("kind", ["apart", "opposite", "the same", "float32"])
def test_as_many_images_lie_outside_as_the_rate_allows(fpr: float, kind: str) -> None:
    v, error = scores()
    error = {"opposite": 20 * v, "the same": 20 * (1 - v)}.get(kind, error)
    v = v.astype(np.float32) if kind == "float32" else v
    found = Thresholds.at_fpr(v, error, fpr)
    assert found.anomalous(v, error).sum() == int(fpr * 400 + 1e-9)
    assert found.normality is not None
    assert found.error is not None
    far, unreconstructed = (v < found.normality).sum(), (error > found.error).sum()
    assert far - unreconstructed in (-1, 0, 1)


@pytest.mark.parametrize("fpr", [0.0, 0.05, 0.3, 0.8])
def test_with_ties_fewer_lie_outside_never_more(fpr: float) -> None:
    rng = np.random.default_rng(0)
    v, error = rng.integers(5, size=200) / 5, rng.integers(7, size=200).astype(float)
    for pair in ((v, error), (np.ones(200), error), (v, np.zeros(200)), (np.ones(9), np.ones(9))):
        assert Thresholds.at_fpr(*pair, fpr).anomalous(*pair).mean() <= fpr


def test_one_side_alone_has_the_whole_rate() -> None:
    v, error = scores()
    far = Thresholds.at_fpr(v, None, 0.05, "cosine")
    assert far == Thresholds(threshold_at_fpr(v, 0.05), None)
    unreconstructed = Thresholds.at_fpr(v, error, 0.05, "error")
    assert unreconstructed == Thresholds(None, -threshold_at_fpr(-error, 0.05))
    np.testing.assert_array_equal(
        np.flatnonzero(unreconstructed.anomalous(v, error)), np.sort(error.argsort()[-20:])
    )


def test_thresholds_and_reasons_by_hand() -> None:
    v = np.array([0.9, 0.2, 0.8, 0.7, 0.6])
    error = np.array([1.0, 2.0, 3.0, 9.0, 4.0])
    found = Thresholds.at_fpr(v, error, 0.4)
    assert found.normality == pytest.approx(0.4)  # between 0.2 and 0.6
    assert found.error == pytest.approx(6.5)  # between 4 and 9
    new_v, new_error = np.array([0.9, 0.1, 0.9, 0.1]), np.array([1.0, 1.0, 7.0, 7.0])
    expected = ["", "far from every cluster", "not reconstructed", "both"]
    assert found.reasons(new_v, new_error).tolist() == expected
    np.testing.assert_allclose(
        found.margin(new_v, new_error), [0.5 / 0.6, -0.5, -0.5 / 6.5, -0.5], atol=1e-12
    )
    assert Thresholds(0.4, None).reasons(new_v, new_error).tolist() == [
        "", "far from every cluster", "", "far from every cluster",
    ]  # fmt: skip


@pytest.mark.parametrize("criterion", ["both", "cosine", "error"])
def test_the_margin_is_negative_where_an_image_is_anomalous(criterion: str) -> None:
    v, error = scores()
    found = Thresholds.at_fpr(v, error, 0.1, criterion)
    edge = [x for x in (found.normality, found.error) if x is not None]
    at = np.array([*edge, *np.nextafter(edge, -np.inf), *np.nextafter(edge, np.inf), 1.0, -1.0])
    v, error = np.append(v, at), np.append(error, at[::-1])
    np.testing.assert_array_equal(found.margin(v, error) < 0, found.anomalous(v, error))


def every_level(a: Array, b: Array, allowed: int) -> Thresholds:
    """Thresholds by their definition: all levels, and images as low as each, counted one by one."""
    tails = [(x[None, :] <= x[:, None]).sum(axis=1) for x in (a, b)]

    def outside(low: int, high: int) -> int:
        return int(((tails[0] <= low) | (tails[1] <= high)).sum())

    level = max(n for n in range(len(a)) if outside(n, n) <= allowed)
    pairs = ((level + 1, level), (level, level + 1), (level, level))
    low, high = next(pair for pair in pairs if outside(*pair) <= allowed)
    return Thresholds(threshold_below("a", a, low), -threshold_below("b", b, high))


@pytest.mark.parametrize("kinds", [1, 2, 3, 9, 1000])
def test_thresholds_are_those_of_the_definition(kinds: int) -> None:
    rng = np.random.default_rng(kinds)
    for n in (1, 2, 3, 5, 17, 40):
        for fpr in (0.0, 0.04, 0.05, 0.2, 0.5, 0.75, 0.99):
            a, b = rng.integers(kinds, size=(2, n)) / kinds
            for pair in ((a, b), (a, a), (a, 1 - a), (np.sort(a), np.sort(b))):
                v, minus = pair[0].astype(np.float32), pair[1]
                allowed = allowed_outside("fpr", fpr, n)
                found = Thresholds.at_fpr(v, -minus, fpr)
                assert found == every_level(v, minus, allowed), (n, fpr, *pair)


def test_thresholds_of_many_images_take_the_memory_of_few_arrays() -> None:
    N = 1_000_000
    v, error = np.random.default_rng(0).random((2, N))
    tracemalloc.start()
    try:
        found = Thresholds.at_fpr(v, error, 0.05)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.anomalous(v, error).sum() == N // 20
    assert peak < 25 * N, f"{peak / N:.0f} bytes an image"
    np.testing.assert_allclose(error_quantile(error, error), error, atol=0.01)


def test_errors_of_thresholds() -> None:
    v, error = scores()
    for arguments, message in (
        ((v, error, 1.0), "fpr is 1.0"),
        ((v, error, float("nan")), "fpr is nan"),
        ((v, error[1:], 0.1), "normality is .400,. but errors are .399,."),
        ((v, error * np.nan, 0.1), "expected finite"),
        ((v * np.inf, error, 0.1), "expected finite"),
        ((v[:0], error[:0], 0.1), "scores are .0,. but expected finite"),
        ((v, error, 0.1, "either"), "criterion is 'either' but expected one of"),
    ):
        with pytest.raises(ValueError, match=message):
            Thresholds.at_fpr(*arguments)


def test_the_quantile_of_an_error_counts_smaller_ones() -> None:
    found = error_quantile(np.array([0.0, 1.0, 1.5, 2.0, 9.0]), np.array([1.0, 1.0, 2.0, 4.0]))
    np.testing.assert_array_equal(found, [0, 0, 0.5, 0.5, 1])


# --- a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "digits"
    options = ["--epochs", "40", "--n-init", "2", "--quiet", "--out", str(out)]
    assert main(["fit", "--data", "digits", *options]) == 0
    return out


@pytest.fixture
def old_run(run: Path, tmp_path: Path) -> Path:
    """The same before reconstruction errors were kept."""
    out = shutil.copytree(run, tmp_path / "old")
    saved = SavedClusters.load(out)
    SavedClusters(saved.centers, saved.normality, saved.inertia).save(out)
    return out


def scored(run: Path, images: Array, tmp_path: Path, **how) -> tuple[dict[str, Array], dict]:
    np.save(tmp_path / "x.npy", images)
    return commands.score(run, str(tmp_path / "x.npy"), progress=False, **how)


@pytest.mark.slow
def test_noise_inverted_and_black_images_are_anomalous(run, tmp_path):
    """Over eight seeds, with 30 epochs: error at least 1.8 times ε for noise, 5.5 for inverted
    images; v of black at least 0.47 (1 − τ) below τ, and error mostly below ε."""
    digits = load("digits").images
    noise = np.random.default_rng(0).random((500, 8, 8, 1), np.float32)
    for images in (noise, 1 - digits):
        found = scored(run, images, tmp_path)[0]
        assert found["anomalous"].all()
        assert set(found["reason"]) <= {"not reconstructed", "both"}
        assert found["error_quantile"].min() > 0.95
    black = scored(run, np.zeros((1, 8, 8, 1), np.float32), tmp_path)[0]
    assert black["reason"][0] in {"far from every cluster", "both"}
    by_cosine = scored(run, noise, tmp_path, criterion="cosine")[0]
    assert not by_cosine["anomalous"].all()


def test_the_training_images_are_within_the_rate_by_what_the_run_keeps(run):
    for fpr in (0.01, 0.05, 0.2):
        columns, result = commands.score(run, "digits", fpr=fpr, progress=False)
        assert columns["anomalous"].sum() == result["anomalous"] == int(fpr * 1797)
        assert sum(result["reasons"].values()) == result["anomalous"]
        reasons = {name: (columns["reason"] == name).sum() for name in result["reasons"]}
        assert reasons == result["reasons"]
        far = columns["normality"].astype(float) < result["threshold"]
        unreconstructed = columns["reconstruction_error"] > result["error_threshold"]
        np.testing.assert_array_equal(columns["anomalous"], far | unreconstructed)
        np.testing.assert_array_equal(columns["reason"] == "both", far & unreconstructed)


def test_errors_are_kept_with_their_images(run):
    columns, _ = commands.score(run, "digits", progress=False)
    saved = SavedClusters.load(run)
    assert saved.errors is not None
    assert saved.errors.dtype == np.float64
    order = np.argsort(columns["normality"], kind="stable")
    np.testing.assert_array_equal(saved.normality, columns["normality"][order])
    np.testing.assert_array_equal(saved.errors, columns["reconstruction_error"][order])
    np.testing.assert_allclose(
        columns["error_quantile"], np.argsort(np.argsort(columns["reconstruction_error"])) / 1797
    )


def test_the_top_are_the_least_normal_first(run, tmp_path, capsys):
    rng = np.random.default_rng(0)
    images = np.concatenate([load("digits").images[:60], rng.random((3, 8, 8, 1), np.float32)])
    whole, result = scored(run, images, tmp_path)
    columns, short = scored(run, images, tmp_path, top=5)
    assert {**short, "top": None} == {**result, "top": None}
    assert columns["rank"].tolist() == [1, 2, 3, 4, 5]
    assert set(columns["index"][:3]) == {60, 61, 62}
    for name in whole:
        np.testing.assert_array_equal(columns[name], whole[name][columns["index"]])
    limits = Thresholds(result["threshold"], result["error_threshold"])
    margin = limits.margin(whole["normality"], whole["reconstruction_error"])
    np.testing.assert_array_equal(columns["index"], np.argsort(margin, kind="stable")[:5])
    every = scored(run, images, tmp_path, top=1000)[0]
    assert sorted(every["index"]) == list(range(63))
    assert (np.diff(every["anomalous"]) <= 0).all()  # anomalous ones come first
    by_cosine = scored(run, images, tmp_path, top=63, criterion="cosine")[0]
    assert (np.diff(by_cosine["normality"]) >= 0).all()
    call = ["score", str(run), "--data", str(tmp_path / "x.npy"), "--top", "5", "--quiet"]
    assert main([*call, "--out", str(tmp_path / "new" / "top.csv")]) == 0
    with (tmp_path / "new" / "top.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == columns["index"].tolist()
    assert f"{result['anomalous']} of 63 images are anomalous" in capsys.readouterr().err


def test_an_older_run_is_judged_by_v_alone_and_says_so(old_run, run, capsys):
    columns, result = commands.score(old_run, "digits", progress=False)
    assert "error_quantile" not in columns
    assert result["error_threshold"] is None
    plain, _ = commands.score(run, "digits", criterion="cosine", progress=False)
    np.testing.assert_array_equal(columns["anomalous"], plain["anomalous"])
    assert main(["score", str(old_run), "--data", "digits", "--quiet"]) == 0
    resume = f"l2ae fit --resume --out {old_run}"
    assert resume in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="criterion is 'both'"):
        commands.score(old_run, "digits", criterion="both", progress=False)
    assert main([*resume.split()[1:], "--quiet"]) == 0
    found, _ = commands.score(old_run, "digits", progress=False)
    expected, _ = commands.score(run, "digits", progress=False)
    np.testing.assert_array_equal(found["anomalous"], expected["anomalous"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: {"errors": s.errors - 1e3}, "≥ 0"),
        (lambda s: {"errors": s.errors[1:]}, "1797 numbers"),
    ],
)
def test_damaged_errors_of_a_run_are_refused(damage, message, run, tmp_path):
    saved = SavedClusters.load(run)
    SavedClusters(**{**vars(saved), **damage(saved)}).save(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        SavedClusters.load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top", "0"], "top is 0 but expected an integer ≥ 1"),
        (["--fpr", "1"], "fpr is 1.0"),
        (["--out", "x.parquet"], "out: x.parquet ends in '.parquet' but expected .csv or .npy"),
    ],
)
def test_errors_of_score_are_said_before_the_work(
    arguments, message, run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("l2ae_core.networks.AutoEncoder.encode", None)
    assert main(["score", str(run), "--data", "digits", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
