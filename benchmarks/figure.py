"""The picture of the README: codes of two runs beside each other, with and without the constraint.

l2ae fit --data usps --norm l2 --out runs/l2 && l2ae fit --data usps --norm none --out runs/none
python benchmarks/figure.py runs/l2 runs/none benchmarks/results/usps.png
"""

import argparse
from pathlib import Path

import numpy as np

from l2ae_core import data
from l2ae_core.commands import load_fitted
from l2ae_core.figures import embedding_scatter, save
from l2ae_kernels import ops

IMAGES = 3000  # t-SNE of all takes minutes, and shows the same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("with_constraint", type=Path)
    parser.add_argument("without", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    runs = {
        "with the l2 constraint": load_fitted(arguments.with_constraint),
        "without the constraint": load_fitted(arguments.without),
    }
    settings = runs["with the l2 constraint"].settings
    images = data.load(settings["data"], data_dir=arguments.data_dir, split=settings["split"])
    shown = np.sort(np.random.default_rng(0).choice(len(images), IMAGES, replace=False))
    part = images.subset(shown)
    if part.labels is None:
        parser.error(f"with_constraint: the images of {images.name} have no labels to color by")
    codes = {name: run.model.encode(part.images) for name, run in runs.items()}
    labels = {name: ops.assign(u, runs[name].clusters.centers)[0] for name, u in codes.items()}
    title = f"{images.name}, {IMAGES:,} of {len(images):,} images, seed {settings['seed']}"
    title += f", {settings['epochs']} epochs"
    save(embedding_scatter(codes, part.labels, labels, title=title), arguments.out, dpi=110)


if __name__ == "__main__":
    main()
