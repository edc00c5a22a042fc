"""The network's kernels compile without a warning or a spill, within their register budgets."""

import re

import pytest

from l2ae_kernels.cuda.gates import (
    ARCHITECTURES,
    NoCompiler,
    compile_module,
    find_compiler,
)
from l2ae_kernels.cuda.module import Module
from l2ae_kernels.cuda.network_modules import EVERY_DAY, MODULES
from l2ae_kernels.cuda.text import SOURCE

FILES = ("product_naive.cu", "product_tiled.cu", "product_mma.cu", "elementwise.cu", "adam.cu",
         "bottleneck.cu")  # fmt: skip


@pytest.fixture(scope="module")
def compiler() -> str:
    try:
        return find_compiler()
    except NoCompiler as error:
        pytest.skip(str(error))


def check(module: Module, architecture: str, compiler: str) -> None:
    usages = compile_module(module, architecture, compiler)
    assert usages.keys() == module.budget.keys()
    for kernel, usage in usages.items():
        assert 0 < usage.registers <= module.budget[kernel], (kernel, usage)
        assert usage.spilled == 0, (kernel, usage)


@pytest.mark.parametrize("module", EVERY_DAY, ids=lambda module: module.name)
def test_compiles_for_an_h100(module, compiler):
    check(module, "sm_90", compiler)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_compiles_everywhere(module, architecture, compiler):
    check(module, architecture, compiler)


def test_every_kernel_has_a_budget():
    for file in FILES:
        text = (SOURCE / file).read_text(encoding="utf-8")
        kernels = set(
            re.findall(r"__global__ void (?:__launch_bounds__\([\w, ]+\) )?(\w+)\(", text)
        )
        budgets = [set(m.budget) for m in MODULES if m.file_name == file]
        assert kernels
        assert all(budget == kernels for budget in budgets)
        assert budgets
