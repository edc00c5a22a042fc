"""The images on the page of a run: right ones, by their names, and nothing of labels without."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core import commands
from l2ae_core.cli import main
from l2ae_core.data import Dataset
from l2ae_core.gallery import Gallery, make_gallery
from l2ae_core.networks import Architecture, build
from l2ae_core.report.run_page import run_page

from .made_up import Page

FIT = ["--epochs", "2", "--batch-size", "16", "--n-init", "2", "--clusters", "3", "--quiet"]


def write_folder(folder: Path, labels: bool, count: int = 60, seed: int = 0) -> Path:
    """Images of 12 × 8 pixels in colour, of three kinds; one black, two equal."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        x = rng.integers(0, 60, (8, 12, 3), np.uint8)
        x[:, 4 * (i % 3) : 4 * (i % 3) + 2] += 150
        x = np.zeros_like(x) if i == 1 else x
        name = f"{'abc'[i % 3]}/{i:02d}.png" if labels else f"{i:02d} &.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(path)
        if i == 4:
            Image.fromarray(x).save(path.with_name("copy.png"))
    return folder


@pytest.fixture(
    scope="module",
    params=[False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["plain", "classes"],
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    data = write_folder(folder / "images", request.param)
    out = folder / "run"
    assert main(["fit", "--data", str(data), "--model", "cae", "--out", str(out), *FIT]) == 0
    return out


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    """Its page, which tests read."""
    return Page(run_page(run))


def pixels(given: dict[str, str | None]) -> np.ndarray:
    source = given["src"]
    assert source is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))))


def test_each_cluster_shows_its_images_by_name(run: Path, page: Page) -> None:
    gallery = Gallery.load(run)
    images = [given for name, given in page.elements if name == "img"]
    for k in range(3):
        assert f"cluster-{k}" in page.ids
        assert f"Cluster {k} {(gallery.labels == k).sum()} image" in page.text
        first = int(gallery.picks.typical[k, 0])
        told = f"{gallery.image_name(first)}, v {gallery.v[first]:.{gallery.v_digits}f}"
        shown = [given for given in images if given["alt"] == told]
        assert shown
        np.testing.assert_array_equal(pixels(shown[0]), gallery.thumbnail(first))
        assert gallery.image_name(first) in page.text


def test_the_least_normal_stand_beside_their_reconstructions(run: Path, page: Page) -> None:
    gallery = Gallery.load(run)
    images = {str(given["alt"]): given for name, given in page.elements if name == "img"}
    for i in gallery.picks.least_normal.tolist():
        name = gallery.image_name(i)
        at = np.searchsorted(gallery.picks.explained, i)
        drawn = pixels(images[f"reconstruction of {name}"])
        np.testing.assert_array_equal(drawn, gallery.reconstructions[at])
        assert (
            f"v {gallery.v[i]:.{gallery.v_digits}f} · error {gallery.error[i]:#.4g} cluster"
            in page.text
        )
        error = pixels(images[f"error of {name}"]).astype(int)
        signed = gallery.error_maps[at].astype(int)
        strong = np.abs(signed) > 12
        blue = error[..., 2] > error[..., 0]
        np.testing.assert_array_equal(blue[strong], signed[strong] > 0)


def test_faulty_images_are_named(page: Page) -> None:
    text = page.text
    assert "1 of one value in all pixels" in text
    assert "1 equal to an earlier image, in 1 group" in text
    assert "copy.png" in text


def test_labels_are_told_only_where_there_are_any(run: Path, page: Page) -> None:
    gallery = Gallery.load(run)
    words = ("ACC", "NMI", "Accuracy", "Classes")
    if gallery.classes is None:
        assert not [word for word in words if word in page.text]
        assert "classes" not in page.ids
    else:
        assert all(word in page.text for word in words)
        table = next(t for name, t in page.tables.items() if name.startswith("Classes"))
        assert [row[0] for row in table[1:]] == ["a", "b", "c"]
        counts = np.array([row[1:] for row in table[1:]], int)
        clusters = [int(head) for head in table[0][1:]]
        for k, column in zip(clusters, counts.T, strict=True):
            assert column.tolist() == np.bincount(gallery.classes[gallery.labels == k],
                                                  minlength=3).tolist()  # fmt: skip


def test_other_images_are_shown_by_the_network_of_the_run(run: Path, tmp_path: Path) -> None:
    """And nothing of the run changes, though it keeps no images."""
    other = write_folder(tmp_path / "others", labels=False, count=21, seed=1)
    inverted = 255 - np.asarray(Image.open(other / "20 &.png"))
    Image.fromarray(inverted).save(other / "inverted.png")
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    out = tmp_path / "page.html"
    command = ["report", str(run), "--data", str(other), "--out", str(out), "--device", "cpu"]
    assert main([*command, "--quiet"]) == 0
    page = Page(out.read_text())
    assert "The images are those of others, not of the training" in page.text
    assert "20 &.png" in page.text
    columns, _ = commands.cluster(run, str(other), progress=False)
    table, result = commands.score(run, str(other), progress=False)
    assert f"Anomalous {result['anomalous']} " in page.text
    for reason, count in result["reasons"].items():
        assert (f"{count} {reason}" in page.text) == (count > 0)
    told = {"": "v ", "both": "far from every cluster, not reconstructed"}
    for name, reason in zip(table["file"], table["reason"], strict=True):
        assert f"{name} {told.get(reason, reason)}" in page.text
    assert table["reason"][-1] != ""  # inverted.png
    for k, size in enumerate(np.bincount(columns["cluster"], minlength=3)):
        assert f"Cluster {k} {size} image" in page.text
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_every_link_leads_somewhere(page: Page) -> None:
    links = [str(given["href"]) for name, given in page.elements if name == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= {*page.ids}
    assert "#cluster-2" in links
    assert "map" in page.ids  # of the codes


def test_a_page_of_results_takes_no_images(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["report", str(tmp_path), "--data", "digits"]) == 1
    assert f"data is digits but {tmp_path} is no run" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("run", [False], ids=["plain"], indirect=True)  # another gallery's page
def test_many_images_of_many_clusters_are_no_large_page(run: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((500, 80, 80, 3), np.float32)
    model = build(Architecture("dense", (80, 80, 3), hidden=(4,)), np.random.default_rng(0))
    gallery = make_gallery(model, model.encode(noise)[:30], Dataset(noise, None, "noise"))
    gallery.save(tmp_path)
    assert (tmp_path / "gallery.npz").stat().st_size < 9 << 20  # noise does not compress
    assert len(run_page(run, gallery)) < 16 << 20
