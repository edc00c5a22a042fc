"""Which vectors the kernels are emitted for, and how to force others."""

import os
import subprocess
import sys

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import SETS, best, get_vectors, use_vectors, vectors
from l2ae_kernels.operations import IMPLEMENTATIONS, pick

X = np.ones((2, 3), "float32")


def test_the_best_set_is_the_default_where_nothing_is_said():
    if not os.environ.get("L2AE_VECTORS"):
        assert get_vectors() == SETS.get(best())
    assert best() in {*SETS, "none"}


def test_sets_can_be_forced_and_come_back():
    before = get_vectors()
    with vectors("avx512"):
        assert get_vectors() is SETS["avx512"]
        with vectors("none"):
            assert get_vectors() is None
        assert get_vectors() is SETS["avx512"]
    assert get_vectors() == before
    with pytest.raises(ValueError, match=r"vectors: 'sse' is not one of .*'avx2'.*'none'"):
        use_vectors("sse")


def test_without_vectors_the_numba_rungs_are_picked():
    with vectors("none"):
        assert pick("assign", X) is IMPLEMENTATIONS["assign"]["blocked"].function
        with pytest.raises(ValueError, match="assign: no implementation register .*'none'"):
            ops.assign(X, X, impl="register")
    with vectors("avx2"):
        assert pick("assign", X) is IMPLEMENTATIONS["assign"]["register"].function
        assert pick("assign", X.astype("float64")) is IMPLEMENTATIONS["assign"]["blocked"].function


@pytest.mark.parametrize(("value", "name"), [("neon", "neon"), ("none", None), ("", best())])
def test_the_environment_chooses(value, name):
    script = "from l2ae_kernels.cpu.codegen.vectors import get_vectors; print(get_vectors())"
    run = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "L2AE_VECTORS": value},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == str(SETS.get(name))
