"""The refinement: what it trains on, when it stops, how it resumes, and what it reaches."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from l2ae_core.clustering.metrics import accuracy, chance_scores
from l2ae_core.data.digits import load_digits
from l2ae_core.models import Architecture, build
from l2ae_core.models.dec import DecSettings, iterate, refine, target_distribution
from l2ae_core.models.dec.assignment import StudentAssignment, kl_divergence
from l2ae_core.models.dec.step import JointStep
from l2ae_core.seeding import streams
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.history import TrainingError
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import Adam

N = 150  # images of the small runs: 4.7 batches
SMALL = {"update_interval": 4, "max_iter": 22, "batch_size": 32, "n_init": 3, "tol": 0.0}
SETTINGS = {
    "dec": DecSettings("dec", optimizer="sgd", learning_rate=0.05, **SMALL),
    "idec": DecSettings("idec", **SMALL),
    "dcec": DecSettings("dcec", **SMALL),
}
STARTS = [0, 4, 8, 12, 16, 20, 22]  # iterations at which the target is renewed


def images(count=N):
    return load_digits(None, "all").images[:count]


def network(method="idec", norm="none", seed=0):
    kind = "cae" if method == "dcec" else "dense"
    sizes = {"latent_dim": 4, "hidden": (16, 8), "filters": (4, 6, 8)}
    return build(Architecture(kind, (8, 8, 1), norm=norm, **sizes), np.random.default_rng(seed))


def run(method="idec", model=None, start=None, **changes):
    """Refine a small network; return it with the result."""
    names = ("run_dir", "resume", "checkpoint_every")
    arguments = {name: changes.pop(name) for name in names if name in changes}
    model, settings = model or network(method), replace(SETTINGS[method], **changes)
    start = np.random.default_rng(5) if start is None else start
    return model, refine(model, images(), start, settings, progress=False, **arguments)


def bits(model, refined):
    arrays = {**model.params, "centers": refined.centers, "labels": refined.labels}
    arrays["start_labels"] = refined.start_labels
    return {name: (a.dtype.name, a.tobytes()) for name, a in arrays.items()}, refined.history


def interrupt(monkeypatch, after):
    """Let step number `after`, counted from 0, be a Ctrl-C."""
    real, calls = JointStep.__call__, []

    def interrupted(step, x, p):
        calls.append(None)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        return real(step, x, p)

    monkeypatch.setattr(JointStep, "__call__", interrupted)


@pytest.mark.parametrize("method", SETTINGS)
def test_what_comes_back_belongs_together(method):
    model, refined = run(method)
    q = refined.soft_labels(model.encode(images()))
    np.testing.assert_array_equal(refined.labels, q.argmax(axis=1))
    assert refined.labels.dtype == np.int32
    assert refined.centers.shape == (10, 4)
    assert [record.iteration for record in refined.history] == STARTS
    assert refined.stopped == "max_iter"
    assert refined.iterations == 22
    last = refined.history[-1]
    kl, _ = kl_divergence(np.log(q), target_distribution(q))
    assert last.kl == pytest.approx(kl, abs=1e-6)  # float32: log q is as exact as that
    assert last.kl > 1e-5
    losses = [record.reconstruction for record in refined.history]
    assert losses[0] is None
    assert all((loss is None) == (method == "dec") for loss in losses[1:])


def test_batches_in_order_with_targets_over_all_images(monkeypatch):
    """Every batch, in the order of the images, gets its rows of the target of ALL the images."""
    model, taken, encoded = network(), [], []
    real_step, real_target = JointStep.__call__, iterate._target

    def step(self, x, p):
        taken.append((x, p))
        return real_step(self, x, p)

    def target(state, all_images):  # q from scratch, before anything moves on
        layer = StudentAssignment(state.assignment.centers.copy())
        encoded.append(np.exp(layer.forward(state.model.encode(all_images))[0]))
        return real_target(state, all_images)

    monkeypatch.setattr(JointStep, "__call__", step)
    monkeypatch.setattr(iterate, "_target", target)
    run(model=model)
    assert len(taken) == 22
    assert len(encoded) == len(STARTS)
    for i, (x, p) in enumerate(taken):
        here = slice(i % 5 * 32, min(i % 5 * 32 + 32, N))
        np.testing.assert_array_equal(x, images()[here])
        q = encoded[i // 4].astype(np.float64)
        weights = q**2 / q.sum(axis=0)
        whole = weights / weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p, whole[here], rtol=1e-4)
        alone = target_distribution(q[here])  # what a target of each batch would be
        assert np.abs(p - alone).max() > 1e-3


def test_label_changes_are_counted_over_all_images(monkeypatch):
    labels, real = [], iterate._target

    def target(state, all_images):
        p, log_q = real(state, all_images)
        labels.append(log_q.argmax(axis=1))
        return p, log_q

    monkeypatch.setattr(iterate, "_target", target)
    _, refined = run("idec", learning_rate=1e-2)
    expected = [0.0] + [np.mean(a != b) for a, b in pairwise(labels)]
    assert [record.label_change for record in refined.history] == expected
    assert max(expected) > 0
    np.testing.assert_array_equal(refined.start_labels, labels[0])
    np.testing.assert_array_equal(refined.labels, labels[-1])


def test_it_stops_at_the_first_renewal_with_few_changes():
    _, whole = run(max_iter=200, tol=0.0)
    changes = [record.label_change for record in whole.history]
    tol = 0.02
    first = next(i for i, change in enumerate(changes) if i > 0 and change < tol)
    assert first > 1, "the start alone must not stop it"
    _, refined = run(max_iter=200, tol=tol)
    assert refined.stopped == "tol"
    assert [record.label_change for record in refined.history] == changes[: first + 1]
    assert changes[first] < tol <= min(changes[1:first])


def test_given_centers_and_those_of_kmeans():
    _, found = run(max_iter=1)
    centers = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    kept = centers.copy()
    _, refined = run(start=centers, max_iter=1)
    np.testing.assert_array_equal(centers, kept)
    assert (refined.start_labels != found.start_labels).any()
    u = network().encode(images())
    nearest = ((u[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(refined.start_labels, nearest)


def test_a_seed_gives_the_same_bits():
    assert bits(*run()) == bits(*run())


@pytest.mark.parametrize("method", SETTINGS)
@pytest.mark.parametrize("after", [0, 10, 21])
def test_an_interrupted_refinement_resumes_with_equal_bits(tmp_path, monkeypatch, method, after):
    expected = bits(*run(method))
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(KeyboardInterrupt) as caught:
            run(method, run_dir=tmp_path, checkpoint_every=2)
    assert "resume=True goes on from" in caught.value.__notes__[0]
    assert str(tmp_path / "refinement.npz") in caught.value.__notes__[0]
    resumed = run(method, model=network(method, seed=9), run_dir=tmp_path, resume=True)
    assert bits(*resumed) == expected


def test_a_finished_refinement_comes_back_at_once(tmp_path, monkeypatch):
    expected = bits(*run(run_dir=tmp_path))
    monkeypatch.setattr(JointStep, "__call__", None)
    monkeypatch.setattr("l2ae_core.models.dec.refinement.kmeans", None)
    again = run(model=network(seed=9), run_dir=tmp_path, resume=True)
    assert bits(*again) == expected
    assert again[1].stopped == "max_iter"


def test_batch_norm_statistics_are_resumed_too(tmp_path, monkeypatch):
    expected, whole = run(model=network(norm="batch"))
    with monkeypatch.context() as patch:
        interrupt(patch, 9)
        with pytest.raises(KeyboardInterrupt):
            run(model=network(norm="batch"), run_dir=tmp_path, checkpoint_every=1)
    resumed = run(model=network(norm="batch", seed=9), run_dir=tmp_path, resume=True)
    assert bits(*resumed) == bits(expected, whole)
    for name, a in expected.state.items():
        np.testing.assert_array_equal(resumed[0].state[name], a)


def test_nothing_on_disk_yet_starts_again(tmp_path):
    (tmp_path / ".refinement.npz.123.tmp").write_bytes(b"half")  # killed while saving
    assert bits(*run(run_dir=tmp_path, resume=True)) == bits(*run())
    assert [path.name for path in tmp_path.iterdir()] == ["refinement.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 0.2}, "gamma is 0.2 but .*refinement.npz was started with 0.1"),
        ({"update_interval": 5}, "update_interval is 5 but"),
        ({"learning_rate": 0.1}, "learning_rate is 0.1 but"),
        ({"start": np.ones((10, 4), np.float32)}, "start is [0-9]+ but .* with k-means"),
        ({"model": network("idec", "l2")}, "layers is .*L2Normalize"),
    ],
)
def test_other_settings_are_refused(tmp_path, change, message):
    run(run_dir=tmp_path, max_iter=4)
    with pytest.raises(ValueError, match=message):
        run(**({"run_dir": tmp_path, "resume": True, "max_iter": 4} | change))


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(CheckpointError, match="no run to resume"):
        run(run_dir=tmp_path / "nothing", resume=True)
    with pytest.raises(ValueError, match="run_dir is None"):
        run(resume=True)
    run(run_dir=tmp_path, max_iter=4)
    file = tmp_path / "refinement.npz"
    whole = file.read_bytes()
    with pytest.raises(CheckpointError, match="already exists"):
        run(run_dir=tmp_path, max_iter=4)
    assert file.read_bytes() == whole
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[:-100], bytes(damaged), b""):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="refinement.npz"):
            run(run_dir=tmp_path, resume=True, max_iter=4)
    np.savez(file, format=np.array("something else"))
    with pytest.raises(CheckpointError, match="something else"):
        run(run_dir=tmp_path, resume=True, max_iter=4)
    entries = {"format": np.array("l2ae-refinement 1"), "settings": np.array("{}")}
    np.savez(file, **entries)
    with pytest.raises(ValueError, match="was started with None"):
        run(run_dir=tmp_path, resume=True, max_iter=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "dcec", "model": network("idec")}, "'dcec' but the encoder has no convolu"),
        ({"method": "idec", "model": network("dcec")}, "'idec' but the encoder has convolutions"),
        ({"start": np.zeros((9, 4))}, r"start is \(9, 4\) but expected finite \(10, 4\)"),
        ({"start": np.full((10, 4), np.nan)}, "expected finite"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0 but expected at least 1"),
        ({"model": network("idec").astype(np.float64)}, r"images is .* float32 but .* float64"),
        ({"n_clusters": 151}, "x has 150 rows but expected at least 151"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        run(**change)


def test_images_that_do_not_fit_are_refused():
    def go(x):
        refine(network(), x, np.random.default_rng(0), SETTINGS["idec"], progress=False)

    broken = images().copy()
    broken[70, 3, 3, 0] = np.nan
    for x, message in ((broken, "NaN or Inf"), (images()[:, :4], r"\(150, 4, 8, 1\)")):
        with pytest.raises(ValueError, match=message):
            go(x)


@pytest.mark.parametrize("method", ["dec", "idec"])
def test_a_diverging_refinement_says_so_and_keeps_the_file(tmp_path, method):
    with pytest.raises(TrainingError, match=r"a smaller\s+learning rate may help"):
        run(method, run_dir=tmp_path, optimizer="sgd", learning_rate=1e12, max_iter=400)
    with np.load(tmp_path / "refinement.npz") as file:
        kept = [file[name] for name in file.files if name.startswith("params/")]
    assert kept
    assert all(np.isfinite(a).all() for a in kept)


@pytest.fixture(scope="module")
def trained():
    """A briefly trained network of each kind, all digits, and their labels."""
    digits, models = load_digits(None, "all"), {}
    for kind in ("dense", "cae"):
        s = streams(1)
        sizes = {"hidden": (64, 64, 128), "filters": (8, 16, 32)}
        models[kind] = build(Architecture(kind, (8, 8, 1), norm="none", slope=0.0, **sizes), s.init)
        fit(
            models[kind], digits.images, epochs=40, batch_size=64, optimizer=Adam(), rng=s.shuffle,
            progress=False,
        )  # fmt: skip
    return models, digits


@pytest.mark.parametrize(("method", "kind"), [("dec", "dense"), ("idec", "dense"), ("dcec", "cae")])
def test_accuracy_rises_above_its_start(trained, method, kind):
    """One to five points in every seed that was tried; random labels reach 0.14."""
    models, digits = trained
    settings = DecSettings(method, update_interval=30, max_iter=450, n_init=5)
    model, rng = copy.deepcopy(models[kind]), np.random.default_rng(1)
    refined = refine(model, digits.images, rng, settings, progress=False)
    before, after = (accuracy(digits.labels, r) for r in (refined.start_labels, refined.labels))
    assert after > before
    assert after > 0.6
    assert chance_scores(digits.labels, 10, rng)["acc"] < 0.2
    assert len(np.unique(refined.labels)) == 10
