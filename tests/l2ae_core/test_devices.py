"""A trained network on a device: the same codes and images; a clear word where there is none."""

import numpy as np
import pytest

from l2ae_core import devices
from l2ae_core.cli import main
from l2ae_core.commands import cluster, score
from l2ae_core.devices import DeviceNetwork, choose_device
from l2ae_core.networks import Architecture, build
from l2ae_kernels.arrays import device_name
from l2ae_kernels.cuda.device import NoDevice
from l2ae_kernels.cuda.emulated import emulate

REASON = "CuPy cannot be imported (for this test)"
# Codes and pixels are near 1; a network loses a few hundred units in the last place on the way.
TOLERANCE = 1e-5


@pytest.fixture
def no_device(monkeypatch):
    def find_device():
        raise NoDevice(REASON)

    monkeypatch.setattr(devices, "find_device", find_device)
    monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: True)  # else nobody asks for a reason


@pytest.fixture
def found(monkeypatch, device):
    """The device, which the commands find too."""
    monkeypatch.setattr(devices, "find_device", lambda: device)
    return device


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on 12 images, trained for one epoch, and its images."""
    folder = tmp_path_factory.mktemp("device")
    images = folder / "images.npz"
    rng = np.random.default_rng(0)
    np.savez(images, x=rng.random((12, 8, 8)), y=np.arange(12) % 2)
    options = ["--quiet", "--epochs", "1", "--clusters", "2", "--anomaly-class", "1", "--keep", "1"]
    options += ["--n-init", "1", "--batch-size", "8", "--filters", "3,4,5"]
    assert main(["fit", "--data", str(images), "--out", str(folder / "run"), *options]) == 0
    return folder / "run", images


@pytest.mark.parametrize("model", ["cae", "dense"])
@pytest.mark.parametrize("norm", ["l2", "batch", "layer"])
def test_codes_and_images_are_those_of_the_cpu(model, norm, device):
    architecture = Architecture(
        model, (8, 8, 1), 10, norm, norm if norm != "l2" else "none", hidden=(20, 9, 30),
        filters=(3, 4, 5),
    )  # fmt: skip
    rng = np.random.default_rng(1)
    host = build(architecture, rng)
    images = rng.random((5, 8, 8, 1), np.float32)
    moved = DeviceNetwork.move(host, device)
    assert {device_name(p) for p in moved.model.params.values()} == {"cuda"}
    assert {device_name(p) for p in host.params.values()} == {"cpu"}
    for name, x in {"encode": images, "decode": host.encode(images)}.items():
        theirs, expected = (getattr(each, name)(x) for each in (moved, host))
        assert device_name(theirs) == "cpu"
        np.testing.assert_allclose(theirs, expected, rtol=0, atol=TOLERANCE)
        assert getattr(moved, name)(x[:0]).shape == expected[:0].shape


def test_a_product_that_cupy_gives_to_cublas_is_refused():
    """So the test above shows that no code and no image needs it."""
    x = emulate().zeros((2, 2), "float32")
    for product in (lambda: x @ x, lambda: np.tensordot(x, x), lambda: np.einsum("ij,jk", x, x)):
        with pytest.raises(RuntimeError, match="CuPy needs cuBLAS for it"):
            product()


def test_images_go_to_the_device_in_pieces(device, monkeypatch):
    host = build(Architecture("dense", (4, 4, 1), hidden=(3, 4, 5)), np.random.default_rng(2))
    images = np.random.default_rng(3).random((7, 4, 4, 1), np.float32)
    whole = DeviceNetwork.move(host, device).encode(images)
    monkeypatch.setattr(devices, "IMAGES_AT_ONCE", 3)
    np.testing.assert_array_equal(DeviceNetwork.move(host, device).encode(images), whole)


def test_commands_say_the_same_on_a_device(run, found):
    folder, images = run
    for command in (cluster, score):
        on_cpu, _ = command(folder, str(images))
        on_device, result = command(folder, str(images), device=None)
        assert result["note"] == f"used {found.properties.name}"
        assert command(folder, str(images), device="cuda")[1]["note"] == ""
        assert on_cpu.keys() == on_device.keys()
        for name in on_cpu.keys() - {"error_quantile", "reason"}:
            np.testing.assert_allclose(on_device[name], on_cpu[name], rtol=1e-5, atol=TOLERANCE)
    np.testing.assert_array_equal(on_device["reason"], on_cpu["reason"])
    # The images are those of the training, so each error is compared with itself but for rounding.
    off = np.abs(on_device["error_quantile"] - on_cpu["error_quantile"])
    close = np.isclose(on_cpu["reconstruction_error"][:, None], on_cpu["reconstruction_error"],
                       rtol=1e-5)  # fmt: skip
    assert (off <= close.mean(axis=1) + 1e-12).all()


def test_without_a_device(run, no_device, capsys):
    folder, images = run
    assert choose_device("cpu") == (None, "")
    for command in ("cluster", "score"):
        arguments = [command, str(folder), "--data", str(images)]
        assert main(arguments) == 0
        without_a_wish = capsys.readouterr()
        assert without_a_wish.err.count(f"l2ae: used the CPU: {REASON}\n") == 1
        assert main([*arguments, "--device", "cpu"]) == 0
        on_cpu = capsys.readouterr()
        assert "used" not in on_cpu.err
        assert on_cpu.out == without_a_wish.out
        assert main([*arguments, "--device", "cuda"]) == 1
        wished = capsys.readouterr()
        assert wished.out == ""
        assert wished.err == f"l2ae: error: device: cuda was asked for, but {REASON}\n"


def test_nobody_is_told_of_cupy_where_no_gpu_is(no_device, monkeypatch):
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    assert choose_device(None) == (None, f"used the CPU: {REASON}")
    monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: False)
    assert choose_device(None) == (None, "")


def test_an_unknown_device_is_an_error():
    with pytest.raises(ValueError, match=r"device: 'tpu' is not one of \('cpu', 'cuda'\)"):
        choose_device("tpu")
