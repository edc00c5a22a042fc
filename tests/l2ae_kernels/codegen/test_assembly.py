"""The assembly of one kernel, and what is counted in its loops."""

import re

import pytest

from l2ae_kernels import asm
from l2ae_kernels.cpu.codegen.assembly import Processor, compile_function, innermost_loops
from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.vectors import AMX, AVX2, NEON, SETS
from l2ae_kernels.cpu.microkernels.library import AMX as AMX_FAMILY
from l2ae_kernels.cpu.microkernels.library import DENSE, FAMILIES, Kernels

# An outer loop around an innermost one of two blocks, as LLVM writes them.
X86 = """f:                                      # @f
# %bb.0:                                # %entry
	vmovups	(%rdi), %ymm0
.LBB0_1:                                # %outer
                                        # =>This Loop Header: Depth=1
                                        #     Child Loop BB0_2 Depth 2
	movq	(%rsi), %rax
.LBB0_2:                                # %inner
                                        #   Parent Loop BB0_1 Depth=1
                                        # =>  This Inner Loop Header: Depth=2
	{}
	jne	.LBB0_4
# %bb.3:                                # %more
                                        #   in Loop: Header=BB0_2 Depth=2
	incq	%rcx
	jmp	.LBB0_2
.LBB0_4:                                # %latch
                                        #   in Loop: Header=BB0_1 Depth=1
	vmovups	%ymm0, (%rdi)
	jmp	.LBB0_1
"""


@pytest.mark.parametrize(
    ("line", "counts"),  # fma, loads, stores, spills, reloads
    [
        ("vfmadd231ps\t%ymm1, %ymm2, %ymm3  # ymm3 = (ymm2 * ymm1) + ymm3", (1, 0, 0, 0, 0)),
        ("vfmadd231ps\t(%rdi,%rcx,4){1to16}, %zmm2, %zmm3", (1, 1, 0, 0, 0)),
        ("vfnmadd213ss\t%xmm1, %xmm2, %xmm3", (1, 0, 0, 0, 0)),
        ("vmovups\t32(%rdi,%rcx,4), %ymm1", (0, 1, 0, 0, 0)),
        ("vmovups\t%ymm1, (%rdi,%rcx,4)", (0, 0, 1, 0, 0)),
        ("vmovups\t%zmm1, (%rdi) {%k1}", (0, 0, 1, 0, 0)),
        ("vmulps\t.LCPI0_0(%rip), %ymm1, %ymm2", (0, 1, 0, 0, 0)),
        ("addq\t%rax, 8(%rdi)", (0, 1, 1, 0, 0)),
        ("cmpq\t%rax, 8(%rdi)", (0, 1, 0, 0, 0)),
        ("leaq\t(%rdi,%rax,4), %r11", (0, 0, 0, 0, 0)),
        ("prefetcht0\t(%rdi)", (0, 0, 0, 0, 0)),
        ("vmovups\t%ymm1, 64(%rsp)                 # 32-byte Spill", (0, 0, 1, 1, 0)),
        ("vmovups\t64(%rsp), %ymm1                 # 32-byte Reload", (0, 1, 0, 0, 1)),
        ("vaddps\t64(%rsp), %ymm1, %ymm2           # 32-byte Folded Reload", (0, 1, 0, 0, 1)),
    ],
)
def test_an_instruction_is_counted_as_what_it_does(line, counts):
    (loop,) = innermost_loops(X86.format(line))
    assert (loop.label, loop.instructions) == ("BB0_2", 4)  # of both its blocks, none of the outer
    assert loop[2:] == counts


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("fmla\tv31.4s, v11.4s, v12.4s", (1, 0, 0, 0, 0)),
        ("fmul\tv31.4s, v11.4s, v12.4s", (0, 0, 0, 0, 0)),
        ("ldp\tq11, q10, [x17, #-32]", (0, 1, 0, 0, 0)),
        ("ld1r\t{ v12.4s }, [x18], x15", (0, 1, 0, 0, 0)),
        ("str\tq15, [sp]                       // 16-byte Spill", (0, 0, 1, 1, 0)),
        ("prfm\tpldl1keep, [x0]", (0, 0, 0, 0, 0)),
    ],
)
def test_of_arm_too(line, counts):
    (loop,) = innermost_loops(X86.replace("# ", "// ").format(line))
    assert loop[2:] == counts


@pytest.mark.parametrize("vectors", [AVX2, NEON], ids=["avx2", "neon"])
def test_a_loop_that_is_emitted_is_the_one_that_is_counted(vectors):
    """y += a · x: two loads and a store a step; code of an architecture that need not be ours."""
    module = Module(vectors)
    with module.function("saxpy", 4) as (e, n, *addresses):
        a, x, y = map(e.pointer, addresses)
        with e.each(0, n, e.lanes) as i:
            e.store(e.fma(e.broadcast(a), e.load(x, i), e.load(y, i)), y, i)
    with module.function("other", 1):
        pass
    compiled = compile_function(module, "saxpy", Processor.of(vectors.name))
    (loop,) = compiled.loops
    assert (loop.fma, loop.stores, loop.spills, loop.reloads) == (1, 1, 0, 0)
    assert 2 <= loop.loads <= 3  # `a` may be loaded in every step: y may overlap it
    assert re.findall(r"^\w+:", compiled.assembly, re.MULTILINE) == ["saxpy:"]
    assert compiled.ir.count("define ") == 1
    with pytest.raises(ValueError, match="assembly: no function 'absent'"):
        compile_function(module, "absent", Processor.of(vectors.name))


def test_one_kernel_by_name(capsys):
    assert asm.main(["long", "--vectors", "avx2"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# long, vectors avx2, ")
    assert re.findall(r"^\w+:", shown, re.MULTILINE) == ["long:"]
    assert "zmm" not in shown  # on a machine with wider vectors, too
    assert "vfmadd" in shown
    assert asm.main(["long", "--vectors", "neon", "--ir"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("define ") == 1
    assert "<4 x float>" in shown


@pytest.mark.slow
@pytest.mark.parametrize(("name", "products"), [("amx3", 12), ("amx6", 24)])
def test_tiles_of_amx_stay_in_registers(name, products, capsys):
    """Four sums; each tile that is loaded is used twice before another takes its place."""
    assert asm.main(["amx_product_2_2_32", "--vectors", name, "--cpu", "sapphirerapids"]) == 0
    text = capsys.readouterr().out
    loop = text[text.index("Inner Loop Header") : text.index("tilestored")]
    assert loop.count("tdpbf16ps") == products
    assert loop.count("tileloadd") <= 7 * products / 12 + 1
    assert asm.main(["amx_product_2_2_32", "--vectors", "avx2"]) == 1


@pytest.mark.parametrize("vectors", [*SETS.values(), AMX["amx6"]], ids=lambda v: v.label)
def test_the_kernels_listed_are_those_that_are_compiled(vectors, capsys):
    """But for the tile of the dense products, which a machine chooses once."""
    assert asm.main(["--list", "--vectors", vectors.label]) == 0
    listed = capsys.readouterr().out.split()
    library = Kernels(vectors)
    for build in FAMILIES:
        if build is not DENSE and (build is not AMX_FAMILY or vectors.parts):
            functions = build(library.vectors_of(build)).ir.functions
            assert {f.name for f in functions if not f.is_declaration} <= {*listed}, build


def test_names_of_kernels(capsys):
    assert asm.main(["--list", "--vectors", "avx2"]) == 0
    names = capsys.readouterr().out.split()
    assert {"product_6_2", "short", "run"} <= {*names}
    assert len(names) == len(set(names))
    assert asm.main(["product_8_2", "--vectors", "avx2"]) == 1
    assert "no kernel 'product_8_2' for avx2; near it: product_6_2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "argument KERNEL: is needed, or --list"),
        (
            ["run", "--vectors", "avx2", "--cpu", "z80"],
            "argument --cpu: 'z80' is not one of x86",
        ),
        (["run", "--vectors", "neon", "--cpu", "znver3"], "argument --cpu: 'znver3' is not one of"),
        (["run", "--vectors", "mmx"], "argument --vectors: invalid choice: 'mmx'"),
    ],
)
def test_a_wrong_command_line_names_the_argument(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        asm.main(arguments)
    assert message in capsys.readouterr().err
