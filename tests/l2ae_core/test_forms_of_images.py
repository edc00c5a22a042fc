"""The same images as numbers, as bytes and in a file: runs of equal bits, resumed across forms."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import commands, data, method
from l2ae_core.commands.train import TrainedRun
from l2ae_core.data import Dataset
from l2ae_core.data.file_array import FileArray
from l2ae_core.data.stored import StoredImages
from l2ae_core.images import Images, gathered
from l2ae_core.networks import Architecture
from l2ae_kernels.arrays import Array

FORMS = ("numbers", "bytes", "file")
RAGGED = {"model": "dense", "hidden": (8,), "latent_dim": 3, "clusters": 3, "n_init": 2,
          "batch_size": 48, "augment": True, "validation": 0.2, "learning_rate": 0.02,
          "data": data.IN_MEMORY}  # fmt: skip


@pytest.fixture(scope="module")
def pixels() -> Array:
    rng = np.random.default_rng(3)
    shapes = rng.integers(0, 120, (3, 6, 6, 1))
    return (shapes[rng.integers(3, size=307)] + rng.integers(0, 99, (307, 6, 6, 1))).astype("u1")


@pytest.fixture(scope="module")
def forms(pixels: Array, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    path = tmp_path_factory.mktemp("forms") / "images.npy"
    np.save(path, pixels)
    there = data.load(path).images
    assert isinstance(there, StoredImages)
    assert isinstance(there.stored, FileArray), "no batch is read before it is asked for"
    images: dict[str, Images] = {
        "numbers": pixels / np.float32(255), "bytes": StoredImages(pixels), "file": there,
    }  # fmt: skip
    return {name: Dataset(each, None, "images.npy") for name, each in images.items()}


def fit(out: Path, dataset: Dataset, epochs: int, **how: Any) -> TrainedRun:
    given = RAGGED | {"epochs": epochs}
    return commands.fit(out, given, dataset=dataset, progress=False, **how)


def bits(run: TrainedRun, out: Path) -> dict[str, Any]:
    """All that a run is, without the time that it took."""
    metrics = json.loads((out / "metrics.json").read_text())
    files: dict[str, bytes] = {}
    for name in ("clusters.npz", "gallery.npz"):
        with np.load(out / name, allow_pickle=False) as entries:
            files |= {f"{name}/{key}": entries[key].tobytes() for key in entries.files}
    return files | {
        "params": {name: p.tobytes() for name, p in run.model.params.items()},
        "losses": [(r.loss, r.validation_loss) for r in run.history],
        "codes": run.codes.tobytes(),
        "errors": run.errors.tobytes(),
        "metrics": {name: value for name, value in metrics.items() if name != "seconds"},
        "digest": json.loads((out / "config.json").read_text())["data"]["digest"],
    }


@pytest.fixture(scope="module")
def whole(forms: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("whole") / "run"
    return bits(fit(out, forms["numbers"], 3), out)


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_run_has_the_bits_of_one_on_numbers(
    form: str, forms: dict[str, Dataset], whole: dict[str, Any], tmp_path: Path
) -> None:
    found = bits(fit(tmp_path, forms[form], 3), tmp_path)
    for name, expected in whole.items():
        assert found[name] == expected, name


@pytest.mark.parametrize(
    ("first", "then"), [("numbers", "bytes"), ("bytes", "file"), ("file", "numbers")]
)
def test_a_run_is_resumed_with_another_form(
    first: str, then: str, forms: dict[str, Dataset], whole: dict[str, Any], tmp_path: Path
) -> None:
    fit(tmp_path, forms[first], 1)
    found = bits(fit(tmp_path, forms[then], 3, resume=True), tmp_path)
    for name, expected in whole.items():
        assert found[name] == expected, name


def test_rows_are_the_same_for_all_forms(forms: dict[str, Dataset], tmp_path: Path) -> None:
    fit(tmp_path, forms["file"], 1)
    for command in (commands.cluster, commands.score):
        expected, result = command(tmp_path, forms["numbers"], progress=False)
        for form in FORMS[1:]:
            columns, same = command(tmp_path, forms[form], progress=False)
            assert same == result
            for name, column in expected.items():
                np.testing.assert_array_equal(columns[name], column, err_msg=f"{form} {name}")


@pytest.mark.parametrize("form", FORMS)
def test_batches_are_gathered_in_order(form: str, forms: dict[str, Dataset], pixels: Array) -> None:
    order = np.random.default_rng(0).permutation(len(pixels))
    batches = [order[:100], order[100:101], order[101:], order[:0]]
    found = [*gathered(forms[form].images, batches)]
    for batch, x in zip(batches, found, strict=True):
        np.testing.assert_array_equal(x, pixels[batch] / np.float32(255))
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        assert x.flags.writeable


def test_rows_of_a_file_are_announced_a_batch_before_they_are_read(
    forms: dict[str, Dataset], pixels: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, events = forms["file"].images, list[Any]()
    assert isinstance(images, StoredImages)
    monkeypatch.setattr(FileArray, "will_need", lambda self, rows: events.append(rows.tolist()))
    turned = images.take(np.arange(len(pixels))[::-1])
    batches = [np.array([5, 2]), np.array([0, 306]), np.array([7])]
    for batch, x in zip(batches, gathered(turned, batches), strict=True):
        np.testing.assert_array_equal(x, pixels[306 - batch] / np.float32(255))
        events.append(None)
    assert events == [[306, 0], None, [299], None, None]


class Elsewhere:
    """Images that are asked for by epoch, never by batch."""

    def __init__(self, x: Array) -> None:
        self.x, self.shape, self.dtype, self.asked = x, x.shape, x.dtype, 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Array:
        assert isinstance(index, slice | int), "batches are gathered"
        found: Array = self.x[index]
        return found

    def gather(self, batches: Any) -> Iterator[Array]:
        self.asked += 1
        return (self.x[batch] for batch in batches)


def test_images_that_gather_are_asked_once_an_epoch(forms: dict[str, Dataset]) -> None:
    x = np.asarray(forms["numbers"].images)
    images = Elsewhere(x)
    here, there = (
        method.train(each, Architecture("dense", (6, 6, 1), hidden=(8,)), epochs=2, batch_size=48)
        for each in (x, images)
    )
    assert images.asked == 2
    assert here[1].losses == there[1].losses
