"""Small good files of every kind that is read, and how each is read."""

import gzip
import hashlib
import importlib.util
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from packed_originals import write_packed
from PIL import Image

from l2ae_core import commands, data
from l2ae_core.baselines.dec import DecSettings, refine
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import mnist, usps
from l2ae_core.data.digits import load_digits
from l2ae_core.data.fetch import RemoteFile
from l2ae_core.estimators import AutoEncoderClusterer
from l2ae_core.files import SELF_LABELLING
from l2ae_core.gallery import Gallery, make_gallery
from l2ae_core.gallery.seeds import SeedsGallery
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.paper import read_results
from l2ae_core.refinement import SelfLabelling, self_label
from l2ae_core.report.results_page import results_page
from l2ae_core.report.run_page import run_page
from l2ae_core.seeds.runs import SeedAgreement, SeedRuns, chosen_run
from l2ae_core.training.augment import Warp
from l2ae_core.training.history import read_history
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import make_optimizer
from l2ae_core.training.run import create_run, load_run, make_config, write_metrics

ARCHITECTURE = Architecture("dense", (8, 8, 1), latent_dim=4, hidden=(16, 8))
REFINEMENT = DecSettings(
    "idec", update_interval=4, max_iter=8, batch_size=32, n_init=1, tol=0.0, n_clusters=3
)
TRAINING = {
    "split": "all", "epochs": 3, "batch_size": 32, "optimizer": "adam", "learning_rate": 1e-3,
    "reduction": "mean", "clusters": 3, "n_init": 2, "weights": "best", "anomaly_class": None,
    "keep": 0.1, "augment": False, "self_label": True, "rounds": 2, "tol": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Original:
    """A file in the folder of originals, how to damage it, and what reads it.

    `read` takes the file; what it returns, a dict of arrays, must be that of the original where
    checksums hold the bytes.
    """

    name: str
    kind: str
    read: Callable[[Path], Any]
    checksums: bool = False
    slow: bool = False  # draws a page, in half a second

    @property
    def unit(self) -> str:
        """The file or folder that is copied for a case: what is read with the file."""
        return self.name.split("/")[0]


def _images(count: int = 60) -> np.ndarray:
    return load_digits(None, "all").images[:count]


def _dataset(path: Path) -> dict[str, np.ndarray]:
    found = data.load(path)
    return {"images": np.asarray(found.images)} | (
        {} if found.labels is None else {"labels": found.labels}
    )


def _load_mnist(path: Path) -> None:
    data.load("mnist", data_dir=path.parent, split="test")


def _load_usps(path: Path) -> None:
    data.load("usps", data_dir=path.parent, split="test")


def _run(path: Path) -> dict[str, np.ndarray]:
    commands.load_fitted(path.parent)
    model, _ = load_run(path.parent, "last")
    return {**model.params, **model.state}


def _self_labelled(path: Path) -> dict[str, np.ndarray]:
    model = commands.load_fitted(path.parent.parent).model
    assert isinstance(model, AutoEncoder)
    return {**model.params, **model.state}


def _clusters(path: Path) -> dict[str, np.ndarray]:
    found = commands.load_fitted(path.parent).clusters
    assert found.errors is not None
    return {"centers": found.centers, "normality": found.normality, "errors": found.errors}


def _gallery(path: Path) -> dict[str, np.ndarray]:
    found = Gallery.load(path.parent)
    return {"labels": found.labels, "thumbnails": found.thumbnails, "codes": found.codes}


def _seeds(path: Path) -> None:
    chosen_run(path.parent)


def _seeds_gallery(path: Path) -> dict[str, np.ndarray]:
    found = SeedsGallery.load(path.parent, 3)
    return {"labels": found.labels, "thumbnails": found.thumbnails}


def _run_report(path: Path) -> None:
    read_history(path.parent)
    run_page(path.parent)


def _self_labelled_report(path: Path) -> None:
    read_history(path.parent)
    run_page(path.parent.parent)


def _estimator(path: Path) -> dict[str, np.ndarray]:
    found = AutoEncoderClusterer.load(path)
    found.predict(_images(2)[..., 0])
    return {**found.autoencoder_.params, "labels": found.labels_}


def _refinement(path: Path) -> None:
    refine(
        build(ARCHITECTURE, np.random.default_rng(0)), _images(), np.random.default_rng(0),
        REFINEMENT, run_dir=path.parent, resume=True, progress=False,
    )  # fmt: skip


def _results(path: Path) -> None:
    read_results(path.parent)


def _results_report(path: Path) -> None:
    results_page(path.parent)


def _arrays(path: Path) -> None:
    results_page(path.parent.parent)


def write_originals(folder: Path) -> list[Original]:
    """Write the files and return what they are; equal for equal folders."""
    return [
        *_write_data(folder),
        *_write_images(folder),
        *(Original(*one) for one in write_packed(folder)),
        *_write_run(folder),
        *_write_results(folder),
    ]


def _write_data(folder: Path) -> list[Original]:
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (6, 28, 28), np.uint8), np.arange(6, dtype=np.uint8)
    remote: list[RemoteFile] = []
    for name, pack in {"idx": lambda b: b, "idxgz": gzip.compress}.items():
        (folder / name).mkdir()
        end = ".gz" if name == "idxgz" else ""
        for what, a in {"images-idx3": pixels, "labels-idx1": labels}.items():
            head = struct.pack(f">HBB{a.ndim}I", 0, 8, a.ndim, *a.shape)
            (folder / name / f"t10k-{what}-ubyte{end}").write_bytes(pack(head + a.tobytes()))
            digest = hashlib.sha256(head + a.tobytes()).hexdigest()
            remote.append(RemoteFile(f"mnist/t10k-{what}-ubyte", 6, digest, ()))
    mnist.FILES["test"] = (remote[0], remote[1])  # these small files are now the published ones
    (folder / "usps").mkdir()
    row = b"3 " + b" ".join(b"%.3f" % v for v in rng.uniform(-1, 1, 256)) + b"\n"
    (folder / "usps" / "zip.test").write_bytes(row * 3)
    usps.FILES["test"] = RemoteFile("usps/zip.test", 3, hashlib.sha256(row * 3).hexdigest(), ())
    np.save(folder / "images.npy", _images(20))
    np.save(folder / "bytes.npy", pixels)
    np.savez(folder / "stored.npz", images=pixels, labels=labels)
    np.savez_compressed(folder / "text.npz", x=_images(5), y=np.array(list("abcab")))
    return [
        Original("idx/t10k-images-idx3-ubyte", "idx", _load_mnist),
        Original("idx/t10k-labels-idx1-ubyte", "idx", _load_mnist),
        Original("idxgz/t10k-images-idx3-ubyte.gz", "gzip", _load_mnist),
        Original("usps/zip.test", "text", _load_usps),
        Original("images.npy", "npy", _dataset),
        Original("bytes.npy", "npy", _dataset),
        Original("stored.npz", "npz", _dataset, checksums=True),
        Original("text.npz", "npz", _dataset, checksums=True),
    ]


def _write_images(folder: Path) -> list[Original]:
    rng = np.random.default_rng(1)
    colour = Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8))
    grey, palette = colour.convert("L"), colour.quantize(16)
    exif = Image.Exif()
    exif[0x0112] = 6
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "colour.png": (colour, {}), "palette.png": (palette, {}), "alpha.png":
        (Image.merge("LA", (grey, Image.new("L", grey.size, 255))), {}),
        "exif.jpg": (colour, {"exif": exif}), "grey.jpg": (grey, {"progressive": True}),
        "cmyk.jpg": (colour.convert("CMYK"), {}),
        "plain.tif": (colour, {}), "lzw.tif": (grey, {"compression": "tiff_lzw"}),
        "deflate.tiff": (palette, {"compression": "tiff_adobe_deflate"}),
        "palette.gif": (palette, {}), "colour.bmp": (colour, {}), "palette.bmp": (palette, {}),
        "lossy.webp": (colour, {}), "lossless.webp": (colour, {"lossless": True}),
        "grey.pgm": (grey, {}), "colour.ppm": (colour, {}),
    }  # fmt: skip
    for name, (image, options) in made.items():
        image.save(folder / name, **options)
    plain = " ".join(map(str, rng.integers(0, 100, 300)))
    (folder / "plain.pnm").write_text(f"P3 # a comment\n10 10\n99\n{plain}\n")
    return [Original(name, "image", _dataset) for name in (*made, "plain.pnm")]


def _write_run(folder: Path) -> list[Original]:
    run, images = folder / "run", _images()
    rng = np.random.default_rng(0)
    model = build(ARCHITECTURE, rng)
    create_run(run, make_config(ARCHITECTURE, data="digits", digest="0" * 64, seed=0,
                                training=TRAINING))  # fmt: skip
    fit(model, images, epochs=3, batch_size=32, optimizer=make_optimizer("adam", 1e-3), rng=rng,
        run_dir=run, progress=False)  # fmt: skip
    self_label(model, images, rng, SelfLabelling(3, rounds=2, tol=0.0, n_init=1), rng=rng,
               run_dir=run / SELF_LABELLING, progress=False)  # fmt: skip
    v, errors = np.linspace(0, 1, 60, dtype="f4"), np.linspace(1, 9, 60)
    SavedClusters(model.encode(images)[:3], v, 2.5, errors).save(run)
    digits = load_digits(None, "all").subset(slice(60))
    make_gallery(model, model.encode(images)[:3], digits).save(run)
    scores = {"inertia": 2.5, "acc": 0.5, "nmi": 0.4, "ari": 0.3,
              "chance": {"acc": 0.1, "nmi": 0.0, "ari": 0.0}}  # fmt: skip
    write_metrics(run, {"epochs": 3, "seconds": 1.5, "images": 60, "best": scores, "last": scores,
                        "self_labelled": scores,
                        "reconstruction_mse": {"last": 0.1, "best": 0.1}})  # fmt: skip
    clusterer = AutoEncoderClusterer(3, model="dense", hidden=(16, 8), latent_dim=4, epochs=2,
                                     n_init=1, random_state=0, augment=Warp(5.0),
                                     self_label=SelfLabelling(3, rounds=2))  # fmt: skip
    clusterer.fit(images[..., 0]).save(folder / "estimator.npz")
    nmi = [[1, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 1]]
    agreement = SeedAgreement(nmi, [0.375, 0.5, 0.375], 1, ["agrees", "agrees", "stands apart"])
    SeedRuns([0, 1, 2], agreement).write(folder / "seeds")
    labels = np.stack([np.arange(60) % 3, np.arange(60) % 2, np.arange(60) // 20])
    SeedsGallery.of(labels, 1, digits).save(folder / "seeds")
    (folder / "refined").mkdir()
    refine(build(ARCHITECTURE, np.random.default_rng(0)), images, np.random.default_rng(0),
           REFINEMENT, run_dir=folder / "refined", progress=False)  # fmt: skip
    return [
        Original("run/config.json", "json", _run),
        Original("run/config.json", "json", _run_report, slow=True),
        Original("run/checkpoint.npz", "npz", _run, checksums=True),
        Original("run/checkpoint.npz", "npz", _run_report, slow=True),
        Original("run/clusters.npz", "npz", _clusters, checksums=True),
        Original("run/clusters.npz", "npz", _run_report, slow=True),
        Original("run/gallery.npz", "npz", _gallery, checksums=True),
        Original("run/gallery.npz", "npz", _run_report, slow=True),
        Original("run/metrics.json", "json", _run_report, slow=True),
        Original("run/history.jsonl", "jsonl", _run_report, slow=True),
        Original("run/self-labelling/checkpoint.npz", "npz", _self_labelled, checksums=True),
        Original("run/self-labelling/checkpoint.npz", "npz", _self_labelled_report, slow=True),
        Original("run/self-labelling/history.jsonl", "jsonl", _self_labelled_report, slow=True),
        Original("seeds/seeds.json", "json", _seeds),
        Original("seeds/gallery.npz", "npz", _seeds_gallery, checksums=True),
        Original("estimator.npz", "npz", _estimator, checksums=True),
        Original("refined/checkpoint.npz", "npz", _refinement),
    ]


def _write_results(folder: Path) -> list[Original]:
    path = Path(__file__).parents[1] / "report" / "made_up.py"
    spec = importlib.util.spec_from_file_location("made_up", path)
    assert spec is not None
    assert spec.loader is not None
    made_up = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made_up)
    results = [
        made_up.clustering("cae", 0, 0.7), made_up.clustering("cae-l2", 0, 0.9),
        made_up.detection("cae-l2", 1, 0, 0.95),
    ]  # fmt: skip
    made_up.write(folder / "results", results)
    made_up.write_images(folder / "results", results[1])
    made_up.write_figure1(folder / "results")
    names = [f"results/{result.id}.json" for result in results]
    return [
        *(Original(name, "result", _results) for name in names),
        *(Original(name, "result", _results_report, slow=True) for name in names),
        Original("results/figure1-usps.npz", "npz", _results_report, slow=True),
        Original(f"results/arrays/{results[1].id}.npz", "npz", _arrays, slow=True),
    ]
