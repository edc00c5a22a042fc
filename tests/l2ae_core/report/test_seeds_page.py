"""The page of several seeds: its numbers, its verdict, the images that change their cluster."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import commands
from l2ae_core.cli import main
from l2ae_core.clustering.metrics import ari
from l2ae_core.data import Dataset
from l2ae_core.gallery.seeds import SeedsGallery, changes, matched
from l2ae_core.report.seeds_page import pair_aris, seeds_page, verdict
from l2ae_core.seeds.fit import fit_seeds
from l2ae_core.seeds.runs import SeedRuns
from l2ae_core.training.checkpoint import CheckpointError

from .made_up import Page
from .test_run_images import write_folder

LINKS = {seed: f"seed-{seed}/report.html" for seed in (3, 4, 5)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs on 61 images without labels."""
    folder = tmp_path_factory.mktemp("seeds")
    data = write_folder(folder / "images", labels=False)
    settings: dict[str, Any] = {"data": str(data), "epochs": 1, "clusters": 6, "n_init": 1,
                                "batch_size": 16, "seed": 3}  # fmt: skip
    fit_seeds(folder / "runs", settings, 3, progress=False)
    return folder / "runs"


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "runs")


def test_clusters_are_matched_before_images_are_compared() -> None:
    first = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    renamed = np.array([2, 2, 2, 0, 0, 0, 1, 1, 0])  # the last image is elsewhere
    merged = np.array([7, 7, 7, 7, 7, 7, 1, 1, 1])
    found = matched(np.stack([renamed, first, merged]), 1)
    assert found[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 1]
    assert found[1].tolist() == first.tolist()
    assert sorted(set(found[2][:6])) in ([0], [1])
    moved = changes(np.stack([renamed, first, merged]), 1)
    assert moved[0].tolist() == [False] * 8 + [True]
    assert moved[1].sum() == 3


def dataset(N: int, names: tuple[str, ...] | None = None) -> Dataset:
    images = np.random.default_rng(0).random((N, 6, 5, 3), np.float32)
    return Dataset(images, None, "photos", sample_names=names)


def test_the_most_unstable_images_come_first() -> None:
    labels = np.zeros((4, 10), np.int32)
    labels[:, 5:] = 1
    labels[1:, 7] = 0  # in all other runs
    labels[2, 2] = 1
    found = SeedsGallery.of(labels, 0, dataset(10, tuple("abcdefghij")))
    assert found.shown.tolist() == [7, 2]
    assert found.names == ("h", "c")
    images = dataset(10).images
    np.testing.assert_array_equal(found.thumbnails, np.rint(255 * images[[7, 2]]))
    assert SeedsGallery.of(labels, 0, dataset(10)).names == ("image 7", "image 2")


def test_a_gallery_of_seeds_is_read_as_it_was_written(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (3, 40))
    for one in (labels, np.zeros((3, 40), int)):  # of the second no image changes
        found = SeedsGallery.of(one, 2, dataset(40))
        found.save(tmp_path)
        read = SeedsGallery.load(tmp_path, 3)
        assert (read.name, read.chosen, read.names) == (found.name, 2, found.names)
        for name in ("labels", "shown", "thumbnails"):
            np.testing.assert_array_equal(getattr(read, name), getattr(found, name))
    with pytest.raises(CheckpointError, match=r"gallery\.npz: not the gallery of 4 runs"):
        SeedsGallery.load(tmp_path, 4)
    for change in ({"chosen": 3}, {"shown": np.array([40])}, {"names": ("x",)}, {"name": 1}):
        replace(found, **change).save(tmp_path)
        with pytest.raises(CheckpointError, match=r"gallery\.npz: not the gallery of 3 runs"):
            SeedsGallery.load(tmp_path, 3)


@pytest.mark.parametrize(("pairs", "words"), [([0.95, 0.9, 0.1], "stable"),
                                              ([0.8, 0.7, 0.7], "partly stable"),
                                              ([0.9, 0.6, 0.5], "not stable")])  # fmt: skip
def test_the_verdict_is_that_of_the_median_pair(pairs: list[float], words: str) -> None:
    a, b, c = pairs
    assert verdict(np.array([[1, a, b], [a, 1, c], [b, c, 1]])) == (words, sorted(pairs)[1])


def test_the_page_has_the_numbers_of_all_runs(trained: Path) -> None:
    page = Page(seeds_page(trained, LINKS))
    found = SeedRuns.read(trained).agreement
    assert found is not None
    data = trained.parent / "images"
    labels = np.stack([commands.cluster(trained / f"seed-{s}", str(data), progress=False)[0]
                       ["cluster"] for s in (3, 4, 5)])  # fmt: skip
    aris = pair_aris(labels)
    assert aris[0, 2] == aris[2, 0] == ari(labels[0], labels[2])
    table = page.tables["ARI of two seeds"]
    assert table[1][2:] == [f"{aris[0, 1]:.2f}", f"{aris[0, 2]:.2f}"]
    assert page.tables["NMI of two seeds"][1][2] == f"{found.nmi[0][1]:.2f}"
    rows = next(t for t in page.tables.values() if "mean NMI" in t[0])
    head = rows[0]
    assert [row[0] for row in rows[1:]] == ["seed 3", "seed 4", "seed 5"]
    assert [row[head.index("mean NMI")] for row in rows[1:]] == [f"{m:.3f}" for m in found.mean_nmi]
    assert "ACC, %" not in head
    words, median = verdict(aris)
    assert f"Clusters {words} median ARI of all pairs {median:.3f}" in page.text
    assert f"Nearest to the others seed {found.chosen}" in page.text
    moved = changes(labels, [3, 4, 5].index(found.chosen)).sum(axis=0)
    told = sorted(page.text.count(f"elsewhere in {n} of 2 runs") for n in (1, 2))
    assert told == sorted([int((moved == 1).sum()), int((moved == 2).sum())])


@pytest.mark.parametrize("weights", ["best", "last"])
def test_the_loss_is_that_of_the_weights_that_a_run_keeps(runs: Path, weights: str) -> None:
    for seed in LINKS:
        config, metrics = (runs / f"seed-{seed}" / f"{name}.json" for name in ("config", "metrics"))
        content = json.loads(config.read_text())
        content["training"]["weights"] = weights
        config.write_text(json.dumps(content))
        content = json.loads(metrics.read_text())
        content["reconstruction_mse"] = {"best": 0.25, "last": 0.5}
        metrics.write_text(json.dumps(content))
    page = Page(seeds_page(runs, LINKS))
    head, *rows = next(t for t in page.tables.values() if "mean NMI" in t[0])
    loss = {"best": "0.25000", "last": "0.50000"}[weights]
    assert [row[head.index("loss")] for row in rows] == 3 * [loss]


def test_a_cluster_is_as_stable_as_its_images(trained: Path) -> None:
    page, found = Page(seeds_page(trained, LINKS)), SeedsGallery.load(trained, 3)
    rows = next(t for t in page.tables.values() if t[0][0] == "cluster")
    kept = ~changes(found.labels, found.chosen)
    for name, _, count, mean, least in rows[1:]:
        members = found.labels[found.chosen] == int(name.split()[-1])
        assert int(count) == members.sum()
        by_run = 100 * kept[:, members].mean(axis=1)
        assert mean == f"{by_run.mean():.1f}\u00a0%"
        assert least == f"{by_run.min():.1f}\u00a0%"


@pytest.mark.slow
@pytest.mark.usefixtures("no_maps")
def test_the_report_of_seeds_writes_the_pages_it_links_to(runs: Path, tmp_path: Path) -> None:
    assert main(["report", str(runs), "--quiet"]) == 0
    out = tmp_path / "pages" / "new.html"
    data = write_folder(tmp_path / "others", labels=False, count=24, seed=1)
    command = ["report", str(runs), "--data", str(data), "--out", str(out), "--quiet"]
    assert main([*command, "--device", "cpu"]) == 0
    for file in (runs / "report.html", out):
        page = Page(file.read_text())
        links = {str(given["href"]) for name, given in page.elements if name == "a"}
        inner = {link for link in links if not link.startswith(("#", "https:"))}
        assert len({link.split("#")[0] for link in inner}) == 3
        for link in inner:
            target, _, id = link.partition("#")
            other = Page((file.parent / target).read_text())
            assert not id or id in other.ids
    assert "23 &.png" in (tmp_path / "pages" / "new-seed-4.html").read_text().replace("&amp;", "&")


def test_seeds_without_images_say_how_to_show_them(runs: Path) -> None:
    for file in [*runs.rglob("gallery.npz")]:
        file.unlink()
    page = Page(seeds_page(runs, LINKS))
    assert "NMI of two seeds" in page.tables
    assert f"l2ae report {runs} --data {runs.parent}"[:20] in page.text.split("Not here yet")[-1]
    assert "ARI of two seeds" not in page.tables


def test_trainings_to_come_and_damage_are_named(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = (runs / "gallery.npz").read_bytes()
    (runs / "gallery.npz").write_bytes(gallery[:-20])
    assert main(["report", str(runs), "--quiet"]) == 1
    assert str(runs / "gallery.npz") in capsys.readouterr().err
    SeedRuns([3, 4, 5]).write(runs)
    assert main(["report", str(runs), "--quiet"]) == 1
    assert "l2ae fit --resume" in capsys.readouterr().err
    assert not [*runs.rglob("report.html")]
