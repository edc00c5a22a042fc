"""Memory, warps and tensor cores of PTX: what is computed, and what stops a launch."""

import sys

import numpy as np
import pytest

from l2ae_kernels.emulator import EmulatorError, sanitized
from l2ae_kernels.emulator.ptx import PtxModule
from tests.l2ae_kernels.emulator.ptx_text import HEAD, kernel

pytestmark = [pytest.mark.usefixtures("cxx"), pytest.mark.slow]  # PTX is for tests marked orders


def launch(
    text: str, name: str, threads: int, *arrays, blocks: int = 1, shared_mem: int = 0, **how
):
    pointers = tuple(np.uint64(a.ctypes.data) for a in arrays)
    PtxModule(HEAD + text, **how).get_function(name)(
        (blocks,), (threads,), pointers, shared_mem=shared_mem
    )


TILE = ".shared .align 16 .b8 tile[128];\n.shared .align 4 .b8 after[4];\n"


def store_at(offset: int) -> str:
    """A store to `tile` at 4 i + offset."""
    address = "mov.u32 %r0, tile; shl.b32 %r1, %i, 2; add.s32 %r0, %r0, %r1;"
    return f"{address} st.shared.u32 [%r0+{offset}], %i;"


def test_what_one_thread_stores_in_shared_memory_another_one_reads():
    out = np.zeros(32, np.int32)
    body = store_at(0) + (
        "bar.sync 0; sub.s32 %r2, 31, %i; mul.wide.s32 %rd0, %r2, 4; mov.u64 %rd1, tile;"
        "add.s64 %rd1, %rd1, %rd0; cvta.shared.u64 %rd2, %rd1; ld.u32 %r3, [%rd2];"
        "add.s64 %x0, %x0, %at; st.global.u32 [%x0], %r3;"
    )
    launch(kernel("reverse", 1, body, TILE), "reverse", 32, out)
    np.testing.assert_array_equal(out, np.arange(32)[::-1])


@pytest.mark.parametrize(
    ("offset", "said"),
    [(4, "lies in no variable"), (2, "not a multiple"), (-4, "lies in no variable")],
)
def test_a_store_outside_of_a_shared_variable_is_an_error(offset, said):
    with pytest.raises(EmulatorError, match=f"a shared access of 4 bytes .*{said}"):
        launch(kernel("outside", 0, store_at(offset), TILE), "outside", 32)


def test_dynamic_shared_memory_ends_where_the_launch_says():
    declared = ".extern .shared .align 16 .b8 rows[];\n"
    body = store_at(0).replace("tile", "rows")
    launch(declared + kernel("fill", 0, body), "fill", 32, shared_mem=128)
    with pytest.raises(EmulatorError, match=r"thread \(31,0,0\).*lies in no variable"):
        launch(declared + kernel("fill", 0, body), "fill", 32, shared_mem=124)


@pytest.mark.parametrize("first", [0, 1, 2, 4])
def test_a_vector_load_needs_the_alignment_of_all_its_bytes(first):
    x, out = np.arange(16, dtype=np.float32), np.zeros(4, np.float32)
    assert x.ctypes.data % 16 == 0
    body = "ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%x0];"
    body += "st.global.v4.f32 [%x1], {%f3, %f2, %f1, %f0};"
    if first % 4:
        with pytest.raises(EmulatorError, match="a global access of 16 bytes"):
            launch(kernel("load", 2, body), "load", 1, x[first:], out)
    else:
        launch(kernel("load", 2, body), "load", 1, x[first:], out)
        np.testing.assert_array_equal(out, x[first : first + 4][::-1])


def copied(wait: str, copy: str = "cp.async.ca.shared.global [%r0], [%x0], 4;") -> np.ndarray:
    """What a thread reads from shared memory behind a copy of 4 bytes and a wait."""
    x, out = np.arange(1, 33, dtype=np.float32), np.zeros(32, np.float32)
    body = f"""
      mov.u32 %r0, tile; shl.b32 %r1, %i, 2; add.s32 %r0, %r0, %r1; and.b32 %r2, %i, 1;
      shl.b32 %r3, %r2, 2; setp.ne.s32 %p0, %r2, 0; add.s64 %x0, %x0, %at;
      st.shared.u32 [%r0], 7; {copy}
      cp.async.commit_group; {wait} ld.shared.f32 %f0, [%r0];
      add.s64 %x1, %x1, %at; st.global.f32 [%x1], %f0;"""
    launch(kernel("copy", 2, body, TILE), "copy", 32, x, out)
    return out


def test_an_asynchronous_copy_arrives_with_the_wait_and_not_before():
    np.testing.assert_array_equal(copied("cp.async.wait_group 0;"), np.arange(1, 33))
    np.testing.assert_array_equal(copied("cp.async.wait_all;"), np.arange(1, 33))
    assert np.isnan(copied("")).all()
    assert np.isnan(copied("cp.async.wait_group 1;")).all()  # the latest one may be on its way


@pytest.mark.parametrize("last", ["%r3", "!%p0"])
def test_an_asynchronous_copy_leaves_zeros_where_nothing_is_read(last):
    """By src-size, 0 or 4 bytes; by ignore-src."""
    copy = f"cp.async.ca.shared.global [%r0], [%x0], 4, {last};"
    expected = np.where(np.arange(32) % 2, np.arange(1, 33), 0)
    np.testing.assert_array_equal(copied("cp.async.wait_group 0;", copy), expected)


def test_an_asynchronous_copy_of_16_bytes_needs_an_address_of_16():
    with pytest.raises(EmulatorError, match="a shared access of 16 bytes"):
        copied("", "cp.async.cg.shared.global [%r0], [%x0], 16;")


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("add.u32", 10 + 31 * 32 // 2), ("max.u32", 31), ("min.s32", 0), ("or.b32", 31),
        ("inc.u32", (10 + 32) % 31), ("xor.b32", 10),
    ],
)  # fmt: skip
def test_an_atomic_operation_of_all_threads(operation, expected):
    x = np.array([10], np.uint32)
    value = "30" if operation == "inc.u32" else "%i"  # 0 follows 30
    launch(kernel("all", 1, f"atom.global.{operation} %r0, [%x0], {value};"), "all", 32, x)
    assert x[0] == expected


def test_atomic_sums_of_floats_flush_in_global_memory_only():
    tiny = np.array([1e-40, 0], np.float32)
    body = """
      mov.u32 %r0, one; mov.f32 %f0, 0f00000000; st.shared.f32 [%r0], %f0;
      ld.global.f32 %f1, [%x0]; atom.shared.add.f32 %f2, [%r0], %f1; ld.shared.f32 %f3, [%r0];
      st.global.f32 [%x0+4], %f3; red.global.add.f32 [%x0], %f1;"""
    launch(kernel("sum", 1, body, ".shared .align 4 .f32 one;"), "sum", 1, tiny)
    np.testing.assert_array_equal(tiny, np.float32([0, 1e-40]))


@pytest.mark.parametrize(
    ("mode", "b", "c", "source"),
    [
        ("idx", "5", "31", lambda i: np.full(32, 5)),
        ("up", "3", "0", lambda i: np.where(i < 3, i, i - 3)),
        ("down", "2", "0x101F", lambda i: np.where(i % 16 > 13, i, i + 2)),  # halves of a warp
        ("bfly", "1", "31", lambda i: i ^ 1),
    ],
)
def test_a_shuffle_reads_the_lane_that_it_names(mode, b, c, source):
    out = np.zeros(64, np.int32)
    body = f"""shfl.sync.{mode}.b32 %r0|%p0, %i, {b}, {c}, 0xffffffff; selp.u32 %r1, 1, 0, %p0;
      add.s64 %x0, %x0, %at; st.global.u32 [%x0], %r0; st.global.u32 [%x0+128], %r1;"""
    launch(kernel("shuffle", 1, body), "shuffle", 32, out)
    lanes = np.arange(32)
    np.testing.assert_array_equal(out[:32], source(lanes))
    inside = (source(lanes) != lanes) | (mode == "idx")
    np.testing.assert_array_equal(out[32:], inside)


def test_votes_and_reductions_of_a_warp():
    out = np.zeros(32 * 4, np.uint32)
    body = """setp.lt.s32 %p0, %i, 7; vote.sync.ballot.b32 %r0, %p0, 0xffffffff;
      vote.sync.any.pred %p1, %p0, 0xffffffff; vote.sync.all.pred %p2, %p0, 0xffffffff;
      selp.u32 %r1, 1, 0, %p1; selp.u32 %r2, 1, 0, %p2; redux.sync.max.u32 %r3, %i, 0xffffffff;
      mul.wide.u32 %at, %i, 16; add.s64 %x0, %x0, %at;
      st.global.v4.u32 [%x0], {%r0, %r1, %r2, %r3};"""
    launch(kernel("vote", 1, body), "vote", 32, out)
    np.testing.assert_array_equal(out.reshape(32, 4), np.tile([127, 1, 0, 31], (32, 1)))


def test_a_barrier_that_some_threads_leave_out_is_an_error():
    body = "setp.lt.s32 %p0, %i, 7; @%p0 bra $L_end; bar.sync 0; $L_end:"
    with pytest.raises(EmulatorError, match="bar 0 is not reached by all its threads"):
        launch(kernel("divergent", 0, body), "divergent", 32)


def test_a_thread_that_polls_lets_the_others_go_on():
    flag = np.zeros(1, np.uint32)
    body = """setp.ne.s32 %p0, %i, 0; @%p0 bra $L_set;
      $L_poll: ld.acquire.gpu.global.u32 %r0, [%x0]; setp.eq.u32 %p1, %r0, 0; @%p1 bra $L_poll;
      bra $L_end; $L_set: fence.acq_rel.gpu; st.relaxed.gpu.global.u32 [%x0], 1; $L_end:"""
    for order in ("ascending", "descending", "shuffled"):
        flag[:] = 0
        launch(kernel("poll", 1, body), "poll", 2, flag, order=order)
        assert flag[0] == 1


RACE = """
import numpy as np
from l2ae_kernels.emulator.ptx import PtxModule
x = np.zeros(1, np.uint32)
PtxModule({text!r}).get_function("sum")((2,), (32,), (np.uint64(x.ctypes.data),))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("add", "races"), [("red.global.add.u32 [%x0], 1;", False), (
    "ld.global.u32 %r0, [%x0]; add.u32 %r0, %r0, 1; st.global.u32 [%x0], %r0;", True)
])  # fmt: skip
def test_thread_sanitizer_sees_a_race_in_ptx(add, races):
    program = RACE.format(text=HEAD + kernel("sum", 1, add))
    status = sanitized.main(["--tool", "thread", "--", sys.executable, "-c", program])
    assert (status != 0) == races


# ---------------------------------------------------------------------- tensor cores

LANES = np.arange(32)
GROUP, IN_GROUP = LANES // 4, LANES % 4  # PTX ISA, "Matrix Fragments for mma.m16n8k8"
A_ROWS = np.stack([GROUP, GROUP + 8, GROUP, GROUP + 8], 1)
A_COLUMNS = np.stack([IN_GROUP, IN_GROUP, IN_GROUP + 4, IN_GROUP + 4], 1)
B_ROWS, B_COLUMNS = np.stack([IN_GROUP, IN_GROUP + 4], 1), np.stack([GROUP, GROUP], 1)
D_ROWS = np.stack([GROUP, GROUP, GROUP + 8, GROUP + 8], 1)
D_COLUMNS = np.stack([2 * IN_GROUP, 2 * IN_GROUP + 1] * 2, 1)
MMA = "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
PRODUCT = f"""
  mul.wide.u32 %at, %i, 16; add.s64 %x0, %x0, %at; add.s64 %x2, %x2, %at;
  mul.wide.u32 %at, %i, 8; add.s64 %x1, %x1, %at;
  ld.global.v4.u32 {{%r0, %r1, %r2, %r3}}, [%x0]; ld.global.v2.u32 {{%r4, %r5}}, [%x1];
  ld.global.v4.f32 {{%f0, %f1, %f2, %f3}}, [%x2];
  {MMA} {{%f4, %f5, %f6, %f7}}, {{%r0, %r1, %r2, %r3}}, {{%r4, %r5}}, {{%f0, %f1, %f2, %f3}};
  st.global.v4.f32 [%x2], {{%f4, %f5, %f6, %f7}};"""


def tf32(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def product(a: np.ndarray, b: np.ndarray, c: np.ndarray, extra_bits: int = 0) -> np.ndarray:
    """Return a (16, 8) b (8, 8) + c (16, 8) by the tensor core."""
    fragments = [
        np.ascontiguousarray(x.astype(np.float32))
        for x in (a[A_ROWS, A_COLUMNS], b[B_ROWS, B_COLUMNS], c[D_ROWS, D_COLUMNS])
    ]
    launch(kernel("product", 3, PRODUCT), "product", 32, *fragments, extra_bits=extra_bits)
    d = np.empty((16, 8), np.float32)
    d[D_ROWS, D_COLUMNS] = fragments[2]
    return d


def test_a_product_of_small_integers_is_exact():
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-99, 99, s) for s in ((16, 8), (8, 8), (16, 8)))
    np.testing.assert_array_equal(product(a, b, c), a @ b + c)


@pytest.mark.parametrize("extra_bits", [0, 3])
def test_a_product_rounds_toward_zero(extra_bits):
    """4 products and a sum are cut at 2^-23 of the largest, or below it; so is what they give."""
    rng = np.random.default_rng(1)
    a, b, c = (tf32(rng.uniform(0.5, 1.5, s)) for s in ((16, 8), (8, 8), (16, 8)))
    exact = a.astype(np.float64) @ b + c
    found = product(a, b, c, extra_bits)
    steps = 2 * (5 * 2.0 ** (-23 - extra_bits) + 2.0**-23)
    assert (found <= exact).all()
    assert (found >= exact * (1 - steps)).all()
    assert (found < exact).any()


@pytest.mark.parametrize("transposed", ["", ".trans"])
def test_matrices_of_16_bits_from_shared_memory(transposed):
    """Row r of matrix i is where lane 8 i + r points, here in reverse order."""
    x, out = np.arange(256, dtype=np.uint16), np.zeros((32, 4), np.uint32)
    body = f"""
      mul.wide.u32 %at, %i, 16; add.s64 %x0, %x0, %at; add.s64 %x1, %x1, %at;
      ld.global.v4.u32 {{%r0, %r1, %r2, %r3}}, [%x0]; mov.u32 %r4, rows; shl.b32 %r5, %i, 4;
      add.s32 %r6, %r4, %r5; st.shared.v4.u32 [%r6], {{%r0, %r1, %r2, %r3}};
      bar.warp.sync 0xffffffff; sub.s32 %r7, 496, %r5; add.s32 %r7, %r4, %r7;
      ldmatrix.sync.aligned.m8n8.x4{transposed}.shared.b16 {{%r0, %r1, %r2, %r3}}, [%r7];
      st.global.v4.u32 [%x1], {{%r0, %r1, %r2, %r3}};"""
    declared = ".shared .align 16 .b8 rows[512];"
    launch(kernel("load", 2, body, declared), "load", 32, x, out)
    matrices = x.reshape(32, 8)[::-1].reshape(4, 8, 8)
    if transposed:
        matrices = matrices.transpose(0, 2, 1)
    expected = matrices[:, GROUP[:, None], 2 * IN_GROUP[:, None] + np.arange(2)]
    np.testing.assert_array_equal(
        out.view(np.uint16).reshape(32, 4, 2), expected.transpose(1, 0, 2)
    )
