"""The implementations table: its rows name functions, which are imported when they are picked."""

import subprocess
import sys

import numpy as np
import pytest

from l2ae_kernels.cpu.codegen.vectors import vectors
from l2ae_kernels.operations import IMPLEMENTATIONS, pick

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
    """Of the CUDA rungs too: they need a device to run, not to be imported."""
    for operation, rungs in IMPLEMENTATIONS.items():
        assert next(iter(rungs)) == "reference"
        for name, rung in rungs.items():
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
