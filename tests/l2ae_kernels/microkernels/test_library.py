"""Kernels are compiled in families: those alone that are needed."""

import pytest

from l2ae_kernels.cpu.codegen import machine_code
from l2ae_kernels.cpu.codegen.vectors import AMX, SETS
from l2ae_kernels.cpu.microkernels.library import AMX as AMX_FAMILY
from l2ae_kernels.cpu.microkernels.library import FAMILIES, Kernels, family_of


@pytest.mark.parametrize("build", FAMILIES, ids=lambda build: build.__name__)
def test_a_family_has_the_kernels_that_are_looked_for_there(build):
    vectors = AMX["amx3"] if build is AMX_FAMILY else SETS["neon"]
    for function in build(vectors).ir.functions:
        if not function.is_declaration and function.linkage != "internal":
            assert family_of(function.name) is build, function.name


def test_only_what_is_needed_is_compiled(monkeypatch, tmp_path):
    monkeypatch.setenv("L2AE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(machine_code, "_libraries", {})
    kernels = Kernels(SETS["avx2"])
    kernels.load(["copy", "run", "sum"])
    kernels.address("pack")
    assert len(list(tmp_path.iterdir())) == 1
    kernels.load(["gradient", "copy"])
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ValueError, match="no function 'gradients_of'"):
        kernels.address("gradients_of")
