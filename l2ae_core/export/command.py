"""`l2ae export` as a function: a run directory becomes one .onnx file."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from l2ae_core import data, inference
from l2ae_core.data import Preparation
from l2ae_core.data.fetch import ENVIRONMENT, cache_folder, expand_user
from l2ae_core.environment import versions
from l2ae_core.export.check import Comparison, compare
from l2ae_core.export.model import make_model
from l2ae_core.files import GALLERY, atomic_file, check_out
from l2ae_core.gallery import Gallery
from l2ae_core.images import Images
from l2ae_core.inference import Inference
from l2ae_core.seeds.runs import chosen_run
from l2ae_core.tables import counted
from l2ae_core.verdict import Criterion, Thresholds
from l2ae_kernels.arrays import Array

IMAGES = 256  # that NumPy and onnxruntime are compared on
PACKAGES = ("numpy", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Exported:
    """What was written, and what it was compared on."""

    limits: Thresholds
    comparisons: list[Comparison]
    images: str  # "256 images of mnist"
    bytes: int
    note: str  # which run it is, of a folder of several seeds


def export(
    run: Path,
    out: Path,
    *,
    fpr: float = 0.05,
    criterion: Criterion | None = None,
    source: str | None = None,
    data_dir: str | None = None,
    split: data.Split = "all",
    progress: bool = True,
) -> Exported:
    """Write the network, the centers and the verdict of a run as an ONNX graph to `out`.

    `fpr` and `criterion` are those of `l2ae score`. The graph is run by onnxruntime on images of
    `source`, by default some of the training, if at hand, else random ones, and compared with
    NumPy. ValueError, and no file, where an output differs by more than rounding.
    """
    check_out(out, ".onnx")
    run, note = chosen_run(run)
    loaded = inference.load(run)
    limits = loaded.clusters.thresholds(fpr, criterion)
    images, words = _images(loaded, source, data_dir, split, progress)
    metadata = _metadata(loaded, fpr, limits)
    loaded = replace(loaded, preparation=Preparation())  # the images are prepared already
    model = make_model(loaded, limits, metadata)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    comparisons = compare(content, loaded, images, limits)
    for found in comparisons:
        if not found.holds:
            raise ValueError(
                f"export: {found.output} of the graph differs from NumPy by {found.difference:.3g} "
                f"on {words}, more than the {found.bound:.3g} of rounding; nothing was written"
            )
    with atomic_file(out) as file:
        file.write(content)
    return Exported(limits, comparisons, words, len(content), note)


def _metadata(run: Inference, fpr: float, limits: Thresholds) -> dict[str, Any]:
    """Return what the file tells of itself, as JSON values."""
    return {
        "fpr": fpr,
        "threshold": limits.normality,
        "error_threshold": limits.error,
        "class_names": run.config["training"].get("class_names"),
        "preparation": run.preparation.to_dict(),  # of what the graph takes
        "architecture": run.config["architecture"],
        "data": run.config["data"],
        "trained_with": run.config["versions"],
        "exported_with": versions(PACKAGES),
    }


def _images(
    run: Inference, source: str | None, data_dir: str | None, split: data.Split, progress: bool
) -> tuple[Array, str]:
    """Return at most IMAGES prepared images (N, H, W, C) float32, and their name."""
    if source is None:
        kept = _kept(run)
        if kept is not None:
            return _some(kept), f"{counted(min(len(kept), IMAGES), 'image')} of the run's gallery"
        source, split = run.config["data"]["name"], "all"
        if not _at_hand(source, data_dir):
            rng = np.random.default_rng(run.config["seed"])
            images = rng.random((IMAGES, *run.model.input_shape), np.float32)
            return images, f"{IMAGES} random images, since {source} is not at hand"
    dataset = data.load(
        source, data_dir=data_dir, split=split, preparation=run.preparation,
        skip_unreadable=True, progress=progress,
    )  # fmt: skip
    images = run.fitting(_some(dataset.images))
    return images, f"{counted(len(images), 'image')} of {dataset.name}"


def _kept(run: Inference) -> Array | None:
    """Return the images of the training that the run keeps, where it keeps them as large."""
    if not (run.path / GALLERY).exists():
        return None
    images = Gallery.load(run.path).thumbnails
    same = images.shape[1:] == run.model.input_shape and len(images) > 0
    return data.to_images(images, GALLERY) if same else None


def _some(images: Images) -> Array:
    """Return at most IMAGES of them, spread over all."""
    N = len(images)
    return images[np.unique(np.linspace(0, N - 1, min(N, IMAGES)).astype(np.int64))]


def _at_hand(name: str, data_dir: str | None) -> bool:
    """Whether the data of a run can be read without a download."""
    if name == "digits":
        return True
    if name in data.DATASETS:
        return bool(data_dir or os.environ.get(ENVIRONMENT)) or (cache_folder() / name).is_dir()
    return expand_user(name).exists()
