"""Loops are found and counted in a listing, and in kernels that are compiled for it."""

import os

import pytest

from . import build_checks, sass
from .variants import ORDERS, Variant

LISTING = """
.text.two_loops:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   MOV R4, RZ ;
        /*0020*/               @P0 BRA `(.L_x_2) ;
.L_x_1:
        /*0030*/                   LDG.E.128 R8, desc[UR4][R2.64] ;
        /*0040*/              @!P1 FFMA.FTZ R4, R8, R8, R4 ;
        /*0050*/                   LDS R5, [R6] ;
        /*0060*/              @!P1 BRA `(.L_x_1) ;
.L_x_2:
        /*0070*/                   ATOMS.ADD RZ, [R6], R4 ;
        /*0080*/               @P1 BRA `(.L_x_0) ;
        /*0090*/                   EXIT ;
.L_x_3:
        /*00a0*/                   BRA `(.L_x_3);
        /*00b0*/                   NOP;
.text.no_loop:
        /*0000*/                   EXIT ;
.L_x_4:
        /*0010*/                   BRA `(.L_x_4);
"""


def test_loops_of_a_listing() -> None:
    found = sass.read_loops(LISTING)
    assert found["no_loop"] == []
    outer, inner = found["two_loops"]
    assert (outer.total, outer.innermost) == (8, False)
    assert (inner.total, inner.innermost) == (4, True)
    assert inner.counts == {"LDG": 1, "FFMA": 1, "LDS": 1, "BRA": 1}
    assert inner.modified["LDG.E.128"] == 1
    assert inner.pipes == {"global": 1, "fp32": 1, "shared": 1, "control": 1}
    assert inner.share({"FFMA"}) == 1 / 4
    assert outer.pipes["shared"] == 2  # ATOMS and LDS
    assert outer.pipes["atomic"] == 0


@pytest.mark.usefixtures("sass_tools")
def test_loops_of_a_compiled_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    extern "C" __global__ void shared(const float* x, int* counts, int n) {
      __shared__ int bins[32];
      #pragma unroll 1
      for (int i = 0; i < n; ++i) atomicAdd(&bins[(int)x[i] % 32], 1);
      counts[threadIdx.x] = bins[threadIdx.x];
    }
    extern "C" __global__ void global(const float4* x, float* y, int* counts, int n) {
      float sum = 0;
      #pragma unroll 1
      for (int i = 0; i < n; ++i) {
        float4 v = x[i];
        sum = fmaf(v.x, v.y, fmaf(v.z, v.w, sum));
        atomicAdd(&counts[i], 1);
      }
      *y = sum;
    }"""
    monkeypatch.setattr(build_checks, "read_source", lambda _: text)
    found = sass.loops(Variant("planted.cu", {}, {}))
    (shared,), (both,) = found["shared"], found["global"]
    assert shared.pipes["shared"] == 1
    assert shared.pipes["atomic"] == 0
    assert both.counts["FFMA"] == 2
    assert both.modified["LDG.E.128"] + both.modified["LDG.E.128.CONSTANT"] == 1
    assert both.pipes["atomic"] == 1
    assert both.pipes["shared"] == both.pipes["local"] == 0


def _mma(terms: int, a: int, b: int) -> Variant:
    return Variant(
        "product_mma.cu", {"TERMS": terms, "VECTOR": 1, "A_BY_DEPTH": a, "B_BY_DEPTH": b}, {}
    )


RESIDENT = Variant("tensor.cu", {"RESIDENT": 1, "VECTOR": 1}, {})
TILED = Variant("product_tiled.cu", {"A_BY_DEPTH": 1, "B_BY_DEPTH": 0}, {})
# A variant, its kernel, what is useful in its main loop, how many of it, in how many instructions.
# A tensor core is busy for at least 4 cycles with an HMMA: a share of 1/4 keeps it so.
MAIN_LOOPS = [
    *((_mma(3, a, b), "product_mma", "HMMA", 96, 380) for a, b in ORDERS),
    *((_mma(1, a, b), "product_mma", "HMMA", 32, 190) for a, b in ORDERS),
    (RESIDENT, "assign_tensor", "HMMA", 192, 430),
    (TILED, "product_tiled", "FFMA", 512, 740),
]


@pytest.mark.slow
@pytest.mark.usefixtures("sass_tools")
@pytest.mark.parametrize("case", MAIN_LOOPS, ids=lambda case: case[0].name)
def test_main_loops(case: tuple[Variant, str, str, int, int]) -> None:
    variant, kernel, useful, count, most = case
    loop = sass.main_loop(variant, kernel, {useful})
    assert loop.counts[useful] == count
    assert loop.total <= most
    assert loop.pipes["local"] == loop.pipes["generic"] == 0
    copies = {n: c for n, c in loop.modified.items() if n.startswith("LDGSTS")}
    assert copies == ({} if variant is TILED else {"LDGSTS.E.BYPASS.128": 8})  # 16 bytes each


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sass, "DISTRIBUTION", "no-such-distribution")
    monkeypatch.setitem(os.environ, "PATH", "")
    with pytest.raises(sass.NoTool, match=r"pip install l2ae\[cuda-check\]"):
        sass.find_tool()
