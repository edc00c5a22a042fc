"""`l2ae_core.inference`: the numbers of `l2ae score`, in a process that has NumPy alone."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core import commands, data, inference
from l2ae_core.anomaly import ROUNDING
from l2ae_core.cli import main
from l2ae_core.commands import load_fitted

DENSE = ["--model", "dense", "--hidden", "50,40,60"]
NETWORKS = {
    "cae": ["--model", "cae"],
    "cae-affine": ["--model", "cae", "--norm", "layer", "--hidden-norm", "batch", "--affine"],
    "cae-layer": ["--model", "cae", "--norm", "batch", "--hidden-norm", "layer"],
    "dense": [*DENSE, "--norm", "none", "--slope", "0.3", "--grey"],
    "self-labelled": [*DENSE, "--self-label", "--rounds", "2"],
    "seeds": [*DENSE, "--norm", "layer", "--affine", "--seeds", "2"],
}
# Every import but those of NumPy, of the standard library and of this project fails.
ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Nothing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        known = {*sys.stdlib_module_names, "numpy", "l2ae_core", "l2ae_kernels"}
        if name.partition(".")[0] not in known:
            raise ModuleNotFoundError(f"{name} (for this test)")

sys.meta_path.insert(0, Nothing())
import numpy as np
from l2ae_core import inference

images = np.load(sys.argv[1])["x"]
for run in sys.argv[2:]:
    loaded = inference.load(run)
    found = loaded.score(images, fpr=0.1)._asdict()
    limits = found.pop("thresholds")
    found |= {"threshold": limits.normality, "error_threshold": limits.error}
    found |= {"u": loaded.encode(images), "label": loaded.cluster(images)}
    found |= {"v": loaded.normality(images), "error": loaded.error(images)}
    np.savez(f"{run}.npz", reconstruction=loaded.reconstruct(images), **found)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """40 images of two kinds, wider than high."""
    rng = np.random.default_rng(0)
    x = rng.random((40, 8, 12)) * 0.3
    x[::2, 2:6] += 0.7
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=x.astype(np.float32))
    return path


@pytest.fixture(scope="module")
def runs(images, tmp_path_factory) -> dict[str, Path]:
    """A run of each network, and what a process with NumPy alone makes of it."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in NETWORKS.items():
        common = ["--quiet", "--epochs", "2", "--batch-size", "8", "--clusters", "2", "--n-init"]
        out = ["--data", str(images), "--out", str(folder / name)]
        assert main(["fit", *out, *common, "1", *options]) == 0
    made = {name: folder / name for name in NETWORKS}
    arguments = [str(images), *map(str, made.values())]
    subprocess.run([sys.executable, "-c", ALONE, *arguments], check=True)
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_are_those_of_the_commands(name, runs, images):
    run = runs[name]
    found = np.load(run.with_name(f"{name}.npz"))
    columns, result = commands.score(run, str(images), fpr=0.1)
    loaded = load_fitted(run)
    x = np.load(images)["x"][..., None]
    u, centers = loaded.model.encode(x), loaded.clusters.centers

    # as in anomaly.ROUNDING: another order of the sums, in numbers as large as these
    delta = ROUNDING * max(1.0, np.linalg.norm(u, axis=1).max())
    np.testing.assert_allclose(found["u"], u, rtol=0, atol=delta)
    pixel = ROUNDING * max(1.0, np.abs(loaded.model.decode(u)).max())
    np.testing.assert_allclose(found["reconstruction"], loaded.model.decode(u), atol=pixel)
    for v in ("normality", "v"):
        np.testing.assert_allclose(found[v], columns["normality"], rtol=0, atol=ROUNDING)
    P, expected = x[0].size, columns["reconstruction_error"]
    bound = 2 * pixel * np.sqrt(P * expected) + P * pixel**2  # of Σ (Î + δ − I)² − Σ (Î − I)²
    for error in ("reconstruction_error", "error"):
        assert (np.abs(found[error] - expected) <= bound).all()

    distances = np.linalg.norm(u[:, None] - centers, axis=2)
    chosen = distances[np.arange(len(u)), found["label"]]
    assert (chosen <= distances.min(axis=1) + 2 * delta).all()
    cosines = u @ (centers / np.linalg.norm(centers, axis=1, keepdims=True)).T
    cosines /= np.linalg.norm(u, axis=1, keepdims=True)
    chosen = cosines[np.arange(len(u)), found["cluster"]]
    assert (chosen >= cosines.max(axis=1) - 2 * ROUNDING).all()

    for threshold in ("threshold", "error_threshold"):
        assert found[threshold] == result[threshold]
    clear = np.abs(columns["normality"] - result["threshold"]) > ROUNDING
    clear &= np.abs(expected - result["error_threshold"]) > bound
    assert clear.sum() > len(clear) / 2
    for verdict in ("anomalous", "reason"):
        assert (found[verdict] == columns[verdict])[clear].all()


def test_images_of_a_file_are_read_some_at_a_time(images, tmp_path):
    x = np.tile((np.load(images)["x"] * 255).astype(np.uint8), (3000, 1, 1))  # (120,000, 8, 12)
    np.save(tmp_path / "x.npy", x)
    small = ["--model", "dense", "--hidden", "4", "--latent-dim", "3", "--clusters", "2"]
    fit = ["fit", "--quiet", "--epochs", "1", "--n-init", "1", "--data", str(images), *small]
    assert main([*fit, "--out", str(tmp_path / "run")]) == 0
    loaded = inference.load(tmp_path / "run")
    tracemalloc.start()
    try:
        found = loaded.score(tmp_path / "x.npy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * x.nbytes, f"{peak / x.nbytes:.1f} times the images of 8 bits"
    for at in (slice(40), slice(-40, None)):
        few = loaded.score(x[at])
        np.testing.assert_array_equal(found.cluster[at], few.cluster)
        np.testing.assert_allclose(found.reconstruction_error[at], few.reconstruction_error, 1e-5)
    with pytest.raises(ValueError, match=r"images: have shape \(8, 11, 1\)"):
        loaded.score(x[:, :, 1:])


def test_import_takes_numpy_alone():
    code = "import sys, l2ae_core.inference; print(*{m.partition('.')[0] for m in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = {"numba", "llvmlite", "scipy", "sklearn", "matplotlib", "PIL", "pooch", "tqdm"}
    assert not heavy & {*found.stdout.split()}


def test_what_images_may_be(runs, tmp_path):
    run = inference.load(runs["cae"])
    grey = (np.arange(3 * 8 * 12) % 256).astype(np.uint8).reshape(3, 8, 12)
    u = run.encode(grey)
    np.testing.assert_array_equal(run.encode(grey[..., None] / 255), u)
    one_by_one = np.concatenate([run.encode(grey[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(one_by_one, u, atol=ROUNDING)
    np.testing.assert_array_equal(run.encode(data.load(grey)), u)
    assert len(repr(run)) < 300  # arrays and settings are no part of it


def test_images_are_prepared_as_those_of_the_training(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (24, 10, 14, 3), np.uint8)
    np.save(tmp_path / "images.npy", x)
    arguments = ["--data", str(tmp_path / "images.npy"), "--out", str(tmp_path / "run"), "--quiet"]
    arguments += ["--epochs", "1", "--clusters", "2", "--n-init", "1"]
    assert main(["fit", *arguments, "--size", "8", "--fit", "crop", "--grey"]) == 0
    run = inference.load(tmp_path / "run")
    found = run.score(x)
    columns, _ = commands.score(tmp_path / "run", str(tmp_path / "images.npy"))
    np.testing.assert_allclose(found.normality, columns["normality"], rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(found.reconstruction_error, columns["reconstruction_error"], 1e-4)
    np.testing.assert_array_equal(run.encode(tmp_path / "images.npy"), run.encode(x))
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, image in zip(files, x, strict=False):
        Image.fromarray(image).save(file)
    np.testing.assert_array_equal(run.encode(files), run.encode(x[:3]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 8, 8)), r"images: have shape \(8, 8, 1\) but .* was trained on \(8, 12, 1\)"),
        (np.zeros((2, 8, 12, 3)), r"images: have shape \(8, 12, 3\)"),
        (np.zeros((8, 12)), r"images: images have shape \(8, 12\) but expected \(N, H, W\)"),
        (np.full((1, 8, 12), np.nan), "NaN"),
        (np.full((1, 8, 12), 7.0), "expected in"),
        (np.zeros((1, 8, 12), int), "int64 but expected uint8"),
    ],
)
def test_bad_images(bad, message, runs):
    run = inference.load(runs["cae"])
    for method in (run.encode, run.reconstruct, run.cluster, run.normality, run.error, run.score):
        with pytest.raises(ValueError, match=message):
            method(bad)


def test_bad_share(runs, images):
    with pytest.raises(ValueError, match="fpr is 1"):
        inference.load(runs["cae"]).score(np.load(images)["x"], fpr=1)


def test_files_that_do_not_belong_together(runs, tmp_path):
    def copy(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in runs["dense"].iterdir():
            if file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())
        return folder

    with pytest.raises(ValueError, match=r"config\.json: missing"):
        inference.load(tmp_path)
    unfinished = copy("unfinished")
    (unfinished / "clusters.npz").unlink()
    with pytest.raises(ValueError, match=r"clusters\.npz: missing"):
        inference.load(unfinished)
    foreign = copy("foreign")
    (foreign / "checkpoint.npz").write_bytes((runs["cae"] / "checkpoint.npz").read_bytes())
    with pytest.raises(ValueError, match=r"checkpoint\.npz: .*of another architecture"):
        inference.load(foreign)
    narrow = copy("narrow")
    clusters = inference.SavedClusters.load(narrow)
    inference.SavedClusters(clusters.centers[:, :3], clusters.normality, 1.0).save(narrow)
    with pytest.raises(ValueError, match=r"clusters\.npz: centers are \(2, 3\)"):
        inference.load(narrow)
    silent = copy("silent")
    config = json.loads((silent / "config.json").read_text())
    del config["training"]["weights"]
    (silent / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json: lacks the setting weights"):
        inference.load(silent)
