"""`l2ae look` and the first lines of `l2ae fit`: what is there, what is in the way, what helps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core import commands
from l2ae_core.cli import main
from l2ae_core.commands import Outlook, look
from l2ae_core.networks import Architecture, build
from l2ae_core.networks.architectures import parameter_count
from l2ae_core.settings import DEFAULTS

RNG = np.random.default_rng(1)


def noise(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight images in two classes, one of them twice, one black."""
    folder = tmp_path / "photos"
    for name in ("a/0", "a/1", "a/2", "b/0", "b/1", "b/2"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(8, 8)).save(folder / f"{name}.png")
    (folder / "b/same.png").write_bytes((folder / "a/1.png").read_bytes())
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a/black.png")
    return folder


@pytest.fixture
def mixed(photos: Path) -> Path:
    """As `photos`, with files that need a setting each, and damaged ones."""
    Image.fromarray(noise(20, 31, 3)).save(photos / "b/wide.jpg")
    Image.fromarray(noise(8, 8, 4)).save(photos / "b/clear.png")
    Image.fromarray(noise(8, 8, dtype=np.uint16)).save(photos / "b/deep.png")
    (photos / "b/damaged.png").write_bytes(b"no image")
    (photos / "b/link.png").symlink_to("nowhere")
    return photos


def test_what_is_found_in_a_folder(photos: Path) -> None:
    found = look(str(photos), {"clusters": 3}, progress=False)
    assert found.images == 8
    assert found.classes == {"a": 4, "b": 4}
    assert found.survey is not None
    assert dict(found.survey.sizes) == {(8, 8): 8}
    assert found.named(found.look.constant.tolist()) == ["a/black.png"]
    assert [found.named(g.tolist()) for g in found.look.duplicates] == [["a/1.png", "b/same.png"]]
    assert found.problems == []
    assert found.outlook is not None
    assert (found.outlook.images, found.outlook.shape) == (8, (8, 8, 1))


def test_images_of_every_trouble(mixed: Path) -> None:
    found = look(str(mixed), {}, progress=False)
    files = found.survey
    assert files is not None
    assert (files.files, found.images) == (13, 11)
    assert files.transparent == ["b/clear.png"]
    assert files.deep == ["b/deep.png"]
    assert len(files.reading.unreadable) == 2
    assert dict(files.sizes) == {(8, 8): 10, (31, 20): 1}
    assert found.outlook is None
    assert found.advice == {"size": "8", "background": "white", "depth": "auto",
                            "skip_unreadable": True}  # fmt: skip
    assert found.advised is not None
    assert found.advised.shape == (8, 8, 3)
    assert [found.named(g.tolist()) for g in found.look.duplicates] == [["a/1.png", "b/same.png"]]


def test_the_advice_is_one_that_works(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--grey"], ["--size", "9x12", "--clusters", "20"]):
        assert main(["look", str(mixed), *options, "--quiet"]) == 0
        (line,) = [li for li in capsys.readouterr().out.splitlines() if li.startswith("  try")]
        words = line.split()[2:]  # behind "try l2ae"
        assert words[:3] == ["fit", "--data", str(mixed)]
        assert words[-2:] == ["--out", "RUN"]
        again = look(str(mixed), _given(words[3:-2]), skip_unreadable=True, progress=False)
        assert again.problems == []
        assert again.outlook is not None


def test_the_advice_leaves_out_what_look_left_out(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or the command that is advised would be refused."""
    assert main(["look", str(mixed), "--skip-unreadable", "--quiet"]) == 0
    (line,) = [li for li in capsys.readouterr().out.splitlines() if li.startswith("  try")]
    assert "--skip-unreadable" in line.split()


def _given(words: list[str]) -> dict[str, Any]:
    """The settings of the options that the tests above can have."""
    given: dict[str, Any] = {"grey": "--grey" in words}
    for name in ("background", "depth"):
        given[name] = words[words.index(f"--{name}") + 1]
    W, _, H = words[words.index("--size") + 1].partition("x")
    given["size"] = (int(H or W), int(W))
    if "--clusters" in words:
        given["clusters"] = int(words[words.index("--clusters") + 1])
    return given


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"clusters": 9}, "clusters is 9 but there are only 8"),
        ({"size": (4, 4)}, "takes sides from 8"),
        ({"size": (4, 4), "norm": "layer", "latent_dim": 1}, "latent_dim is 1"),
    ],
)
def test_settings_that_will_fail_are_told(
    options: dict[str, Any], named: str, photos: Path
) -> None:
    found = look(str(photos), {"clusters": 2} | options, progress=False)
    assert any(named in problem for problem in found.problems)


def test_settings_that_mean_nothing_are_refused_at_once(photos: Path) -> None:
    for given in ({"clusters": 0}, {"background": "blue?"}, {"fit": "crop"}, {"other": 1}):
        with pytest.raises(ValueError, match=f"fit: .*{next(iter(given))}"):
            look(str(photos), given, progress=False)


def test_equal_images_are_a_problem(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / f"{i}.png")
    found = look(str(tmp_path), {"clusters": 2}, progress=False)
    assert any("all 3 images are equal" in problem for problem in found.problems)


def test_arrays_and_named_data(tmp_path: Path) -> None:
    x = noise(6, 8, 8)
    x[4] = x[1]
    np.savez(tmp_path / "a.npz", x, np.array([0, 1, 0, 1, 0, 1]))
    found = look(str(tmp_path / "a.npz"), {"clusters": 2}, progress=False)
    assert found.classes == {"0": 3, "1": 3}
    assert [found.named(g.tolist()) for g in found.look.duplicates] == [["1", "4"]]
    assert look(str(tmp_path / "a.npz"), {"labels": False}, progress=False).classes is None
    assert look("digits", {"split": "test"}, progress=False).images == 355


def test_json_has_all_of_it(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    assert main(["look", str(mixed), "--quiet", "--json", str(out)]) == 0
    found = json.loads(out.read_text("utf-8"))
    assert found["images"] == 11
    assert found["duplicates"] == [["a/1.png", "b/same.png"]]
    assert len(found["files"]["unreadable"]) == 2
    assert found["advised"]["shape"] == [8, 8, 3]
    with pytest.raises(SystemExit):
        main(["look"])


def test_nothing_is_looked_at_before_the_file_can_be_written(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["look", str(mixed), "--json", str(tmp_path / "found.txt")]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("side", [8, 25])
@pytest.mark.parametrize("model", ["cae", "dense"])
@pytest.mark.parametrize(
    "norms", [{}, {"norm": "layer", "hidden_norm": "batch", "affine": True}, {"norm": "none"}]
)
def test_parameters_are_counted_without_making_them(
    side: int, model: Any, norms: dict[str, Any]
) -> None:
    sizes: dict[str, Any] = {"hidden": (5, 3), "filters": (4, 3), "kernels": (5, 3)}
    a = Architecture(model, (side, side + 3, 3), latent_dim=4, **sizes, **norms)
    made = build(a, np.random.default_rng(0))
    assert parameter_count(a) == sum(p.size for p in made.params.values())


def test_a_checkpoint_has_the_size_that_was_told(photos: Path, tmp_path: Path) -> None:
    for optimizer in ("adam", "sgd"):
        settings = {"data": str(photos), "epochs": 2, "clusters": 2, "n_init": 1,
                    "optimizer": optimizer, "model": "dense"}  # fmt: skip
        run = commands.fit(tmp_path / optimizer, settings, progress=False)
        architecture = Architecture("dense", (8, 8, 1))
        told = Outlook.of(len(run.dataset), architecture, DEFAULTS | settings).checkpoint_bytes
        found = (tmp_path / optimizer / "checkpoint.npz").stat().st_size
        assert told <= found <= 1.05 * told


def test_the_first_lines_of_fit(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "stray.png").write_bytes((photos / "a/0.png").read_bytes())
    call = ["fit", "--data", str(photos), "--epochs", "1", "--clusters", "2", "--n-init", "1"]
    assert main([*call, "--out", str(tmp_path / "1")]) == 0
    told = capsys.readouterr().err
    for text in ("9 images 8×8×1", "1 step an epoch", "1 constant", "2 equal", "stray.png"):
        assert text in told
    assert main([*call, "--batch-size", "2", "--quiet", "--out", str(tmp_path / "2")]) == 0
    assert capsys.readouterr().err == ""
