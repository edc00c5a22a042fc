"""`l2ae gradcheck module:Class`: layers that are not part of the project."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from l2ae_core.cli import main
from l2ae_core.gradcheck import suite
from l2ae_core.gradcheck.own import load, shape_of
from l2ae_core.gradcheck.suite import CASES

LAYERS = '''
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from l2ae_core.layers import Dense, Layer
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class Scale(Layer):
    s: Array
    factor: float = 1.0

    @property
    def params(self):
        return {"s": self.s}

    def forward(self, x, train=False):
        return self.factor * self.s * x, x

    def backward(self, dy, cache):
        return self.factor * self.s * dy, {"s": self.factor * (cache * dy).sum(axis=0)}


class Unsummed(Scale):
    @classmethod
    def example(cls, rng: Generator):
        return cls(rng.standard_normal(3)), np.full((5, 3), 2.0)

    def backward(self, dy, cache):
        return super().backward(dy, cache)[0], {"s": self.factor * (cache * dy).mean(axis=0)}


class Untransposed(Dense):
    def backward(self, dy, cache):
        return dy @ self.W, super().backward(dy, cache)[1]


class Doubled(Layer):
    """y = 2x, without @dataclass; the classes below break its form."""

    def forward(self, x, train=False):
        return 2 * x, None

    def backward(self, dy, cache):
        return 2 * dy, {}


class Nothing(Doubled):
    def backward(self, dy, cache):
        pass


class Swapped(Doubled):
    def backward(self, dy, cache):
        return {}, 2 * dy


class Alone(Doubled):
    def forward(self, x, train=False):
        return 2 * x


class NoBase:
    def forward(self, x, train=False):
        return 2 * x, None

    def backward(self, dy, cache):
        return 2 * dy, {}


class OnlyForward(Layer):
    def forward(self, x, train=False):
        return 2 * x, None


class Training(Doubled):
    """Wrong in training alone."""

    def forward(self, x, train=False):
        return (3 if train else 2) * x, None


def four_to_three():
    return Dense.glorot(4, 3, np.random.default_rng(0))


in_hand = Doubled()
'''


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "layers.py").write_text(LAYERS)
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "inner.py").write_text(LAYERS)
    monkeypatch.chdir(tmp_path)
    for name in ("layers", "own_package", "own_package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        ["layers:Doubled"],
        ["layers.py:Doubled"],
        ["own_package.inner:Doubled"],
        ["own_package/inner.py:Doubled"],
        ["layers:in_hand"],
        ["layers:four_to_three"],
        ["layers:Scale", "--args", '{"s": "7"}'],
        ["layers:Scale", "--args", '{"s": [1, 2, 3.5], "factor": 0.5}'],
        ["layers:Scale", "--args", '{"s": "6,5,3"}', "--input", "2,6,5,3"],
        ["layers:Dense.glorot", "--args", '{"inputs": 7, "outputs": 2}'],
    ],
)
def test_a_right_layer_is_made_and_passes(line: list[str]) -> None:
    assert main(["gradcheck", *line, "--quiet"]) == 0


def test_arguments_and_input_are_those_that_were_given() -> None:
    own = load("layers:Scale", {"s": [1, 2, 3.5], "factor": 0.5}, (4, 3))
    np.testing.assert_array_equal(own.layer.s, [1, 2, 3.5])
    assert own.layer.factor == 0.5
    assert own.x is not None
    assert own.x.shape == (4, 3)
    example = load("layers:Unsummed", {})
    np.testing.assert_array_equal(example.x, np.full((5, 3), 2.0))
    assert load("layers:Scale", {"s": "2,3"}).layer.s.shape == (2, 3)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (["layers:Unsummed"], "the batch size: averaged or summed over the samples?"),
        (["layers:Training", "--train"], "a missing factor?"),
        (
            ["layers:Untransposed.glorot", "--args", '{"inputs": 4, "outputs": 4}'],
            "a missing transpose",
        ),
    ],
)
def test_a_wrong_layer_fails_with_a_hint(
    line: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gradcheck", *line, "--quiet"]) == 1
    assert hint in capsys.readouterr().out.replace("\n          ", " ")


def test_several_layers_and_those_of_the_suite_share_a_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["gradcheck", "layers:Doubled", "layers:Unsummed", "identity", "--quiet"]) == 1
    shown = capsys.readouterr().out
    assert "1 of 3 are NOT OK" in shown
    assert main(["gradcheck", "layers:Training", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("Nothing", 1, "backward must return (dx, grads), got None"),
        ("Swapped", 1, "got (dict, ndarray (5, 4)): the other way round?"),
        ("Alone", 1, "forward must return (y, cache), got ndarray (5, 4)"),
        ("NoBase", 1, "layer is NoBase but expected an object of a class that derives from"),
        ("OnlyForward", 2, "does not define backward"),
        ("Scale", 2, "needs s: give --args"),
        ("Scael", 2, "no 'Scael'; its classes: Scale, Unsummed"),
    ],
)
def test_mistakes_of_form_are_one_sentence(
    name: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gradcheck", f"layers:{name}", "--quiet"]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["laxers:Doubled"], "there is no module 'laxers'"),
        (["laxers.py:Doubled"], "there is no file"),
        (["layers:Scale", "--args", '{"s": "4", "widht": 3}'], "takes no 'widht'; it takes s, fac"),
        (["layers:Scale", "--args", '{"s": ["a"]}'], "s is ['a'] but expected numbers"),
        (["identity", "--train"], "are for a layer of your own"),
    ],
)
def test_a_wrong_address_or_argument_is_named(
    line: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gradcheck", *line, "--quiet"]) == 2
    assert message in capsys.readouterr().err


def test_without_names_the_table_is_checked_and_beside_an_address_it_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "CASES", {name: CASES[name] for name in ("tanh", "identity")})
    assert main(["gradcheck", "--quiet"]) == 0
    assert "all 2 are ok" in capsys.readouterr().out
    assert main(["gradcheck", "layers:Doubled", "--quiet"]) == 0
    assert "all 1 are ok" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "0,3", "a", "5;4", "-1,2", "5,,4"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a shape such as"):
        shape_of(text)


def test_an_error_of_the_layer_itself_names_its_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = LAYERS.replace("return 2 * dy, {}", "return dy @ np.ones((3, 4)), {}", 1)
    line = 1 + text.split("\n").index("        return dy @ np.ones((3, 4)), {}")
    (here / "layers.py").write_text(text)
    assert main(["gradcheck", "layers.py:Doubled", "--quiet"]) == 1
    assert f"layers.py:{line}, in backward: matmul" in capsys.readouterr().err


def test_the_rows_and_the_errors_of_a_failed_check_are_written(here: Path) -> None:
    files = ["--json", "rows.json", "--figure", "errors.png"]
    assert main(["gradcheck", "layers:Unsummed", "identity", "--quiet", *files]) == 1
    found = json.loads((here / "rows.json").read_text())
    assert not found["ok"]
    assert [(layer["name"], layer["ok"]) for layer in found["layers"]] == [
        ("layers:Unsummed", False), ("identity", True),
    ]  # fmt: skip
    wrong = {r["block"] for r in found["layers"][0]["rows"] if r["verdict"] == "WRONG"}
    assert wrong == {"s"}
    assert (here / "errors.png").stat().st_size > 1000
    assert main(["gradcheck", "identity", "--quiet", "--figure", "none.png"]) == 0
    assert not (here / "none.png").exists()
    assert main(["gradcheck", "identity", "--quiet", "--json", "rows.txt"]) == 1
