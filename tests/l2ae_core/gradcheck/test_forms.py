"""Mistakes of form, of layers and functions alike, are named."""

import re

import numpy as np
import pytest

from l2ae_core.gradcheck import check_function, check_layer
from l2ae_core.layers import Dense


class Returning(Dense):
    """Dense with other results of one method."""

    results: tuple[str, object]

    def forward(self, x, train=False):
        return self._changed("forward", super().forward(x, train))

    def backward(self, dy, cache):
        return self._changed("backward", super().backward(dy, cache))

    def _changed(self, method, result):
        name, change = self.results
        return change(result) if name == method else result


FORMS = {
    "y alone": ("forward", lambda r: r[0], r"must return \(y, cache\), got ndarray \(5, 2\)"),
    "no y": ("forward", lambda r: None, r"forward must return \(y, cache\), got None"),
    "a list as y": ("forward", lambda r: ([1.0], r[1]), r"\(y, cache\), got \(list, ndarray"),
    "three": ("forward", lambda r: (*r, 1), r"got \(ndarray \(5, 2\), ndarray \(5, 3\), int\)"),
    "no gradients": ("backward", lambda r: None, r"backward must return \(dx, grads\), got None"),
    "dx alone": ("backward", lambda r: r[0], r"\(dx, grads\), got ndarray \(5, 3\)"),
    "swapped": ("backward", lambda r: r[::-1], r"got \(dict, ndarray \(5, 3\)\): the other way"),
    "None as grads": ("backward", lambda r: (r[0], None), r"got \(ndarray \(5, 3\), None\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_mistakes_of_form_are_named(name, rng) -> None:
    method, change, message = FORMS[name]
    layer = Returning.glorot(3, 2, rng)
    layer.results = method, change
    with pytest.raises(ValueError, match=message):
        check_layer(layer, rng.standard_normal((5, 3)))


def test_two_samples_are_not_taken_for_a_pair(rng) -> None:
    layer = Returning.glorot(3, 2, rng)
    layer.results = "forward", lambda result: result[0]
    with pytest.raises(ValueError, match=r"forward must return \(y, cache\), got ndarray \(2, 2\)"):
        check_layer(layer, rng.standard_normal((2, 3)))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: (r[0].tolist(), r[1]), r"gradient is a list but expected an array \(5, 3\)"),
        (lambda r: (None, r[1]), "gradient is a NoneType but expected an array"),
        (lambda r: (r[0].astype("f4"), r[1]), "gradient is float32 but x is float64"),
        (lambda r: (r[0].T, r[1]), r"gradient is \(3, 5\) but x is \(5, 3\)"),
    ],
    ids=["list", "None", "float32", "transposed"],
)
def test_a_gradient_of_another_form_has_a_row(change, text, rng) -> None:
    layer = Returning.glorot(3, 2, rng)
    layer.results = "backward", change
    report = check_layer(layer, rng.standard_normal((5, 3)))
    assert any(row.block == "x" and row.verdict == "WRONG" for row in report.rows)
    assert re.search(text, " ".join(row.hint for row in report.rows))


def test_a_float32_gradient_of_a_function_is_named() -> None:
    report = check_function(lambda x: (x**2).sum(), lambda x: np.float32(2 * x), np.ones(3))
    assert "gradient is float32 but x is float64" in report.worst.hint


class NoLayer:
    def forward(self, x, train=False):
        return x, None

    def backward(self, dy, cache):
        return dy, {}


class Short(Dense):
    def forward(self, x):
        return super().forward(x)


class FloatParameter(Dense):
    @property
    def params(self):
        return {**super().params, "scale": 2.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: NoLayer(), "layer is NoLayer but expected an object of a class that derives"),
        (lambda rng: Dense, "layer is the class Dense but expected an object"),
        (lambda rng: Short.glorot(3, 2, rng), r"forward must take \(x, train\), it takes \(x\)"),
        (lambda rng: FloatParameter.glorot(3, 2, rng), r"params\['scale'\] must be an array"),
    ],
)
def test_what_is_no_layer_is_named(make, message, rng) -> None:
    with pytest.raises(ValueError, match=message):
        check_layer(make(rng), rng.standard_normal((5, 3)))


@pytest.mark.parametrize(
    ("f", "gradient", "message"),
    [
        (lambda x: None, np.ones_like, "f returned None but expected numbers"),
        (lambda x: x.sum(), lambda x: None, "gradient returned None but expected numbers"),
        (lambda x: "1", np.ones_like, "f returned str but expected numbers"),
    ],
)
def test_functions_that_return_no_numbers_are_named(f, gradient, message) -> None:
    with pytest.raises(ValueError, match=message):
        check_function(f, gradient, np.ones(3))
