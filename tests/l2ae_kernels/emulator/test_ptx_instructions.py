"""Each instruction of PTX by itself, against NumPy."""

from typing import NamedTuple

import numpy as np
import pytest

from l2ae_kernels.emulator.ptx import PtxModule
from tests.l2ae_kernels.emulator.ptx_text import DTYPES, HEAD, elementwise, run

TINY = np.float32(1e-40)  # subnormal


class Case(NamedTuple):
    """An instruction, the types of its operands and of its result, and what it computes."""

    body: str
    inputs: str
    output: str
    expected: object


def flush(x):
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(0, x), x).astype(np.float32)


def low(a, b):
    return a * b


def high(a, b):
    bits = 8 * a.itemsize
    return np.array([int(x) * int(y) >> bits for x, y in zip(a, b, strict=True)], a.dtype)


def shifted(a, n, left):
    bits = 8 * a.itemsize
    whole = [int(x) << int(k) if left else int(x) >> int(k) for x, k in zip(a, n, strict=True)]
    wrapped = [(w + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for w in whole]
    return np.array(wrapped if a.dtype.kind == "i" else [w % 2**bits for w in whole]).astype(
        a.dtype
    )


def bfe(a, first, length):
    fields = []
    for x, p, n in zip(a, first, length, strict=True):
        bits = [int(x) >> min(int(p) + i, 31) & 1 for i in range(int(n))]
        value = sum(bit << i for i, bit in enumerate(bits))
        fields.append(value - (1 << int(n)) if bits and bits[-1] else value)
    return np.array(fields, np.int32)


def cut(exact):
    """To float32, toward zero; `exact` is float64."""
    nearest = exact.astype(np.float32)
    return np.where(np.abs(nearest) > np.abs(exact), np.nextafter(nearest, np.float32(0)), nearest)


def least(a, b):
    both = (a == 0) & (b == 0)
    return np.where(both, np.where(np.signbit(a) | np.signbit(b), -0.0, 0.0), np.fmin(a, b))


def rounded_to(bits, x):
    """To so many bits of mantissa, ties away from zero, by way of float64."""
    exponent = np.maximum(np.frexp(x.astype(np.float64))[1], -125)
    unit = np.ldexp(1.0, exponent - bits - 1)
    scaled = x / unit
    return (np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) * unit).astype(np.float32)


CASES = {
    "add_s32": Case("add.s32 %d, %a, %b;", "s32 s32", "s32", np.add),
    "sub_u64": Case("sub.u64 %d, %a, %b;", "u64 u64", "u64", np.subtract),
    "mul_lo": Case("mul.lo.s32 %d, %a, %b;", "s32 s32", "s32", low),
    "mul_hi": Case("mul.hi.s32 %d, %a, %b;", "s32 s32", "s32", high),
    "mul_hi_u64": Case("mul.hi.u64 %d, %a, %b;", "u64 u64", "u64", high),
    "mul_wide": Case(
        "mul.wide.s32 %d, %a, %b;", "s32 s32", "s64", lambda a, b: a.astype(np.int64) * b
    ),
    "mad_wide": Case(
        "mad.wide.u32 %d, %a, %b, %c;", "u32 u32 u64", "u64",
        lambda a, b, c: a.astype(np.uint64) * b + c,
    ),
    "mad_lo": Case("mad.lo.s64 %d, %a, %b, %c;", "s64 s64 s64", "s64", lambda a, b, c: a * b + c),
    "carry": Case(  # 64 bits in two halves of 32, with what is above them in %d
        "add.cc.u32 %d, %a, %b; addc.u32 %d, 0, 0;", "u32 u32", "u32",
        lambda a, b: (a.astype(np.uint64) + b >> np.uint64(32)).astype(np.uint32),
    ),
    "borrow": Case(
        "sub.cc.u32 %d, %a, %b; subc.u32 %d, 0, 0;", "u32 u32", "u32",
        lambda a, b: np.where(a < b, np.uint32(2**32 - 1), np.uint32(0)),
    ),
    "div_s32": Case(
        "div.s32 %d, %a, 7;", "s32", "s32", lambda a: np.trunc(a / 7.0).astype(np.int32)
    ),
    "rem_s32": Case("rem.s32 %d, %a, 7;", "s32", "s32", lambda a: np.fmod(a, np.int32(7))),
    "min_s32": Case("min.s32 %d, %a, %b;", "s32 s32", "s32", np.minimum),
    "max_u32": Case("max.u32 %d, %a, %b;", "u32 u32", "u32", np.maximum),
    "abs_s32": Case("abs.s32 %d, %a;", "s32", "s32", np.abs),
    "neg_s64": Case("neg.s64 %d, %a;", "s64", "s64", np.negative),
    "logic": Case(
        "and.b32 %d, %a, %b; or.b32 %d, %d, 1; xor.b32 %d, %d, %b; not.b32 %d, %d;",
        "b32 b32", "b32", lambda a, b: ~(((a & b) | 1) ^ b),
    ),
    "lop3": Case(
        "lop3.b32 %d, %a, %b, %c, 0xE8;", "b32 b32 b32", "b32",  # the majority
        lambda a, b, c: (a & b) | (b & c) | (a & c),
    ),
    "shl": Case(
        "and.b32 %r, %b, 63; shl.b32 %d, %a, %r;", "b32 b32", "b32",
        lambda a, b: shifted(a, b & 63, True),
    ),
    "shr_s32": Case(
        "and.b32 %r, %b, 63; shr.s32 %d, %a, %r;", "s32 b32", "s32",
        lambda a, b: shifted(a, b & 63, False),
    ),
    "shf": Case(
        "shf.l.wrap.b32 %d, %a, %b, 5;", "b32 b32", "b32", lambda a, b: b << 5 | a >> 27
    ),
    "popc": Case("popc.b64 %d, %a;", "b64", "u32", lambda a: np.bitwise_count(a).astype(np.uint32)),
    "clz": Case(
        "clz.b32 %d, %a;", "b32", "u32",
        lambda a: np.array([32 - int(x).bit_length() for x in a], np.uint32),
    ),
    "bfind": Case(
        "bfind.s32 %d, %a;", "s32", "u32",
        lambda a: np.array([max(int(x), ~int(x)).bit_length() - 1 for x in a]).astype(np.uint32),
    ),
    "brev": Case(
        "brev.b32 %d, %a;", "b32", "b32",
        lambda a: np.array([int(f"{x:032b}"[::-1], 2) for x in a], np.uint32),
    ),
    "bfe": Case(
        "and.b32 %r, %b, 31; bfe.s32 %d, %a, %r, 9;", "s32 b32", "s32",
        lambda a, b: bfe(a, b & 31, np.full(a.size, 9)),
    ),
    "bfi": Case(
        "bfi.b32 %d, %a, %b, 4, 9;", "b32 b32", "b32",
        lambda a, b: (b & ~np.uint32(0x1FF0)) | (a << 4 & np.uint32(0x1FF0)),
    ),
    "prmt": Case(
        "prmt.b32 %d, %a, %b, 0x4321;", "b32 b32", "b32", lambda a, b: a >> 8 | b << 24
    ),
    "add_f32": Case("add.f32 %d, %a, %b;", "f32 f32", "f32", np.add),
    "add_ftz": Case(
        "add.ftz.f32 %d, %a, %b;", "f32 f32", "f32", lambda a, b: flush(flush(a) + flush(b))
    ),
    "mul_ftz": Case(
        "mul.ftz.f32 %d, %a, %b;", "f32 f32", "f32", lambda a, b: flush(flush(a) * flush(b))
    ),
    "mul_rz": Case(
        "mul.rz.f32 %d, %a, %b;", "f32 f32", "f32", lambda a, b: cut(a.astype(np.float64) * b)
    ),
    "fma": Case(
        "fma.rn.f64 %d, %a, %b, %c;", "f64 f64 f64", "f64",
        lambda a, b, c: (a.astype(np.longdouble) * b + c).astype(np.float64),
    ),
    "min_f32": Case("min.f32 %d, %a, %b;", "f32 f32", "f32", least),
    "max_f32": Case("max.f32 %d, %a, %b;", "f32 f32", "f32", lambda a, b: -least(-a, -b)),
    "saturated": Case(
        "add.sat.f32 %d, %a, %b;", "f32 f32", "f32",
        lambda a, b: np.nan_to_num(np.clip(a + b, 0, 1), nan=0.0),
    ),
    "rcp": Case("rcp.approx.f32 %d, %a;", "f32", "f32", lambda a: np.float32(1) / a),
    "copysign": Case("copysign.f32 %d, %a, %b;", "f32 f32", "f32", lambda a, b: np.copysign(b, a)),
    **{
        f"setp_{how}": Case(
            f"setp.{how}.f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", "f32 f32", "u32",
            lambda a, b, compare=compare, unordered=unordered: np.where(
                np.isnan(a) | np.isnan(b), unordered, compare(a, b)
            ),
        )
        for how, compare, unordered in (
            ("lt", np.less, False), ("ltu", np.less, True), ("ne", np.not_equal, False),
            ("neu", np.not_equal, True), ("geu", np.greater_equal, True), ("eq", np.equal, False),
        )
    },
    "setp_pair": Case(
        "setp.lt.s32 %q, %a, 0; setp.lt.and.s32 %p|%q, %b, 0, %q; selp.u32 %d, 1, 0, %q;",
        "s32 s32", "u32", lambda a, b: ~(b < 0) & (a < 0),
    ),
    "cvt_rni": Case(
        "cvt.rni.s32.f32 %d, %a;", "f32", "s32",
        lambda a: np.clip(np.nan_to_num(np.rint(a.astype(np.float64))), -(2.0**31), 2.0**31 - 1)
        .astype(np.int32),
    ),
    "cvt_nan": Case(  # of float64 NaN becomes the least integer
        "cvt.rzi.s32.f64 %d, %a;", "f64", "s32",
        lambda a: np.clip(np.where(np.isnan(a), -np.inf, np.trunc(a)), -(2.0**31), 2.0**31 - 1)
        .astype(np.int32),
    ),
    "cvt_floor": Case("cvt.rmi.f32.f32 %d, %a;", "f32", "f32", np.floor),
    "cvt_s64": Case("cvt.rn.f32.s64 %d, %a;", "s64", "f32", lambda a: a.astype(np.float32)),
    "cvt_s16": Case("cvt.s32.s16 %d, %a;", "s16", "s32", lambda a: a.astype(np.int32)),
    "cvt_clamp": Case(
        "cvt.sat.s16.s32 %d, %a;", "s32", "s16", lambda a: np.clip(a, -(2**15), 2**15 - 1)
    ),
    "cvt_f16": Case(
        "{ .reg .b16 %h; cvt.rn.f16.f32 %h, %a; cvt.f32.f16 %d, %h; }", "f32", "f32",
        lambda a: a.astype(np.float16).astype(np.float32),
    ),
    "cvt_tf32": Case(
        "cvt.rna.tf32.f32 %r, %a; mov.b32 %d, %r;", "f32", "f32", lambda a: rounded_to(10, a)
    ),
    "halves": Case(
        "{ .reg .b32 %low, %high; mov.b64 {%low, %high}, %a; mov.b64 %d, {%high, %low}; }",
        "b64", "b64", lambda a: a << np.uint64(32) | a >> np.uint64(32),
    ),
    "branch": Case(
        "setp.lt.s32 %p, %a, 0; @%p bra $L_below; mov.u32 %d, 5; bra.uni $L_end; $L_below: "
        "mov.u32 %d, 7; $L_end:", "s32", "u32", lambda a: np.where(a < 0, 7, 5),
    ),
    "switch": Case(
        "rem.u32 %r, %a, 3; mov.u32 %d, 9; $L_list: .branchtargets $L_0, $L_1, $L_2; "
        "brx.idx %r, $L_list; $L_0: mov.u32 %d, 4; bra $L_2; $L_1: mov.u32 %d, 6; $L_2:",
        "u32", "u32", lambda a: np.array([4, 6, 9])[a % 3],
    ),
    "guard": Case(
        "setp.ne.s32 %p, %a, 0; mov.u32 %d, 1; @!%p mov.u32 %d, 2;", "s32", "u32",
        lambda a: np.where(a != 0, 1, 2),
    ),
}  # fmt: skip

FLOATS = np.array(
    [0.0, -0.0, 1.0, -1.5, 2.5, 3.49, -7.5, 65504.0, 1e10, -3e9, 1e-3, np.inf, -np.inf, np.nan,
     TINY, -TINY, 0.1, 1 + 2.0**-11, -(1 + 3 * 2.0**-11), 0.30000001]
)  # fmt: skip


def values(type_: str, position: int):
    """Return 64 numbers of a type: the ends of its range and others, each operand in its order."""
    rng = np.random.default_rng(position)
    dtype = np.dtype(DTYPES[type_])
    if dtype.kind == "f":
        return rng.permutation(np.resize(FLOATS, 64)).astype(dtype)
    info = np.iinfo(dtype)
    ends = np.array([0, 1, 2, 7, 31, info.max, info.max - 1, info.min, info.max // 2], dtype)
    drawn = rng.integers(info.min, info.max, 55, dtype, endpoint=True)
    return rng.permutation(np.concatenate([ends, drawn]))


@pytest.fixture(scope="module")
def module(cxx):
    texts = (elementwise(f"k_{n}", c.body, c.inputs.split(), c.output) for n, c in CASES.items())
    return PtxModule(HEAD + "".join(texts))


@pytest.mark.parametrize("name", CASES)
def test_an_instruction_computes_what_numpy_does(module, name):
    case = CASES[name]
    arrays = [values(t, i) for i, t in enumerate(case.inputs.split())]
    with np.errstate(all="ignore"):
        expected = np.asarray(case.expected(*arrays)).astype(DTYPES[case.output])
    found = run(module, f"k_{name}", arrays, case.output)
    np.testing.assert_array_equal(found, expected)
    zeros = (expected == 0) & (expected.dtype.kind == "f")
    np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(expected[zeros]))
