"""Every system, for a short while, on the digits; and what its scores are."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from l2ae_core import data, method
from l2ae_core.anomaly import auc
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.clustering.metrics import clustering_scores
from l2ae_core.networks import AutoEncoder
from l2ae_core.paper import SYSTEMS, Result, Run, protocols
from l2ae_core.paper.methods import CLUSTER, SCORE, network, pixels, refined, self_labelled
from l2ae_core.paper.methods.network import cluster_scores
from l2ae_core.paper.published import TABLES
from l2ae_core.paper.result import ClusteringDetails, DetectionDetails
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.schedule import run_missing
from l2ae_core.refinement.self_labelling import WIDE
from l2ae_core.seeding import rngs
from l2ae_core.training.history import History
from l2ae_core.training.run import load_run

Do = Callable[[str, str], Result]
TASKS = {"clustering": CLUSTER, "detection": SCORE}
ITERATIONS = 2  # of a refinement
ROUNDS = 2  # of a self-labelling
DIGIT = 6
NORMALIZED = ("cae-bn-all-affine", "cae-ln")  # both norms, both places, γ and β or not
OTHER_STARTS = ("dec-l2", "idec", "dcec")  # each variant every day from one of its starts
TESTED_ALONE = ("ae", "ae-clean", "gmvae")  # ae is ae-l2 without its layer; gmvae: baselines


def answering(task: str) -> list[Any]:
    """Systems with an answer to a task.

    Slow are those that no table asks for, and those that are others with one setting changed, or
    with the start of another.
    """
    asked = {c.system for t in TABLES.values() for c in t.columns if t.task == task}
    every_day = {
        s for s in asked
        if not s.startswith(("cae-bn", "cae-ln", "cae-l2-warp-self-"))
        and not s.endswith("-keras-slope") and s not in OTHER_STARTS + TESTED_ALONE
    } | set(NORMALIZED)  # fmt: skip
    systems = [s for s, v in SYSTEMS.items() if v.method in TASKS[task]]
    return [s if s in every_day else pytest.param(s, marks=pytest.mark.slow) for s in systems]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ResultsDir:
    """One for all: what a system goes on from is trained once."""
    return ResultsDir(tmp_path_factory.mktemp("results"))


def run_of(task: Any, system: str) -> Run:
    digit = DIGIT if task == "detection" else None
    return Run(task, system, "digits", 1, int(SYSTEMS[system].trained), digit, 600, 2)


@pytest.fixture
def do(folder: ResultsDir, monkeypatch: pytest.MonkeyPatch) -> Do:
    """A function that does a run of a task and system, or reads it."""
    plain, beyond, chance = refined.settings, self_labelled.settings, protocols.chance_scores
    monkeypatch.setattr(refined, "settings", lambda run: replace(plain(run), max_iter=ITERATIONS))
    monkeypatch.setattr(self_labelled, "settings", lambda run: replace(beyond(run), rounds=ROUNDS))
    monkeypatch.setattr(protocols, "chance_scores", partial(chance, repeats=4))
    return lambda task, system: run_missing([run_of(task, system)], folder, progress=False)[0]


@pytest.mark.parametrize("system", answering("clustering"))
def test_a_system_clusters(system: str, do: Do) -> None:
    found = do("clustering", system)
    columns = [c for t in TABLES.values() for c in t.columns if t.task == "clustering"]
    read = {c.score for c in columns if c.system == system}
    for name in read | {"acc", "nmi", "ari"}:
        score = found.scores.get(name)
        assert score is not None, name
        assert -0.5 <= score <= 1
    assert isinstance(found.details, ClusteringDetails)
    assert found.details.images == 1797
    counts = np.array(found.details.confusion)
    assert counts.sum() == 1797
    counted = counts[linear_sum_assignment(counts, maximize=True)].sum()
    assert counted / 1797 == pytest.approx(found.scores["acc"])
    assert 0.1 < found.chance["acc"] < 0.15
    assert all(0.05 < found.chance[name] < 0.15 for name in read & {"many_to_one"})
    assert (found.seconds.training > 0) == SYSTEMS[system].trained


@pytest.mark.parametrize("system", answering("detection"))
def test_a_system_detects(system: str, do: Do) -> None:
    found = do("detection", system)
    columns = [c for t in TABLES.values() for c in t.columns if t.task == "detection"]
    for name in {c.score for c in columns if c.system == system}:
        for measure in ("auc", "auprc"):
            score = found.scores.get(f"{name}.{measure}")
            assert score is not None, name
            assert 0 <= score <= 1
    assert isinstance(found.details, DetectionDetails)
    assert found.details.anomalies.train == (0 if SYSTEMS[system].normals_only else 14)
    assert [*found.details.roc.tpr] == found.detectors


@pytest.mark.parametrize(
    ("task", "system"),
    [(t, s) for t, table in TASKS.items() for s, v in SYSTEMS.items() if v.method not in table],
)
def test_a_system_without_an_answer_is_named(task: str, system: str, folder: ResultsDir) -> None:
    before = set(folder.path.iterdir())
    with pytest.raises(ValueError, match=f"{system} does no {task}"):
        run_missing([run_of(task, system)], folder, progress=False)
    assert set(folder.path.iterdir()) == before


def test_after_is_k_means_on_the_directions(folder: ResultsDir, do: Do) -> None:
    found, images = do("clustering", "cae"), data.load("digits")
    z = load_run(folder.training(run_of("clustering", "cae")))[0].encode(images.images)
    for codes, name in ((z / np.linalg.norm(z, axis=1, keepdims=True), "post_hoc_l2."), (z, "")):
        labels = kmeans(codes, 10, n_init=2, rng=rngs(1).kmeans).labels
        expected = clustering_scores(images.labels, labels)
        scores = {k: found.scores[f"{name}{k}"] for k in expected}
        assert scores == pytest.approx(expected, abs=2e-3)
    assert found.scores["post_hoc_l2.acc"] != found.scores["acc"]
    assert "post_hoc_l2.acc" not in do("clustering", "cae-l2").scores


def test_best_and_last_weights_are_told_apart(
    tmp_path: Path, patch_step: Callable[[Any], None]
) -> None:
    """Made-up losses that rise, so that the first of two epochs is the best."""
    losses = count()
    patch_step(lambda step, x: float(next(losses)) + 0 * step(x))
    run, folder = replace(run_of("clustering", "cae-l2"), epochs=2), ResultsDir(tmp_path)
    (found,) = run_missing([run], folder, progress=False)
    assert found.details.best_epoch == 1
    images = data.load("digits")
    for which, name in (("best", ""), ("last", "last.")):
        u = load_run(folder.training(run), which)[0].encode(images.images)
        labels = kmeans(u, 10, n_init=2, rng=rngs(1).kmeans).labels
        expected = clustering_scores(images.labels, labels)
        assert {k: found.scores[f"{name}{k}"] for k in expected} == expected
    assert found.scores["last.acc"] != found.scores["acc"]


def every_day(rows: list[tuple[Any, ...]]) -> list[Any]:
    """Rows, those slow whose first entry is a system that is slow."""
    usual = answering("clustering")
    return [r if r[0] in usual else pytest.param(*r, marks=pytest.mark.slow) for r in rows]


@pytest.mark.parametrize(
    ("system", "start"),
    every_day([
        ("dec", "ae"), ("idec", "ae"), ("dcec", "cae"),
        ("dec-l2", "ae-l2"), ("idec-l2", "ae-l2"), ("dcec-l2", "cae-l2"),
    ]),
)  # fmt: skip
def test_a_refinement_starts_from_the_clusters_of_its_start(
    system: str, start: str, do: Do
) -> None:
    found, before = do("clustering", system), do("clustering", start)
    for name in ("acc", "nmi", "ari"):
        assert found.scores[f"start.{name}"] == before.scores[name]
    assert found.scores["iterations"] == ITERATIONS
    assert (found.details.settings or {})["method"] == system.removesuffix("-l2")


@pytest.mark.parametrize(
    ("system", "start", "expected"),
    every_day([
        ("cae-l2-warp-self", "cae-l2-warp", {"concentration": 5.0, "assignment": "spherical"}),
        ("cae-l2-warp-self-10", "cae-l2-warp", {"concentration": 10.0, "gamma": 0.1}),
        ("cae-l2-self", "cae-l2", {"warp": asdict(WIDE)}),
        ("cae-l2-warp-self-clean", "cae-l2-warp", {"warp": None}),
        ("cae-l2-warp-self-kl", "cae-l2-warp", {"gamma": None}),
        ("cae-l2-warp-self-student-10", "cae-l2-warp", {"assignment": "student", "scale": 10.0}),
        ("cae-warp-self-student", "cae-warp", {"assignment": "student", "scale": 1.0}),
    ]),
)  # fmt: skip
def test_a_self_labelling_starts_from_the_clusters_of_its_start(
    system: str, start: str, expected: dict[str, Any], do: Do
) -> None:
    found, before = do("clustering", system), do("clustering", start)
    for name in ("acc", "nmi", "ari"):
        assert found.scores[f"start.{name}"] == before.scores[name]
        assert 0 <= found.scores[f"argmax.{name}"] <= 1
    assert expected.items() <= (found.details.settings or {}).items()
    assert found.scores["rounds"] == ROUNDS == len(found.details.refinement or [])


def test_a_refinement_without_its_start_is_refused(tmp_path: Path, do: Do) -> None:
    do("clustering", "dcec-l2")
    run = run_of("clustering", "dcec-l2")
    with pytest.raises(
        ValueError, match="goes on from cae-l2 on digits, .*, seed 1, which is not fini"
    ):
        refined.cluster(run, ResultsDir(tmp_path), data.load("digits"), progress=False)


def test_small_clusters_have_no_center(folder: ResultsDir, do: Do) -> None:
    """Those that hold the last tenth of the training images, where clusters are many."""
    run = run_of("detection", "cae-l2-warp-large")
    found, images = do("detection", run.system), protocols.partition(run, folder)
    model = load_run(folder.training(replace(run, system="cae-l2-warp")))[0]
    train = model.encode(images.train.images)
    u = model.encode(images.test.images)  # other batches round otherwise: an image may change sides
    rng, scores, least = rngs(1).kmeans, defaultdict[str, list[Any]](list), 30
    for i in range(10):
        clustering = kmeans(train, 30, n_init=1, rng=rng)
        sizes = np.bincount(clustering.labels, minlength=30)
        by_size = np.argsort(-sizes, kind="stable")
        large = next(k for k in range(31) if sizes[by_size[:k]].sum() >= 0.9 * sizes.sum())
        least = min(least, large)
        cosine = cluster_scores(u, clustering.centers[by_size[:large]])["cosine"]
        scores[f"single_{i}"] = [cosine]
        scores["cosine"].append(cosine)
        scores["all"].append(cluster_scores(u, clustering.centers)["cosine"])
    assert least < 30
    for name, some in scores.items():
        expected = auc(images.anomalous, np.mean(some, axis=0))
        assert found.scores[f"{name}.auc"] == pytest.approx(expected, abs=2e-3)
    assert abs(found.scores["cosine.auc"] - found.scores["all.auc"]) > 1e-2
    assert "single_10.auc" not in found.scores


def test_networks_are_those_of_the_lowest_loss(
    folder: ResultsDir, do: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored = []
    monkeypatch.setattr(History, "restore_best", lambda h, model: restored.append(model))
    run = replace(run_of("detection", "drae"), seed=2)
    run_missing([run, replace(run, system="vae-2-gaussian")], folder, progress=False)
    assert len(restored) == 2


def test_a_reconstruction_score_is_the_error_of_the_networks_images(
    folder: ResultsDir, do: Do
) -> None:
    found, run = do("detection", "ae-clean"), run_of("detection", "ae-clean")
    images = protocols.partition(run, folder)
    model, _ = load_run(folder.training(run))
    x = images.test.images
    error = ((x - model.reconstruct(x)) ** 2).sum(axis=(1, 2, 3), dtype=np.float64)
    expected = protocols.auc(images.anomalous, error)
    assert found.scores["reconstruction.auc"] == pytest.approx(expected, abs=1e-3)


def test_controls_of_pixels_score_as_their_name_says(folder: ResultsDir) -> None:
    images = protocols.partition(run_of("detection", "pixels"), folder)
    x, train = (d.images.reshape(len(d), -1) for d in (images.test, images.train))
    far = np.sort(((x[:20, None] - train[None]) ** 2).sum(axis=2), axis=1)[:, 4] ** 0.5
    found = pixels.score_neighbours(run_of("detection", "neighbours"), folder, images, False)
    np.testing.assert_allclose(found.scores["distance"][:20], far, rtol=1e-3)
    found = pixels.score_pca(run_of("detection", "pca"), folder, images, False)
    basis = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)[2][:10]
    rest = x - train.mean(axis=0)
    error = ((rest - rest @ basis.T @ basis) ** 2).sum(axis=1)
    np.testing.assert_allclose(found.scores["reconstruction"], error, rtol=1e-3)


@pytest.mark.parametrize(
    ("task", "system", "calls"),
    [
        ("clustering", "cae-l2", {"load": 1, "build": 1, "kmeans": 1}),
        ("clustering", "cae", {"load": 1, "build": 1, "kmeans": 2}),  # and of z/|z|
        ("detection", "cae-l2", {"load": 2, "build": 1, "kmeans": 1}),  # train, test
    ],
)
def test_nothing_is_done_twice(
    task: str, system: str, calls: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = dict.fromkeys(calls, 0)

    def count(place: Any, name: str) -> None:
        plain = getattr(place, name)

        def counting(*arguments: Any, **how: Any) -> Any:
            counted[name] += 1
            return plain(*arguments, **how)

        monkeypatch.setattr(place, name, counting)

    for module in (method, network):
        count(module, "kmeans")
    count(data, "load")
    count(method, "build")
    decoded = []  # numbers of images
    decode = AutoEncoder.decode

    def counting_images(self: AutoEncoder, u: Any, *more: Any) -> Any:
        decoded.append(len(u))
        return decode(self, u, *more)

    monkeypatch.setattr(AutoEncoder, "decode", counting_images)
    run, results = run_of(task, system), ResultsDir(tmp_path)
    run_missing([run], results, progress=False)
    assert counted == calls
    if task == "clustering":  # and once more those that a report shows
        assert sum(decoded) == len(protocols.load_all(run, results)) + 2 * network.EXTREMES
    else:
        images = protocols.partition(run, results)
        assert sum(decoded) == len(images.train) + len(images.test)
