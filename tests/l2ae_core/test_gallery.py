"""`gallery.npz`: which images are shown, how small they are, and what is read of the file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import commands
from l2ae_core.array_readers import read_npz
from l2ae_core.data import Dataset
from l2ae_core.data.digits import load_digits
from l2ae_core.data.look import Look
from l2ae_core.gallery import Gallery, make_gallery
from l2ae_core.gallery.choose import BUDGET, LEAST_NORMAL, WORST, choose, shown
from l2ae_core.gallery.file import KIND
from l2ae_core.gallery.thumbnails import error_maps, thumbnails
from l2ae_core.networks import Architecture, build
from l2ae_core.training.checkpoint import CheckpointError

NOTHING = Look(*(np.empty(0, np.int64),) * 3, duplicates=())
SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 16, "n_init": 2, "clusters": 3}


def scores(N: int, K: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(N)
    return rng.integers(0, K, N), rng.uniform(-1, 1, N).astype("f4"), rng.random(N)


def test_typical_images_have_the_highest_v_of_their_cluster() -> None:
    labels, v, error = scores(400, 4)
    picks = choose(labels, v, error, 4, 784)
    for k in range(4):
        members = v[labels == k]
        np.testing.assert_array_equal(v[picks.typical[k]], np.sort(members)[::-1][:16])
        np.testing.assert_array_equal(v[picks.atypical[k]], np.sort(members)[:8])
        assert (labels[picks.typical[k]] == k).all()
    np.testing.assert_array_equal(v[picks.least_normal], np.sort(v)[:LEAST_NORMAL])
    np.testing.assert_array_equal(error[picks.worst], np.sort(error)[::-1][:WORST])


def test_no_image_of_a_small_cluster_is_shown_twice() -> None:
    labels = np.array([0] * 18 + [2] * 3)  # cluster 1 is empty
    picks = choose(labels, np.linspace(0, 1, 21), np.zeros(21), 3, 784)
    assert picks.typical[0].tolist() == [*range(17, 1, -1)]
    assert picks.atypical[0].tolist() == [0, 1] + [-1] * 6
    assert set(picks.typical[1]) | set(picks.atypical[1]) == {-1}
    assert picks.typical[2][:4].tolist() == [20, 19, 18, -1]
    assert shown(picks, NOTHING).tolist() == [*range(21)]


@pytest.mark.parametrize(("K", "pixels"), [(1, 784), (10, 784), (100, 784), (25, 64 * 64 * 3)])
def test_the_budget_holds_for_many_clusters(K: int, pixels: int) -> None:
    picks = choose(*scores(20_000, K), K, pixels)
    look = replace(NOTHING, constant=np.arange(900), duplicates=(np.arange(900, 1800),))
    pictures = len(shown(picks, look)) + len(picks.explained)
    assert pictures * pixels <= BUDGET
    assert len(shown(picks, look)) >= min(3 * K, 3000)


def test_thumbnails_are_means_over_areas() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (3, 64, 32, 3)) / np.float32(255)
    np.testing.assert_array_equal(thumbnails(small), np.rint(255 * small))
    large = np.repeat(np.repeat(small, 3, axis=1), 3, axis=2)  # (3, 192, 96, 3)
    np.testing.assert_array_equal(thumbnails(large), np.rint(255 * small))
    checked = np.indices((128, 128)).sum(axis=0)[None, :, :, None] % 2
    assert set(thumbnails(checked.astype("f4")).ravel()) <= {127, 128}
    assert thumbnails(np.zeros((2, 300, 3, 1), "f4")).shape == (2, 64, 1, 1)
    assert thumbnails(np.full((1, 4, 4, 2), [2, -1], "f4")).tolist() == [[[[128]] * 4] * 4]


def test_errors_have_a_sign() -> None:
    images, drawn = np.zeros((1, 2, 2, 3), "f4"), np.zeros((1, 2, 2, 3), "f4")
    images[0, 0, 0], drawn[0, 1] = 1, (1, 0.5, 0)
    drawn[0, 0, 1] = 9
    assert error_maps(images, drawn).tolist() == [[[-127, 127], [64, 64]]]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """60 images of 10 × 7 pixels in colour, of names and classes; some are constant or equal."""
    rng = np.random.default_rng(0)
    images = rng.random((60, 10, 7, 3), np.float32)
    images[:3] = 0.5
    images[9] = images[8]
    names = tuple(f"folder/{i:02d}.png" for i in range(60))
    return Dataset(images, np.arange(60) % 3, "photos", ("A", "B", "C"), names)


@pytest.fixture(scope="module")
def gallery(dataset: Dataset) -> Gallery:
    model = build(Architecture("dense", (10, 7, 3), latent_dim=4), np.random.default_rng(0))
    return make_gallery(model, model.encode(dataset.images)[10:13], dataset)


def assert_equal(a: object, b: object) -> None:
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b)
    elif hasattr(a, "__dataclass_fields__"):
        for name in a.__dataclass_fields__:
            assert_equal(getattr(a, name), getattr(b, name))
    elif isinstance(a, tuple) and isinstance(b, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    else:
        assert a == b


def test_a_gallery_is_read_as_it_was_written(gallery: Gallery, tmp_path: Path) -> None:
    gallery.save(tmp_path)
    assert_equal(Gallery.load(tmp_path), gallery)
    plain = replace(gallery, classes=None, class_names=None, names=None, look=NOTHING)
    plain.save(tmp_path)
    assert_equal(Gallery.load(tmp_path), plain)


def test_thumbnails_and_names_are_those_of_the_images(gallery: Gallery, dataset: Dataset) -> None:
    assert dataset.sample_names is not None
    for i in (*gallery.picks.typical[1], *gallery.picks.worst, 0, 8, 9):
        if i >= 0:
            np.testing.assert_array_equal(gallery.thumbnail(i), np.rint(255 * dataset.images[i]))
            assert gallery.image_name(i) == dataset.sample_names[i]


def test_v_near_one_has_more_decimals(gallery: Gallery) -> None:
    for lowest, digits in ((-1, 3), (0.4, 3), (0.95, 4), (0.9995, 6), (1, 6)):
        assert replace(gallery, v=np.array([1, lowest], "f4")).v_digits == digits


def test_the_variance_is_that_around_the_mean_image(gallery: Gallery, dataset: Dataset) -> None:
    expected = dataset.images.var(axis=0, dtype=np.float64).mean()
    assert gallery.variance == pytest.approx(expected, rel=1e-6)


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda e: e.pop(name)


def changed(name: str, value: Callable[[Any], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda e: e.update({name: value(e[name])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("labels"), "'labels' is missing"),
        (changed("labels", lambda a: a + 1), "'labels' is not of 3 clusters"),
        (changed("labels", lambda a: a[:-1]), r"'v' is \(60,\) but expected \(59,\)"),
        (changed("v", lambda a: a * np.nan), "'v' holds NaN"),
        (changed("shown", lambda a: a[::-1]), "'shown' lacks an image"),
        (changed("shown", lambda a: a + 60), "'shown' has positions"),
        (changed("worst", lambda a: a - 1), "'reconstructions' is|'shown' lacks"),
        (changed("typical", lambda a: a - 2), "'typical' has positions"),
        (changed("duplicates", lambda a: a + 60), "'duplicates' has positions"),
        (changed("thumbnails", lambda a: a[1:]), "'thumbnails' is"),
        (changed("thumbnails", lambda a: a.astype("u2")), "'thumbnails' is uint16"),
        (changed("reconstructions", lambda a: a[:, 1:]), "'reconstructions' is"),
        (changed("sample", lambda a: a[1:]), "'codes' is"),
        (changed("class_names", lambda a: np.array('["A"]')), "class_names are not"),
        (changed("names", lambda a: np.array("[1]")), "'names' is no list of texts"),
        (changed("names", lambda a: np.array('["x"]')), "1 name but expected"),
        (changed("image_shape", lambda a: np.array("[1, 2]")), "image_shape"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], Any], message: str, gallery: Gallery, tmp_path: Path
) -> None:
    gallery.save(tmp_path)
    entries = read_npz(tmp_path / "gallery.npz")
    for name in ("format", "entries"):
        entries.pop(name)
    change(entries)
    KIND.write(tmp_path / "gallery.npz", entries, {})
    with pytest.raises(CheckpointError, match=rf"gallery\.npz.*({message})"):
        Gallery.load(tmp_path)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    """100 images with labels."""
    found = load_digits(None, "all").subset(slice(100))
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, x=found.images, y=found.labels)
    return str(path)


@pytest.mark.parametrize("weights", ["best", "last"])
def test_a_run_keeps_the_scores_of_its_training_images(
    weights: str, digits: str, tmp_path: Path
) -> None:
    """By the weights that `l2ae score` takes, where the best epoch is not the last."""
    settings = SMALL | {"data": digits, "weights": weights, "learning_rate": 0.02, "epochs": 8}
    for seed in range(20):  # of so large steps not every one makes the loss smaller
        run = tmp_path / f"run-{seed}"
        trained = commands.fit(run, settings | {"seed": seed}, progress=False)
        if trained.history.best.epoch < 8:
            break
    assert trained.history.best.epoch < 8
    found = Gallery.load(run)
    columns, _ = commands.score(run, digits, progress=False)
    labels, _ = commands.cluster(run, digits, progress=False)
    np.testing.assert_allclose(found.v, columns["normality"], atol=1e-5)
    np.testing.assert_allclose(found.error, columns["reconstruction_error"], rtol=1e-4)
    assert (found.labels != labels["cluster"]).mean() < 0.01  # ties
    network = commands.load_fitted(run).model
    drawn = network.decode(network.encode(trained.dataset.images[found.picks.explained]))
    np.testing.assert_allclose(found.reconstructions.astype(int), thumbnails(drawn), atol=1)
    assert found.classes is not None
    np.testing.assert_array_equal(found.classes, trained.dataset.labels)


def test_other_clusters_make_another_gallery(digits: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    commands.fit(run, SMALL | {"data": digits}, progress=False)
    commands.fit(run, {"clusters": 5}, resume=True, progress=False)
    assert Gallery.load(run).n_clusters == 5
    commands.fit(run, {"clusters": 4}, resume=True, progress=False, gallery=False)
    assert not (run / "gallery.npz").exists()
