"""The paper's networks: parameter counts, sides that work, layers in order."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from l2ae_core.layers import BatchNorm, Conv2d, ConvTranspose2d, L2Normalize, LayerNorm
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.networks.architectures import require_weights


def _build(model: str, shape: tuple[int, ...], **changes: object) -> AutoEncoder:
    values = {"model": model, "input_shape": shape} | changes
    return build(Architecture.from_dict(values), np.random.default_rng(0))


def _count(network: AutoEncoder) -> int:
    return sum(p.size for p in network.params.values())


@pytest.mark.parametrize(
    ("model", "shape", "parameters"),
    [
        ("dense", (28, 28, 1), 3_330_794),
        ("cae", (28, 28, 1), 275_979),
        ("cae", (16, 16, 1), 262_539),
    ],
)
def test_published_parameter_counts(model: str, shape: tuple[int, ...], parameters: int) -> None:
    assert _count(_build(model, shape)) == parameters


@pytest.mark.parametrize("model", ["cae", "dense"])
@pytest.mark.parametrize(
    "shape", [(28, 28, 1), (16, 16, 1), (8, 8, 1), (12, 12, 1), (8, 20, 3), (28, 16, 2), (12, 8, 4)]
)
def test_images_come_back_in_their_shape(model: str, shape: tuple[int, ...]) -> None:
    network = _build(model, shape, hidden=(6, 5), filters=(2, 3, 4))
    images = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    y, cache = network.forward(images)
    assert y.shape == images.shape
    assert y.dtype == np.float32
    assert network.encode(images).shape == (2, 10)
    dx, _ = network.backward(y, cache)
    assert dx.shape == images.shape


SIDES = [8, 9, 10, 11, 13, 14, 15, 25, 27, 30, 63]


@pytest.mark.parametrize("kernels", [(5, 5, 3), (3, 4, 2), (2, 1, 6), (9, 7, 5)])
@pytest.mark.parametrize("shape", [*zip(SIDES, SIDES[::-1], strict=True), (30, 30), (25, 25)])
def test_images_of_any_sides_come_back(shape: tuple[int, int], kernels: tuple[int, ...]) -> None:
    """`AutoEncoder` refuses a decoder that returns other images; the pass uses the real kernels."""
    network = _build("cae", (*shape, 2), filters=(2, 3, 4), kernels=kernels, norm="none")
    images = np.random.default_rng(0).random((2, *shape, 2), dtype=np.float32)
    y, cache = network.forward(images)
    assert y.shape == images.shape
    dx, _ = network.backward(y, cache)
    assert dx.shape == images.shape


@pytest.mark.parametrize("kernels", [(5, 5, 3), (4, 6, 2)])
def test_the_decoder_is_the_adjoint_of_the_encoder(kernels: tuple[int, ...]) -> None:
    """With the weights of the encoder, ⟨A x, z⟩ = ⟨x, Aᵀ z⟩: every zero is where it was."""
    network = _build("cae", (25, 30, 1), filters=(2, 3, 4), kernels=kernels).astype(np.float64)
    convs = [layer for layer in network.encoder.layers if isinstance(layer, Conv2d)]
    mirrors = [layer for layer in network.decoder.layers if isinstance(layer, ConvTranspose2d)]
    rng = np.random.default_rng(0)
    for conv, mirror, shape in zip(
        convs, mirrors[::-1], network.encoder.shapes()[::2], strict=False
    ):
        x = rng.standard_normal((1, *shape))
        y, _ = conv.forward(x)
        z = rng.standard_normal(y.shape)
        back, _ = replace(mirror, W=conv.W).forward(z)
        assert np.vdot(y, z) == pytest.approx(np.vdot(x, back), rel=1e-12)


@pytest.mark.parametrize(
    ("filters", "kernels"), [((6,), (7,)), ((2, 3), (5, 3)), ((2,) * 5, (3,) * 5)]
)
def test_any_number_of_convolutions(filters: tuple[int, ...], kernels: tuple[int, ...]) -> None:
    least = 2 ** len(filters)
    for side in (least, least + 1, 2 * least + 3):
        network = _build("cae", (side, 33, 1), filters=filters, kernels=kernels)
        images = np.random.default_rng(0).random((2, side, 33, 1), dtype=np.float32)
        assert network.reconstruct(images).shape == images.shape
    with pytest.raises(ValueError, match=rf"takes sides from {least} on; H is {least - 1}"):
        Architecture("cae", (least - 1, 33, 1), filters=filters, kernels=kernels)


@pytest.mark.parametrize("side", [1, 4, 7])
def test_smaller_sides_are_refused_by_name_in_the_convolutional_network_alone(side: int) -> None:
    for shape, axis in [((side, 28, 1), "H"), ((28, side, 1), "W")]:
        with pytest.raises(ValueError, match=rf"takes sides from 8 on; {axis} is {side}"):
            Architecture("cae", shape)
        Architecture("dense", shape)


def test_maps_of_odd_sides() -> None:
    network = _build("cae", (30, 25, 1))
    maps = [(30, 25, 1), (15, 13, 32), (8, 7, 64), (4, 3, 128)]
    assert network.encoder.shapes()[0:7:2] == maps
    assert [*network.decoder.shapes()[3::2], network.decoder.shapes()[-1]] == maps[::-1]
    architecture = Architecture("cae", (30, 25, 1))
    weights = [p.size for n, p in network.params.items() if n[:7] == "encoder" and n[-1] == "W"]
    require_weights(architecture, {"all": np.zeros(sum(weights), np.float32)})
    with pytest.raises(ValueError, match="but the encoder alone has"):
        require_weights(architecture, {"all": np.zeros(sum(weights) - 1, np.float32)})


def test_layers_of_the_convolutional_network() -> None:
    network = _build("cae", (28, 16, 1))
    assert [str(layer) for layer in network.encoder.layers] == [
        "Conv2d(1 -> 32, 5x5, stride=2, padding='same')",
        "ReLU()",
        "Conv2d(32 -> 64, 5x5, stride=2, padding='same')",
        "ReLU()",
        "Conv2d(64 -> 128, 3x3, stride=2, padding=('valid', 'same'))",
        "ReLU()",
        "Reshape(768,)",
        "Dense(768 -> 10)",
    ]
    assert [str(layer) for layer in network.decoder.layers] == [
        "Dense(10 -> 768)",
        "ReLU()",
        "Reshape(3, 2, 128)",
        "ConvTranspose2d(128 -> 64, 3x3, stride=2, padding=('valid', 'same'))",
        "ReLU()",
        "ConvTranspose2d(64 -> 32, 5x5, stride=2, padding='same')",
        "ReLU()",
        "ConvTranspose2d(32 -> 1, 5x5, stride=2, padding='same')",
    ]
    maps = [(28, 16, 1), (14, 8, 32), (7, 4, 64), (3, 2, 128)]
    assert network.encoder.shapes()[0:7:2] == maps
    assert isinstance(network.normalize, L2Normalize)


def test_layers_of_the_dense_network() -> None:
    network = _build("dense", (4, 5, 3), slope=0.2)
    assert [str(layer) for layer in network.encoder.layers] == [
        "Reshape(60,)",
        "Dense(60 -> 500)",
        "LeakyReLU(0.2)",
        "Dense(500 -> 500)",
        "LeakyReLU(0.2)",
        "Dense(500 -> 2000)",
        "LeakyReLU(0.2)",
        "Dense(2000 -> 10)",
    ]
    assert [str(layer) for layer in network.decoder.layers] == [
        "Dense(10 -> 2000)",
        "LeakyReLU(0.2)",
        "Dense(2000 -> 500)",
        "LeakyReLU(0.2)",
        "Dense(500 -> 500)",
        "LeakyReLU(0.2)",
        "Dense(500 -> 60)",
        "Reshape(4, 5, 3)",
    ]


@pytest.mark.parametrize(("norm", "layer"), [("batch", BatchNorm), ("layer", LayerNorm)])
@pytest.mark.parametrize("model", ["cae", "dense"])
def test_hidden_norm_stands_before_every_hidden_activation(
    model: str, norm: str, layer: type
) -> None:
    plain = _build(model, (8, 8, 1), hidden=(6, 5))
    network = _build(model, (8, 8, 1), hidden=(6, 5), hidden_norm=norm, affine=True)
    layers = network.encoder.layers + network.decoder.layers
    for before, after in pairwise(layers):
        assert isinstance(before, layer) == ("ReLU" in str(after))
    added = {name: p.size for name, p in network.params.items() if name.endswith(("gamma", "beta"))}
    assert _count(network) == _count(plain) + sum(added.values())
    free = _build(model, (8, 8, 1), hidden=(6, 5), hidden_norm=norm)
    assert _count(free) == _count(plain)


def test_weights_are_reproducible_glorot_uniform_and_biases_zero() -> None:
    network, again = _build("cae", (28, 28, 1)), _build("cae", (28, 28, 1))
    for name, p in network.params.items():
        np.testing.assert_array_equal(p, again.params[name])
        assert p.any() == name.endswith("W")
    limit = (6 / 1728) ** 0.5  # 3·3·(64 + 128)
    largest = np.abs(network.params["decoder.3.W"]).max()
    assert 0.999 * limit < largest <= limit * (1 + 1e-6)  # float32 rounding
    wide = build(Architecture("cae", (28, 28, 1)), np.random.default_rng(0), np.float64)
    for name, p in wide.params.items():
        assert p.dtype == np.float64
        np.testing.assert_allclose(network.params[name], p, rtol=1e-6)


def test_json_round_trip() -> None:
    architecture = Architecture("dense", (8, 12, 3), norm="layer", hidden=(7,), affine=True)
    text = json.dumps(architecture.to_dict())
    assert Architecture.from_dict(json.loads(text)) == architecture
    assert Architecture.from_dict({"model": "cae", "input_shape": [8, 8, 1]}) == Architecture(
        "cae", (8, 8, 1)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "vae"}, "model is 'vae' but expected one of"),
        ({"norm": "l1"}, "norm is 'l1'"),
        ({"hidden_norm": "l2"}, "hidden_norm is 'l2'"),
        ({"input_shape": [28, 28]}, "input_shape is"),
        ({"input_shape": [28, 28, 0]}, "input_shape is"),
        ({"latent_dim": 0}, "latent_dim is"),
        ({"norm": "layer", "latent_dim": 1}, "latent_dim is 1 but norm is 'layer'"),
        ({"hidden": [500, -1]}, "hidden is"),
        ({"filters": [32, 64]}, r"filters is \(32, 64\) and kernels is \(5, 5, 3\)"),
        ({"filters": [], "kernels": []}, "at least one"),
        ({"kernels": [5, 5, 0]}, "kernels is"),
        ({"slope": float("nan")}, "slope is nan but expected a number ≥ 0"),
        ({"slope": -0.1}, "slope is -0.1"),
        ({"width": 3}, r"unknown fields \['width'\]"),
    ],
)
def test_bad_values_are_refused_by_name(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.from_dict({"model": "dense", "input_shape": [28, 28, 1]} | values)
    with pytest.raises(ValueError, match=r"missing fields \['input_shape', 'model'\]"):
        Architecture.from_dict({})


def test_no_hidden_layer_at_all() -> None:
    """hidden=() is a linear auto-encoder: with l2 off, the one whose optimum is PCA."""
    network = _build("dense", (4, 4, 1), hidden=(), norm="none", latent_dim=2)
    assert [str(layer) for layer in network.decoder.layers] == [
        "Dense(2 -> 16)",
        "Reshape(4, 4, 1)",
    ]
