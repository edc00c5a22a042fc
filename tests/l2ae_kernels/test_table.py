"""The implementations table: its rows name functions, which are imported when they are picked."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import vectors
from l2ae_kernels.operations import IMPLEMENTATIONS, pick, register

HEAVY = {"llvmlite", "numba", "scipy", "sklearn", "matplotlib", "cupy", "threadpoolctl"}


@pytest.mark.parametrize("package", ["l2ae_kernels.ops", "l2ae_core.layers", "l2ae_core.networks"])
def test_imports_bring_no_rung(package):
    """The reference and NumPy are enough: no compiler, no device, nothing that draws."""
    script = f"import sys, {package}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = run.stdout.split()
    assert package in loaded
    assert not HEAVY & {name.partition(".")[0] for name in loaded}
    assert not [m for m in loaded if m.startswith(("l2ae_kernels.cpu", "l2ae_kernels.cuda"))]


def test_every_row_names_a_function():
    """Of the CUDA rungs too: they need a device to run, not to be imported. Dask's need Dask."""
    has_dask = find_spec("dask") is not None and find_spec("dask.array") is not None
    for operation, rungs in IMPLEMENTATIONS.items():
        assert next(iter(rungs)) == "reference"
        for name, rung in rungs.items():
            if rung.on != "dask" or has_dask:
                assert callable(rung.function), (operation, name)


@pytest.mark.parametrize("operation", IMPLEMENTATIONS)
def test_a_named_rung_refuses_what_it_does_not_take_and_says_what_it_takes(operation):
    for name, rung in IMPLEMENTATIONS[operation].items():
        on = rung.on or "any device"
        expected = f"^{operation}: no implementation {name} for .* int8 .*: it takes .*{on}"
        with pytest.raises(ValueError, match=expected):
            pick(operation, np.zeros((2, 2), np.int8), name)


@pytest.mark.parametrize("operation", ["l2_normalize_adjoint", "squared_error"])
def test_sums_in_another_order_are_taken_only_if_named(operation):
    """What was trained keeps its bits: L2Normalize and the loss are the reference's."""
    x = np.zeros(1, "float32")
    with vectors("avx2"):
        assert pick(operation, x) is IMPLEMENTATIONS[operation]["reference"].function
        assert pick(operation, x, "register") is IMPLEMENTATIONS[operation]["register"].function


def wrong(x, slope, out):
    out[...] = -x


@pytest.fixture
def table(monkeypatch):
    """A copy of the rectifier's rungs, which a test may add to."""
    monkeypatch.setitem(IMPLEMENTATIONS, "leaky_relu", dict(IMPLEMENTATIONS["leaky_relu"]))


@pytest.mark.usefixtures("table")
def test_a_rung_of_ones_own_is_taken_only_if_named():
    """A wrong one changes no result of those who did not ask for it."""
    x = np.array([[1.0, -2.0]])
    register("leaky_relu", "mine", wrong)
    np.testing.assert_array_equal(ops.leaky_relu(x, 0.0), [[1, 0]])
    np.testing.assert_array_equal(ops.leaky_relu(x, 0.0, impl="mine"), [[-1, 2]])
    with pytest.raises(ValueError, match="leaky_relu: no implementation mine for dtype complex"):
        ops.leaky_relu(x.astype(complex), 0.0, impl="mine")
    register("leaky_relu", "ours", wrong, default=True)
    np.testing.assert_array_equal(ops.leaky_relu(x, 0.0), [[-1, 2]])


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("leaky", "mine", wrong), "operation 'leaky' is not one of"),
        (("leaky_relu", "reference", wrong), "name is 'reference' but expected one that is not"),
        (("leaky_relu", "", wrong), "name is '' but"),
        (("leaky_relu", "mine", "wrong"), "function is 'wrong' but expected one to call"),
    ],
)
def test_what_cannot_be_registered(arguments, message):
    before = dict(IMPLEMENTATIONS["leaky_relu"])
    with pytest.raises(ValueError, match=f"^register: {message}"):
        register(*arguments)
    assert IMPLEMENTATIONS["leaky_relu"] == before
