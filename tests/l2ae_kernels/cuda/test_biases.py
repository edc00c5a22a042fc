"""The parts of the gradients of many biases in one launch, against exact sums."""

import numpy as np
import pytest

from l2ae_kernels.cuda.biases import MOST_PARTS, WORTH_A_PART, Biases, Layer, _split, parts_of

SHAPES = [(1, 1), (257, 3), (5, 300), (40, 600), (2 * WORTH_A_PART + 9, 1), (3000, 32)]
GAP = 3  # numbers that are nobody's between two arrays


def lay(seed, models, dtype):
    """dy of every shape for each model in one array, and where the layers lie."""
    rng = np.random.default_rng(seed)
    flat, layers, at, to = [], [], 0, 0
    for rows, features in SHAPES:
        layers.append(Layer(at, to, rows, features))
        flat += [rng.standard_normal(models * rows * features), np.full(GAP, np.nan)]
        at, to = at + flat[-2].size + GAP, to + parts_of(rows, features) * models * features + GAP
    return np.concatenate(flat).astype(dtype), layers, to


def adjoint(device, dy, layers, size, models):
    """The parts of db of each layer, (parts, models, features)."""
    flat = device.full(size, 7.0, dy.dtype)
    Biases(device, layers, models).adjoint(device.to_device(dy), flat)
    found, parts = device.to_host(flat), []
    for layer in layers:
        shape = parts_of(layer.rows, layer.features), models, layer.features
        end = layer.db + np.prod(shape)
        assert np.all(found[end : end + GAP] == 7)
        parts.append(found[layer.db : end].reshape(shape))
    return parts


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_has_its_sums(dtype, device):
    models = 2
    dy, layers, size = lay(0, models, dtype)
    for layer, parts_of_db in zip(layers, adjoint(device, dy, layers, size, models), strict=True):
        own = dy[layer.dy : layer.dy + models * layer.rows * layer.features]
        own = own.reshape(models, layer.rows, layer.features)
        # additions in a row: rows of a part by a lane, lanes of a block, parts
        rows_of_part, parts = _split(layer.rows, layer.features)
        db = parts_of_db.sum(axis=0)
        bound = (rows_of_part + parts) * np.finfo(dtype).eps * np.abs(own).sum(axis=1)
        assert np.all(np.abs(db - own.sum(axis=1, dtype="float64")) <= bound)


def test_rows_are_cut_by_the_shape_of_a_layer_alone():
    assert [_split(rows, features)[1] for rows, features in SHAPES] == [1, 1, 1, 2, 2, 11]
    assert _split(10**6, 100) == (7813, MOST_PARTS)
    rows_of_part, parts = _split(130, 10**6)
    assert parts * rows_of_part >= 130 > (parts - 1) * rows_of_part


def test_bits_depend_on_nothing_but_one_model(device, other_order):
    dy, layers, size = lay(1, 2, "float32")
    together = adjoint(device, dy, layers, size, 2)
    rows = [dy[a.dy : a.dy + 2 * a.rows * a.features].reshape(2, -1)[1] for a in layers]
    alone, own, at, to = [], [], 0, 0
    for layer, row in zip(layers, rows, strict=True):
        own += [row, np.full(GAP, np.nan, row.dtype)]
        alone.append(Layer(at, to, layer.rows, layer.features))
        at, to = (
            at + row.size + GAP,
            to + parts_of(layer.rows, layer.features) * layer.features + GAP,
        )
    found = adjoint(other_order, np.concatenate(own), alone, to, 1)
    for a, b in zip(together, found, strict=True):
        np.testing.assert_array_equal(a[:, 1], b[:, 0])
