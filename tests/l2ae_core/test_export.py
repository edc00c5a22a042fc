"""`l2ae export`: an ONNX graph that gives what NumPy gives, or no file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

import onnx

from l2ae_core import commands, export, layers
from l2ae_core.anomaly import ROUNDING
from l2ae_core.cli import export as cli_export
from l2ae_core.cli import main
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import Preparation
from l2ae_core.export import graph
from l2ae_core.export.check import Comparison, compare, run_model
from l2ae_core.export.model import make_model, round_down, round_up
from l2ae_core.inference import Inference
from l2ae_core.networks import Architecture, build
from l2ae_core.verdict import Thresholds
from l2ae_kernels.arrays import NumPyArray

OUTPUTS = ["code", "cluster", "normality", "reconstruction", "reconstruction_error", "anomalous"]
SMALL = {"latent_dim": 5, "hidden": (20, 9, 30), "filters": (3, 4, 5)}
NETWORKS = {
    "cae": Architecture("cae", (8, 8, 1), **SMALL),
    "odd": Architecture("cae", (28, 25, 3), hidden_norm="batch", **SMALL),
    "affine": Architecture("cae", (12, 16, 1), norm="batch", hidden_norm="layer", affine=True,
                           **SMALL),
    "kernels": Architecture("cae", (11, 14, 1), norm="none", hidden_norm="batch", affine=True,
                            kernels=(4, 1, 2), **SMALL),
    "dense": Architecture("dense", (4, 6, 3), norm="layer", hidden_norm="batch", affine=True,
                          slope=0.3, **SMALL),
    "dense-layer": Architecture("dense", (4, 4, 1), hidden_norm="layer", **SMALL),
}  # fmt: skip

LIMITS = Thresholds(0.7, 15.0)


def inference_of(architecture: Architecture) -> Inference:
    """A network with no array at its first value: biases, γ, β and running statistics too."""
    rng = np.random.default_rng(0)
    model = build(architecture, rng)
    for name, a in {**model.params, **model.state}.items():
        if name.rpartition(".")[2] != "W":
            a[...] = rng.uniform(0.5, 1.5, a.shape)
    centers = rng.standard_normal((4, architecture.latent_dim)).astype(np.float32)
    clusters = SavedClusters(centers, np.linspace(0.5, 1, 9), 1.0)
    numpys = model.with_arrays(lambda a: a.view(NumPyArray))
    return Inference(numpys, clusters, Preparation(), {}, Path("made-up"))


def images_for(run: Inference, n: int) -> np.ndarray:
    return np.random.default_rng(1).random((n, *run.model.input_shape), np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_what_it_gives_in_float64(name):
    run = inference_of(NETWORKS[name])
    content = make_model(run, LIMITS, {}).SerializeToString()
    for n in (1, 6):
        x = images_for(run, n)
        found = run_model(content, x)
        assert list(found) == OUTPUTS
        exact = run.model.astype(np.float64)
        u = exact.encode(x.astype(np.float64).view(NumPyArray)).view(np.ndarray)
        decoded = exact.decode(u.view(NumPyArray)).view(np.ndarray)
        scale = np.abs(u).max(), np.abs(decoded).max()
        np.testing.assert_allclose(found["code"], u, rtol=0, atol=ROUNDING * scale[0])
        np.testing.assert_allclose(
            found["reconstruction"], decoded, rtol=0, atol=ROUNDING * scale[1]
        )
        error = np.square(decoded - x).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(found["reconstruction_error"], error, rtol=ROUNDING)
        centers = run.clusters.centers.astype(np.float64)
        cosines = u @ (centers / np.linalg.norm(centers, axis=1, keepdims=True)).T
        v = cosines.max(axis=1) / np.linalg.norm(u, axis=1)
        np.testing.assert_allclose(found["normality"], v, rtol=0, atol=ROUNDING)
        nearest = np.linalg.norm(u[:, None] - centers, axis=2).argmin(axis=1)
        np.testing.assert_array_equal(found["cluster"], nearest)  # random centers: no near tie
        expected = (v < LIMITS.normality) | (error > LIMITS.error)
        np.testing.assert_array_equal(found["anomalous"], expected)
        assert all(c.holds for c in compare(content, run, x, LIMITS))


def test_verdicts_of_a_rounded_threshold():
    rng = np.random.default_rng(0)
    v = rng.uniform(-1, 1, 1000).astype(np.float32)
    near = np.nextafter(v.astype(np.float64), np.inf), np.nextafter(v.astype(np.float64), -np.inf)
    for tau in (*near[0], *near[1], *v.astype(np.float64), 0.0, -1.0):
        np.testing.assert_array_equal(v < round_up(tau), v.astype(np.float64) < tau)
        np.testing.assert_array_equal(v > round_down(tau), v.astype(np.float64) > tau)


def test_an_image_without_a_number_is_anomalous():
    run = inference_of(NETWORKS["dense"])
    x = images_for(run, 3)
    x[1] = np.nan
    for limits in (Thresholds(-2.0, None), Thresholds(None, 1e9), Thresholds(-2.0, 1e9)):
        found = run_model(make_model(run, limits, {}).SerializeToString(), x)
        assert found["anomalous"].tolist() == [False, True, False]


# --- a fault of the graph is found


def swapped_pads(g, name, layer, x, before, after):
    made = graph._conv(g, name, layer, x, before, after)
    pads = next(a for a in g.nodes[-1].attribute if a.name == "pads")
    pads.ints[:] = [*pads.ints[2:], *pads.ints[:2]]
    return made


def cut_in_front(g, name, layer, x, before, after):
    made = graph._conv_transpose(g, name, layer, x, before, after)
    pads = next(a for a in g.nodes[-1].attribute if a.name == "pads")
    pads.ints[:] = [*pads.ints[2:], *pads.ints[:2]]
    return made


def another_epsilon(g, name, layer, x, before, after):
    made = graph._batch_norm(g, name, layer, x, before, after)
    next(a for a in g.nodes[-1].attribute if a.name == "epsilon").f = 1e-5
    return made


def maps_as_they_are(g, name, layer, x, before, after):
    g.channels_first = False  # it is not, but nothing transposes it
    return graph._reshape(g, name, layer, x, before, after)


def no_slope(g, name, layer, x, before, after):
    return g.node("Relu", x)


def without_length(g, name, layer, x, before, after):
    return x


FAULTS = {
    "conv": ("cae", layers.Conv2d, swapped_pads),
    "conv-transpose": ("cae", layers.ConvTranspose2d, cut_in_front),
    "batch-norm": ("kernels", layers.BatchNorm, another_epsilon),
    "reshape": ("odd", layers.Reshape, maps_as_they_are),
    "slope": ("dense", layers.LeakyReLU, no_slope),
    "l2": ("cae", layers.L2Normalize, without_length),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_node_is_found(fault, monkeypatch):
    name, layer, wrong = FAULTS[fault]
    run = inference_of(NETWORKS[name])
    monkeypatch.setitem(graph.ADD, layer, wrong)
    content = make_model(run, LIMITS, {}).SerializeToString()
    assert not all(c.holds for c in compare(content, run, images_for(run, 6), LIMITS))


@pytest.mark.parametrize(
    ("given", "other"),
    [
        ((-2.0, None), (2.0, None)),
        ((None, 1e9), (None, 0.0)),
        ((-2.0, 1e9), (-2.0, 0.0)),
        ((-2.0, 1e9), (2.0, 1e9)),
    ],
)
def test_another_verdict_is_found(given, other):
    run = inference_of(NETWORKS["cae"])
    content = make_model(run, Thresholds(*given), {}).SerializeToString()
    found = compare(content, run, images_for(run, 6), Thresholds(*other))
    assert [c.output for c in found if not c.holds] == ["anomalous"]


def test_what_is_not_a_number_is_not_within_a_bound():
    assert not Comparison.of("code", np.array([[0.0, np.nan], [0.0, 0.0]]), 1.0).holds
    assert Comparison.of("code", np.array([0.0, 0.5]), np.array([1.0, 0.5])).holds


def test_a_layer_without_an_operator():
    class Own(layers.ReLU):
        pass

    with pytest.raises(ValueError, match=r"no operator for the layer encoder\.0 "):
        graph.Graph().add_layers("encoder", layers.Sequential([Own()], (3,)), "images")


# --- the command


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Path]:
    """A run on 40 images, and these."""
    folder = tmp_path_factory.mktemp("export")
    x = np.random.default_rng(0).random((40, 8, 8)) * 0.3
    x[::2, 2:6] += 0.7
    images = folder / "images.npz"
    np.savez(images, x=x.astype(np.float32), y=np.where(np.arange(40) % 2, "lower", "upper"))
    arguments = ["--quiet", "--epochs", "2", "--batch-size", "8", "--clusters", "2"]
    assert main(["fit", "--data", str(images), "--out", str(folder / "run"), *arguments]) == 0
    return folder / "run", images


def test_a_run(run, tmp_path, capsys):
    folder, images = run
    out = tmp_path / "made" / "model.onnx"
    assert main(["export", str(folder), str(out), "--fpr", "0.2"]) == 0
    said = capsys.readouterr().out
    assert "images of the run's gallery" in said
    assert all(name in said for name in OUTPUTS)

    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    metadata = {p.key: json.loads(p.value) for p in model.metadata_props}
    columns, result = commands.score(folder, str(images), fpr=0.2)
    for name in ("threshold", "error_threshold"):
        assert metadata[name] == result[name]
    assert metadata["fpr"] == 0.2
    assert metadata["class_names"] == ["lower", "upper"]
    assert Architecture.from_dict(metadata["architecture"]).input_shape == (8, 8, 1)

    found = run_model(out.read_bytes(), np.load(images)["x"][..., None])
    v = columns["normality"]
    np.testing.assert_allclose(found["normality"], v, rtol=0, atol=2 * ROUNDING)
    clear = np.abs(v - result["threshold"]) > 2 * ROUNDING
    error = columns["reconstruction_error"]
    np.testing.assert_allclose(found["reconstruction_error"], error, rtol=1e-3)
    clear &= np.abs(error / result["error_threshold"] - 1) > 1e-3
    assert clear.sum() > 20
    np.testing.assert_array_equal(found["anomalous"][clear], columns["anomalous"][clear])
    assert f"anomalous is v < {result['threshold']:.6g} or error > " in said


def test_the_chosen_run_of_a_folder_of_seeds(run, tmp_path, capsys):
    arguments = ["--quiet", "--epochs", "1", "--clusters", "2", "--n-init", "1", "--seeds", "2"]
    assert main(["fit", "--data", str(run[1]), "--out", str(tmp_path / "s"), *arguments]) == 0
    assert main(["export", str(tmp_path / "s"), str(tmp_path / "model.onnx")]) == 0
    assert f"{tmp_path / 's'} has 2 runs: " in capsys.readouterr().err


def test_a_run_by_one_criterion(run, tmp_path):
    done = export.export(run[0], tmp_path / "model.onnx", criterion="cosine")
    assert done.limits.error is None
    assert "error_threshold" not in [
        c.name for c in onnx.load(tmp_path / "model.onnx").graph.initializer
    ]


def test_images_that_it_is_compared_on(run, tmp_path):
    """Named ones, those that the run keeps, those of the training, random ones."""
    folder, images, out = tmp_path / "copy", run[1], tmp_path / "model.onnx"
    shutil.copytree(run[0], folder)
    assert export.export(folder, out, source=str(images)).images == "40 images of images.npz"
    assert export.export(folder, out).images.endswith(" images of the run's gallery")
    (folder / "gallery.npz").unlink()
    assert export.export(folder, out).images == "40 images of images.npz"
    config = json.loads((folder / "config.json").read_text())
    config["data"]["name"] = str(tmp_path / "gone")
    (folder / "config.json").write_text(json.dumps(config))
    assert export.export(folder, out).images.startswith("256 random images, since ")


def test_the_graph_takes_prepared_images(run, tmp_path):
    """Grey levels of 12 bits: the images that it is compared on are in [0, 1] already."""
    x = np.random.default_rng(0).integers(0, 4096, (30, 8, 8), np.uint16)
    np.save(tmp_path / "deep.npy", x)
    arguments = ["--data", str(tmp_path / "deep.npy"), "--out", str(tmp_path / "run"), "--quiet"]
    arguments += ["--epochs", "1", "--clusters", "2", "--n-init", "1", "--depth", "12"]
    assert main(["fit", *arguments]) == 0
    source = str(tmp_path / "deep.npy")
    done = export.export(tmp_path / "run", tmp_path / "model.onnx", source=source)
    assert done.images == "30 images of deep.npy"
    metadata = {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(metadata["preparation"])["depth"] == "12"


def test_a_wrong_graph_is_not_written(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(graph.ADD, layers.Conv2d, swapped_pads)
    out = tmp_path / "model.onnx"
    out.write_bytes(b"the old one")
    assert main(["export", str(run[0]), str(out)]) == 1
    assert "of the graph differs from NumPy by" in capsys.readouterr().err
    assert out.read_bytes() == b"the old one"


def test_bad_arguments(run, tmp_path, monkeypatch, capsys):
    folder, _ = run
    wide = tmp_path / "wide.npy"
    np.save(wide, np.zeros((2, 8, 9)))
    out = tmp_path / "model.onnx"
    for arguments, message in (
        ([folder, tmp_path / "model.bin"], r"ends in '.bin' but expected .onnx"),
        ([tmp_path, out], "config.json: missing"),
        ([folder, out, "--fpr", "1"], "fpr is 1.0"),
        ([folder, out, "--data", wide], "images: have shape (8, 9, 1)"),
    ):
        assert main(["export", *map(str, arguments)]) == 1
        assert message in capsys.readouterr().err
    monkeypatch.setattr(cli_export, "find_spec", lambda name: None)
    assert main(["export", str(folder), str(out)]) == 1
    assert "pip install 'l2ae[onnx]'" in capsys.readouterr().err
    assert not out.exists()
