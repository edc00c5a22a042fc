"""AutoEncoder: codes in batches, state, parts that must fit."""

from itertools import pairwise

import numpy as np
import pytest

from l2ae_core.layers import BatchNorm, Dense, Identity, L2Normalize, LayerNorm, Reshape, Sequential
from l2ae_core.networks import Architecture, AutoEncoder, build


def _small(norm: str = "l2", model: str = "cae", **changes: object) -> AutoEncoder:
    """A network of a few hundred weights in float64, with biases that are not zero."""
    architecture = Architecture.from_dict(
        {"model": model, "input_shape": (12, 8, 2), "latent_dim": 4, "norm": norm}
        | {"hidden": (7, 6), "filters": (2, 3, 4)}
        | changes
    )
    rng = np.random.default_rng(3)
    network = build(architecture, rng, np.float64)
    for p in network.params.values():
        p += 0.1 * rng.normal(size=p.shape)
    return network


@pytest.mark.parametrize("norm", ["none", "l2", "batch", "layer"])
def test_codes_do_not_depend_on_the_batches_nor_move_any_state(norm: str) -> None:
    network = _small(norm, hidden_norm="batch")
    x = np.random.default_rng(0).random((7, 12, 8, 2))
    network.forward(x, train=True)  # running statistics that are not 0 and 1
    before = {name: a.copy() for name, a in network.state.items()}
    for method in (network.latent, network.encode, network.reconstruct):
        whole = method(x)
        assert len(whole) == 7
        for batch_size in (1, 3, 7):
            np.testing.assert_allclose(method(x, batch_size=batch_size), whole, rtol=1e-11)
    for name, array in network.state.items():
        np.testing.assert_array_equal(array, before[name])


def test_encode_is_the_normalized_latent_and_reconstruct_decodes_it() -> None:
    network = _small()
    x = np.random.default_rng(0).random((5, 12, 8, 2))
    z, u = network.latent(x), network.encode(x)
    np.testing.assert_allclose(u, z / np.linalg.norm(z, axis=1, keepdims=True), rtol=1e-9)
    assert not np.allclose(np.linalg.norm(z, axis=1), 1)
    decoded, _ = network.decoder.forward(u)
    np.testing.assert_allclose(network.reconstruct(x), decoded, rtol=1e-12)
    np.testing.assert_allclose(network.forward(x)[0], decoded, rtol=1e-12)


def test_no_images_give_no_codes() -> None:
    network, none = _small(), np.zeros((0, 12, 8, 2))
    assert network.encode(none).shape == network.latent(none).shape == (0, 4)
    assert network.reconstruct(none).shape == (0, 12, 8, 2)


def test_names_and_properties() -> None:
    network = _small("batch", affine=True)
    assert network.input_shape == (12, 8, 2)
    assert network.latent_dim == 4
    assert network.params["encoder.0.W"] is network.encoder.layers[0].params["W"]
    assert {"normalize.gamma", "normalize.beta", "decoder.0.W"} <= set(network.params)
    assert list(network.state) == ["normalize.running_mean", "normalize.running_var"]
    assert str(network) == "AutoEncoder((12, 8, 2) -> 4, BatchNorm(4, affine=True))"


def test_gates_count_every_rectifier() -> None:
    network = _small()
    _, cache = network.forward(np.random.default_rng(0).random((2, 12, 8, 2)))
    assert [gate.shape[1:] for gate in network.gates(cache)] == [
        (6, 4, 2), (3, 2, 3), (1, 1, 4), (4,), (3, 2, 3), (6, 4, 2),
    ]  # fmt: skip


def test_wrong_images_and_batch_sizes_are_refused() -> None:
    network = _small()
    for call in (network.forward, network.encode, network.reconstruct):
        with pytest.raises(ValueError, match=r"\(12, 8, 1\).*expected \(12, 8, 2\)"):
            call(np.zeros((3, 12, 8, 1)))
    with pytest.raises(ValueError, match="batch_size is 0"):
        network.encode(np.zeros((3, 12, 8, 2)), batch_size=0)


def _sequential(*sizes: int) -> Sequential:
    rng = np.random.default_rng(0)
    layers = [Dense.glorot(i, o, rng) for i, o in pairwise(sizes)]
    return Sequential(list(layers), sizes[:1])


def test_parts_that_do_not_fit_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"decoder expects \(3,\) but normalize L2Normalize.*\(2,\)"
    ):
        AutoEncoder(_sequential(6, 2), L2Normalize(), _sequential(3, 6))
    with pytest.raises(
        ValueError, match=r"decoder returns \(5,\) but the images have shape \(6,\)"
    ):
        AutoEncoder(_sequential(6, 2), Identity(), _sequential(2, 5))
    for normalize in (BatchNorm.create(3), LayerNorm.create(3)):
        with pytest.raises(ValueError, match=r"normalize (Batch|Layer)Norm\(3.*output \(2,\)"):
            AutoEncoder(_sequential(6, 2), normalize, _sequential(2, 6))
    maps = Sequential([Reshape((2, 3))], (6,))
    with pytest.raises(ValueError, match=r"encoder returns \(2, 3\) but expected a vector"):
        AutoEncoder(maps, Identity(), _sequential(2, 6))


def test_train_reaches_all_three_parts() -> None:
    network = _small("batch", hidden_norm="batch")
    before = {name: a.copy() for name, a in network.state.items()}
    x = np.random.default_rng(0).random((5, 12, 8, 2))
    network.forward(x)
    assert all(np.array_equal(a, before[name]) for name, a in network.state.items())
    network.forward(x, train=True)
    assert not any(np.array_equal(a, before[name]) for name, a in network.state.items())
