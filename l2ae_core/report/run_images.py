"""The parts of a run's page that are made of its gallery."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core.clustering.sweep import silhouette
from l2ae_core.gallery import Gallery
from l2ae_core.report import outliers
from l2ae_core.report.clusters import class_confusion, clusters
from l2ae_core.report.code_map import code_map
from l2ae_core.report.markup import Markup, element, tile
from l2ae_core.report.page import Section
from l2ae_core.tables import counted
from l2ae_core.verdict import REASONS, Thresholds
from l2ae_kernels.arrays import Array

FPR = 0.05  # share of the training images outside of the thresholds


def image_sections(
    gallery: Gallery | None, thresholds: Thresholds | None, config: Mapping[str, Any], path: Path,
    progress: bool,
) -> list[Section]:  # fmt: skip
    """The parts that show images, of which some are anomalous by the thresholds, if there are any.

    Without a gallery they say how to make one.
    """
    if gallery is None:
        return [Section("clusters", "Clusters", [], show_command(path, config))]
    reasons = None if thresholds is None else thresholds.reasons(gallery.v, gallery.error)
    return [
        Section("glance", "At a glance", _glance(gallery, reasons)),
        Section("clusters", "Clusters", clusters(gallery)),
        Section("least-normal", "Least normal images", outliers.least_normal(gallery, reasons)),
        Section("worst", "Worst reconstructions", outliers.worst(gallery, reasons)),
        Section("faulty", "Constant, dark and equal images", outliers.faulty(gallery)),
        *_filled("map", "Map of the codes", code_map(gallery, config["seed"], progress)),
        *_filled("classes", "Classes and clusters", class_confusion(gallery)),
    ]


def show_command(path: Path, config: Mapping[str, Any]) -> str:
    """Return the command that shows the training images of a run that keeps none."""
    data = config["data"]["name"] if config["data"]["digest"] else "DATA"  # an array has no path
    split = config["training"].get("split", "all")
    return f"l2ae report {path} --data {data}{f' --split {split}' if split != 'all' else ''}"


def _filled(id: str, title: str, content: list[Markup]) -> list[Section]:
    """A section that is left out where there is nothing to show."""
    return [Section(id, title, content)] if content else []


def _glance(gallery: Gallery, reasons: Array | None) -> list[Markup]:
    """Number of images, sizes of clusters, silhouette, reconstruction error, anomalous images."""
    N, K = len(gallery), gallery.n_clusters
    H, W, C = gallery.image_shape
    kind = {1: "grey", 3: "colour"}.get(C, counted(C, "channel"))
    sizes = np.bincount(gallery.labels, minlength=K)
    found = silhouette(gallery.codes, gallery.labels[gallery.sample])
    mse = float(gallery.error.mean()) / (H * W * C)
    tiles = [
        tile("Images", f"{N:,}", [gallery.name, f"{W} × {H} pixels, {kind}"]),
        tile("Clusters", f"{K}", [f"of {sizes.min():,} to {sizes.max():,} images"]),
        tile("Silhouette of the codes", "–" if np.isnan(found) else f"{found:.2f}",
             ["from −1 to 1; near 0 the clusters touch"]),
        tile("Reconstruction MSE", f"{mse:#.3g}",
             ["mean over pixels", f"variance of the images {gallery.variance:#.3g}"]),
    ]  # fmt: skip
    if reasons is not None:
        counts = [f"{(reasons == r).sum():,} {r}" for r in REASONS if (reasons == r).any()]
        tiles.insert(1, tile("Anomalous", f"{(reasons != '').sum():,}",
                             [*counts, f"as by l2ae score --fpr {FPR}"]))  # fmt: skip
    return [element("dl", *tiles, class_="glance four")]
