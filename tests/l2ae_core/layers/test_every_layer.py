"""Every layer of the gradient table: dtypes, shapes and batches without samples.

The gradients themselves are checked by gradcheck/test_gradcheck.py, from the same table.
"""

import numpy as np
import pytest

from l2ae_core.gradcheck.cases import LayerCase
from l2ae_core.gradcheck.suite import CASES

FLOAT32_TOLERANCE = 2e-4  # sums of up to 100 terms of order one, divided by norms down to 0.1
NETWORKS = ("cae/", "ae/")  # made of the layers of the other rows
LAYERS = {
    name: case
    for name, make in CASES.items()
    if not name.startswith(NETWORKS)
    and isinstance(case := make(np.random.default_rng(0)), LayerCase)
}


@pytest.fixture(params=LAYERS)
def case(request: pytest.FixtureRequest) -> LayerCase:
    return LAYERS[request.param]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_dtype_is_kept_and_float32_agrees_with_float64(case: LayerCase, dtype: type) -> None:
    def run(dtype: type) -> dict[str, np.ndarray]:
        layer = case.layer.astype(dtype)
        y, cache = layer.forward(case.x.astype(dtype), case.train)
        dy = np.random.default_rng(1).normal(size=y.shape).astype(dtype)
        dx, grads = layer.backward(dy, cache)
        return {"y": y, "dx": dx, **grads, **layer.state}

    for (name, a), b in zip(run(dtype).items(), run(np.float64).values(), strict=True):
        assert a.dtype == dtype, name
        assert np.abs(a - b).max() < FLOAT32_TOLERANCE * max(1, np.abs(b).max()), name


def test_output_shape_is_the_shape_of_the_output(case: LayerCase) -> None:
    y, _ = case.layer.astype(np.float64).forward(case.x, case.train)
    assert (len(case.x), *case.layer.output_shape(case.x.shape[1:])) == y.shape


def test_a_batch_without_samples(case: LayerCase) -> None:
    y, cache = case.layer.forward(case.x[:0])
    dx, grads = case.layer.backward(y, cache)
    assert y.shape == (0, *case.layer.output_shape(case.x.shape[1:]))
    assert dx.shape == case.x[:0].shape
    assert list(grads) == list(case.layer.params)
    assert not any(g.any() for g in grads.values())
