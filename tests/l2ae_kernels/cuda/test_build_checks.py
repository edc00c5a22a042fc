"""The build checks see a warning, a spill and a kernel without a budget or a workload."""

import re

import pytest

from l2ae_kernels.cuda.kmeans import shapes
from l2ae_kernels.cuda.text import SOURCE

from . import build_checks, workloads
from .build_checks import Usage, read_usage
from .variants import KMEANS, NETWORK, Variant

EVERY = [*KMEANS, *NETWORK]


@pytest.fixture(scope="module")
def compiler() -> str:
    try:
        return build_checks.find_compiler()
    except build_checks.NoCompiler as error:
        pytest.skip(str(error))


@pytest.mark.slow  # NVRTC
def test_a_warning_and_a_spill_are_seen(compiler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unused = 'extern "C" __global__ void f(int* to) { int unused; *to = 1; }'
    values = ", ".join(f"v{i} = from[{i}]" for i in range(64))
    uses = " ".join(f"from[{i}] = v{(7 * i + 1) % 64};" for i in range(64))
    spilling = (
        'extern "C" __global__ void __launch_bounds__(1024, 2) f(float* from, int n) {'
        f"float {values}; for (int i = 0; i < n; ++i) {{ __syncthreads(); {uses} }} }}"
    )
    variant = Variant("planted.cu", {}, {"f": 255})
    monkeypatch.setattr(build_checks, "read_source", lambda _: unused)
    with pytest.raises(RuntimeError, match="declared but never"):
        build_checks.compile_variant(variant, "sm_90", compiler)
    monkeypatch.setattr(build_checks, "read_source", lambda _: spilling)
    assert build_checks.compile_variant(variant, "sm_90", compiler)["f"].spilled > 0


def test_what_ptxas_says_is_read() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_90'
ptxas info    : Function properties for one
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 5120 bytes smem
ptxas info    : Compiling entry function 'two' for 'sm_90'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers
"""
    assert read_usage(log) == {"one": Usage(64, 5120, 12), "two": Usage(40, 0, 0)}


@pytest.mark.slow  # NVRTC
@pytest.mark.parametrize("defines", [{}, {"REAL": "double"}])
def test_a_tile_is_as_large_as_the_launchers_think(
    compiler: str, defines: dict[str, int | str]
) -> None:
    usage = build_checks.compile_variant(Variant("lloyd.cu", defines, {}), "sm_90", compiler)
    assert usage["lloyd_tiled"].shared == shapes.TILE_NUMBERS * (8 if defines else 4)


@pytest.mark.usefixtures("cxx")
def test_every_kernel_has_a_budget_and_a_workload() -> None:
    seconds = workloads.run()
    assert all(isinstance(taken, float) for taken in seconds.values())
    assert set(seconds) == {kernel for variant in EVERY for kernel in variant.budget}


@pytest.mark.parametrize("file", sorted({m.file_name for m in NETWORK}))
def test_every_kernel_of_a_file_of_the_network_has_a_budget(file: str) -> None:
    text = (SOURCE / file).read_text(encoding="utf-8")
    kernels = re.findall(r"__global__ void (?:__launch_bounds__\([\w, ]+\)\s+)?(\w+)\(", text)
    assert kernels
    for variant in NETWORK:
        if variant.file_name == file:
            assert variant.budget.keys() == set(kernels)
