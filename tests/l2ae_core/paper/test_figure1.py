"""Figure 1: what is mapped, from where, how it goes on after a kill, and its numbers."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from l2ae_core import data
from l2ae_core.paper import Run, tsne
from l2ae_core.paper.figure1 import NEIGHBOURS, PANELS, Figure1, figure1, measure
from l2ae_core.paper.methods import self_labelled
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.schedule import run_missing
from l2ae_core.training.run import load_run
from l2ae_kernels.arrays import Array

IMAGES = 40
FOURTH = "cae-l2-warp-self"
Draw = Callable[[Array, Array, int, Callable[[int], object]], Array]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ResultsDir:
    """The networks on the digits, after one epoch."""
    folder = ResultsDir(tmp_path_factory.mktemp("results"))
    runs = [Run("clustering", system, "digits", 0, 1) for system in ("cae", "cae-l2", FOURTH)]
    run_missing(runs, folder, progress=False)
    return folder


@pytest.fixture
def folder(trained: ResultsDir) -> ResultsDir:
    """The same without the figure of another test."""
    for name in ("figure1-digits.npz", "figure1-digits.png"):
        (trained.path / name).unlink(missing_ok=True)
    return trained


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What t-SNE was asked for; the maps are the first two numbers of the codes."""
    calls: list[dict[str, Any]] = []

    def draw(codes: Array, start: Array, seed: int, report: Callable[[int], object]) -> Array:
        calls.append({"codes": codes.copy(), "start": start.copy(), "seed": seed})
        report(tsne.ITERATIONS)
        return np.asarray(codes[:, :2], np.float64)

    monkeypatch.setattr(tsne, "draw_map", draw)
    return calls


def make(folder: ResultsDir, images: int = IMAGES, fourth_epochs: int | None = None) -> Figure1:
    path = figure1(folder, "digits", 0, 1, fourth_epochs=fourth_epochs, images=images,
                   progress=False)  # fmt: skip
    assert path == folder.path / "figure1-digits.png"
    return Figure1.read(folder.path / "figure1-digits.npz")


def codes_of(folder: ResultsDir, system: str, images: Array) -> Array:
    run = Run("clustering", system, "digits", 0, 1)
    return load_run(folder.training(run))[0].encode(images)


def test_the_three_panels_are_z_its_direction_and_u(
    folder: ResultsDir, drawn: list[dict[str, Any]]
) -> None:
    made = make(folder)
    assert made.complete
    train = data.load("digits", split="train")
    z = codes_of(folder, "cae", train.images)
    rows = [np.flatnonzero(np.abs(z - code).max(axis=1) < 1e-6)[0] for code in drawn[0]["codes"]]
    assert rows == sorted(set(rows))
    assert len(rows) == IMAGES
    np.testing.assert_array_equal(made.labels, train.labels[rows])
    lengths = np.linalg.norm(z[rows], axis=1, keepdims=True)
    np.testing.assert_allclose(drawn[1]["codes"], z[rows] / lengths, rtol=1e-5)
    u = codes_of(folder, "cae-l2", train.images[rows])
    np.testing.assert_allclose(drawn[2]["codes"], u, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(drawn[2]["codes"], axis=1), 1, rtol=1e-5)


def test_all_maps_start_from_the_same_tiny_positions(
    folder: ResultsDir, drawn: list[dict[str, Any]]
) -> None:
    make(folder)
    starts = [call["start"] for call in drawn]
    np.testing.assert_array_equal(starts[1], starts[0])
    np.testing.assert_array_equal(starts[2], starts[0])
    assert starts[0][:, 0].std() == pytest.approx(1e-4)
    assert {call["seed"] for call in drawn} == {0}


@pytest.mark.slow
def test_a_killed_figure_goes_on_with_the_panel_it_was_at(
    folder: ResultsDir, drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(folder).maps
    (folder.path / "figure1-digits.npz").unlink()
    (folder.path / "figure1-digits.png").unlink()
    plain: Draw = tsne.draw_map

    def stop_at_the_second(*arguments: Any) -> Array:
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(tsne, "draw_map", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        make(folder)
    half = Figure1.read(folder.path / "figure1-digits.npz")
    assert set(half.maps) == {"a"}
    assert not half.complete
    assert not (folder.path / "figure1-digits.png").exists()
    monkeypatch.setattr(tsne, "draw_map", plain)
    made = make(folder)
    assert len(drawn) == 6
    for name in PANELS:
        np.testing.assert_array_equal(made.maps[name], whole[name])
    make(folder)
    assert len(drawn) == 6


@pytest.mark.slow
def test_other_settings_draw_all_again(folder: ResultsDir, drawn: list[dict[str, Any]]) -> None:
    make(folder)
    made = make(folder, IMAGES - 5)
    assert len(drawn) == 6
    assert made.settings["images"] == len(made.labels) == IMAGES - 5


def test_the_numbers_are_those_of_the_codes(
    folder: ResultsDir, drawn: list[dict[str, Any]]
) -> None:
    made = make(folder)
    for name, call in zip(PANELS, drawn, strict=True):
        u, purity = call["codes"].astype(np.float64), []
        for i, label in enumerate(made.labels):
            distance = ((u - u[i]) ** 2).sum(axis=1)
            distance[i] = np.inf
            nearest = np.argsort(distance)[:NEIGHBOURS]
            purity.append((made.labels[nearest] == label).mean())
        assert made.measures[name]["purity"] == pytest.approx(np.mean(purity))
        assert f"{np.mean(purity):.3f}" in made.note(name)
    assert f"chance {made.measures['chance']['purity']:.3f}" in made.note("a")


@pytest.mark.slow
def test_the_fourth_panel_is_the_self_labelled_network(
    folder: ResultsDir, drawn: list[dict[str, Any]]
) -> None:
    three = make(folder)
    assert set(three.maps) == set("abc")
    assert three.fourth_epochs is None
    width = imread(folder.path / "figure1-digits.png").shape[1]
    four = make(folder, fourth_epochs=1)
    assert len(drawn) == 4  # the first three are kept
    assert imread(folder.path / "figure1-digits.png").shape[1] < width  # two columns
    assert set(four.maps) == set("abcd")
    assert four.fourth_epochs == 1
    run = Run("clustering", FOURTH, "digits", 0, 1)
    model, _ = self_labelled.train(run, folder, data.load("digits", split="all").images, False)
    train = data.load("digits", split="train").images
    z, u = codes_of(folder, "cae", train), model.encode(train)
    rows = [np.flatnonzero(np.abs(z - code).max(axis=1) < 1e-6)[0] for code in drawn[0]["codes"]]
    np.testing.assert_allclose(drawn[3]["codes"], u[rows], rtol=1e-5, atol=1e-6)
    assert four.measures["d"] == measure(drawn[3]["codes"], four.labels)


@pytest.mark.slow
def test_the_papers_figure_stays_beside_the_fourth_panel(
    folder: ResultsDir, drawn: list[dict[str, Any]]
) -> None:
    make(folder)
    paper = (folder.path / "figure1-digits.png").read_bytes()
    four = make(folder, fourth_epochs=1)
    assert (folder.path / "figure1-digits.png").read_bytes() != paper
    again = make(folder)
    assert (folder.path / "figure1-digits.png").read_bytes() == paper
    assert again.settings == four.settings  # the map is kept, though it is not shown
    make(folder, fourth_epochs=1)
    assert len(drawn) == 4


def test_a_missing_self_labelled_network_is_named_with_its_command(folder: ResultsDir) -> None:
    message = (
        f"{FOURTH} on digits, 5 epochs, seed 0, is not in.*; make it by "
        f"`l2ae reproduce beyond --data digits --systems {FOURTH} --seeds 1 --epochs 5 "
    )
    with pytest.raises(ValueError, match=message):
        make(folder, fourth_epochs=5)


def test_measures_of_apart_and_of_mixed_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    apart = 100 * np.eye(4)[labels] + rng.standard_normal((200, 4))
    mixed = rng.standard_normal((200, 4))
    assert measure(apart, labels)["purity"] == 1
    assert measure(apart, labels)["silhouette"] > 0.95
    assert measure(mixed, labels)["purity"] == pytest.approx(0.25, abs=0.05)
    assert abs(measure(mixed, labels)["silhouette"]) < 0.05


def test_a_real_map_keeps_groups_together_and_comes_out_equal(folder: ResultsDir) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    codes = 8 * np.eye(3, 5)[labels] + rng.standard_normal((60, 5))
    start = tsne.start_positions(rng.standard_normal((60, 7)))
    told: list[int] = []
    maps = [tsne.draw_map(codes, start, 0, told.append) for _ in range(2)]
    np.testing.assert_array_equal(*maps)
    assert sum(told) == 2 * tsne.ITERATIONS
    assert maps[0].shape == (60, 2)
    assert measure(maps[0], labels)["purity"] > 0.9 * measure(codes, labels)["purity"]


def test_the_picture_is_drawn(folder: ResultsDir, drawn: list[dict[str, Any]]) -> None:
    make(folder)
    assert imread(folder.path / "figure1-digits.png").std() > 0.01


def test_a_missing_network_is_named_with_its_command(tmp_path: Path) -> None:
    message = (
        "cae on digits, 7 epochs, seed 3, is not in.*; make it by "
        "`l2ae reproduce table2 --data digits --systems cae "
    )
    with pytest.raises(ValueError, match=message):
        figure1(ResultsDir(tmp_path), "digits", 3, 7, progress=False)


def test_equal_images_have_no_first_positions() -> None:
    with pytest.raises(ValueError, match="start_positions: vectors are .* all equal"):
        tsne.start_positions(np.full((30, 64), np.float32(0.1)))


def test_equal_codes_have_a_map() -> None:
    """Of a network whose codes fell together, started from images that did not."""
    start = tsne.start_positions(np.random.default_rng(0).random((30, 64)))
    assert np.isfinite(tsne.draw_map(np.ones((30, 4), np.float32), start, 0, lambda _: None)).all()


def test_too_few_images_are_refused(folder: ResultsDir) -> None:
    with pytest.raises(ValueError, match="images is 3 but expected at least 4"):
        figure1(folder, "digits", 0, 1, images=3, progress=False)


def test_a_damaged_file_is_named(folder: ResultsDir, drawn: list[dict[str, Any]]) -> None:
    make(folder)
    path = folder.path / "figure1-digits.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        make(folder)
    np.savez(path, labels=np.arange(3))
    with pytest.raises(ValueError, match=r"digits\.npz: an \.npz file, but not a file of maps"):
        make(folder)
    made = Figure1({}, np.arange(3), {"a": np.zeros((4, 2))}, {})
    made.write(path)
    with pytest.raises(ValueError, match="3 labels but map a is"):
        Figure1.read(path)
