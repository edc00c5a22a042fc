"""What is counted: instructions by kind, sectors of global memory, passes over shared memory."""

import numpy as np
import pytest

from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.emulator import EmulatorError, RawModule
from l2ae_kernels.emulator.ptx import LaunchCounts, PtxModule, Traffic
from tests.l2ae_kernels.emulator.ptx_text import HEAD, kernel

N = 1024
TILE = ".shared .align 16 .b8 tile[4352];\n"  # 32 rows of 33 floats, and more
INDEX = """mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ntid.x; mad.lo.u32 %i, %r0, %r1, %i;
  mul.wide.u32 %at, %i, {step}; add.s64 %x0, %x0, %at; add.s64 %x1, %x1, %at;"""
COPIES = {  # threads, and a copy of N floats
    "one": (N, "ld.global.f32 %f0, [%x0]; st.global.f32 [%x1], %f0;"),
    "vectors": (
        N // 4,
        "ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%x0];"
        "st.global.v4.u32 [%x1], {%r0, %r1, %r2, %r3};",
    ),
    "async": (
        N,
        "and.b32 %r2, %i, 63; shl.b32 %r2, %r2, 2; mov.u32 %r3, tile; add.u32 %r3, %r3, %r2;"
        "cp.async.ca.shared.global [%r3], [%x0], 4; cp.async.wait_all; ld.shared.f32 %f0, [%r3];"
        "st.global.f32 [%x1], %f0;",
    ),
}
ROWS = """mov.u32 %r0, tile; mad.lo.u32 %r0, %i, {pitch}, %r0; mov.f32 %f0, 0f00000000;
  st.shared.f32 [%r0], %f0;"""


@pytest.fixture(scope="module")
def module(cxx):
    texts = [
        kernel(f"copy_{n}", 2, INDEX.format(step=4 * N // threads) + body, TILE)
        for n, (threads, body) in COPIES.items()
    ]
    texts += [
        kernel(f"rows_{pitch}", 0, ROWS.format(pitch=pitch), TILE) for pitch in (4, 8, 128, 132)
    ]
    texts.append(
        kernel(
            "half", 2,
            "and.b32 %r0, %i, 1; setp.eq.s32 %p0, %r0, 0; mul.wide.u32 %at, %i, 32;"
            "add.s64 %x0, %x0, %at; @%p0 ld.global.f32 %f0, [%x0]; ld.global.f32 %f1, [%x1];",
        )
    )  # fmt: skip
    texts.append(
        kernel(
            "loop", 0,
            "mov.u32 %r0, 0; mov.f32 %f0, 0f3F800000; $L_loop: fma.rn.f32 %f0, %f0, %f0, %f0;"
            "add.u32 %r0, %r0, 1; setp.lt.u32 %p0, %r0, %i; @%p0 bra $L_loop;",
        )
    )  # fmt: skip
    texts.append(
        kernel(
            "rows_of_16_bytes", 0,
            "mov.u32 %r0, tile; shl.b32 %r1, %i, 4; add.u32 %r0, %r0, %r1;"
            "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r2, %r3, %r4, %r5}, [%r0];", TILE,
        )
    )  # fmt: skip
    texts.append(kernel("null", 1, ROWS.format(pitch=8) + "ld.global.f32 %f0, [%x0];", TILE))
    return PtxModule(HEAD + "".join(texts), count=True)


def count(module: PtxModule, name: str, grid: int, block: int, *arrays) -> LaunchCounts:
    pointers = tuple(np.uint64(a.ctypes.data) for a in arrays)
    module.get_function(name)((grid,), (block,), pointers)
    return module.counts[-1]


def aligned(n: int) -> np.ndarray:
    """Zeros that begin at a multiple of 128 bytes."""
    memory = np.zeros(n + 32, np.float32)
    return memory[-memory.ctypes.data % 128 // 4 :][:n]


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_moves_each_sector_once(module, name):
    threads = COPIES[name][0]
    x, y = aligned(N), aligned(N)
    counts = count(module, f"copy_{name}", threads // 64, 64, x, y)
    assert counts.warps == threads // 32
    assert counts.loads == counts.stores == Traffic(threads // 32, N // 8, N // 8)
    passes = 2 * threads // 32 if name == "async" else 0  # the copy's, and the load's
    assert counts.shared == Traffic(passes, passes, passes)


def test_an_array_that_begins_within_a_sector_takes_one_more_of_each_warp(module):
    x, y = aligned(N + 1), aligned(N)
    assert count(module, "copy_one", N // 64, 64, x[1:], y).loads == Traffic(32, 32 * 5, 32 * 4)


@pytest.mark.parametrize(("pitch", "passes"), [(4, 1), (8, 2), (128, 32), (132, 1)])
def test_rows_that_share_banks_take_more_passes(module, pitch, passes):
    assert count(module, f"rows_{pitch}", 1, 32).shared == Traffic(1, passes, 1)


def test_a_matrix_of_16_bytes_a_row_takes_a_pass(module):
    assert count(module, "rows_of_16_bytes", 1, 32).shared == Traffic(1, 4, 4)


def test_lanes_that_the_guard_keeps_out_move_nothing_and_equal_addresses_one_sector(module):
    x, y = aligned(8 * 64), aligned(8)
    counts = count(module, "half", 1, 64, x, y)
    guarded, broadcast = (site.traffic for site in counts.sites)
    assert guarded == Traffic(2, 2 * 16, 2 * 2)
    assert broadcast == Traffic(2, 2, 2)
    assert counts.instructions["global"] == 4


def test_a_warp_executes_a_loop_as_often_as_its_slowest_lane(module):
    counts = count(module, "loop", 1, 64)
    assert counts.instructions["fp32"] == 31 + 63
    iterations = 1 + sum(range(1, 64))  # of lanes: 1 for lane 0, i for lane i
    before, after = 64 * 4, 64 * 1
    assert counts.lanes == before + 4 * iterations + after


def test_counts_of_a_launch_are_its_own(module):
    first, second = (count(module, "rows_128", 2, 32) for _ in range(2))
    assert first == second
    assert first.shared.cost == 64


def test_a_launch_that_failed_is_not_counted_with_the_next_one(module):
    before = count(module, "rows_8", 1, 32)
    launches = len(module.counts)
    with pytest.raises(EmulatorError, match="null pointer"):
        module.get_function("null")((1,), (32,), (np.uint64(0),))
    assert len(module.counts) == launches
    assert count(module, "rows_8", 1, 32) == before


def test_only_ptx_is_counted():
    with pytest.raises(ValueError, match="count needs order 'ptx' but got 'shuffled'"):
        emulate(order="shuffled", count=True)
    with pytest.raises(ValueError, match="only backend='ptx' counts"):
        RawModule('extern "C" __global__ void f() {}', counts=[])
