"""CUDA C++ by way of NVRTC: what only the PTX shows, and the arithmetic of its library."""

import math
from pathlib import Path

import numpy as np
import pytest

import l2ae_kernels
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.emulator import CompileError, EmulatorError, RawModule

SOURCE = Path(l2ae_kernels.__file__).parent / "cuda" / "source"

pytestmark = [pytest.mark.usefixtures("nvrtc"), pytest.mark.slow]  # PTX is for tests marked orders

PRODUCT = r"""
#include "async_copy.cuh"
#include "mma.cuh"

// One warp: d (16, 8) = a (16, 8) b (8, 8), without the rows of a from `rows` on. Of 16 columns of
// b, which lie as rows, it multiplies the first 8, which it reads in two ways.
extern "C" __global__ void product(const float* a, const float* b, float* d, int rows) {
  __shared__ __align__(16) float left[16 * 12];
  __shared__ __align__(16) float right[16 * 12];
  for (int i = threadIdx.x; i < 32; i += 32) {
    async_copy_or_zero<16>(&left[i / 2 * 12 + i % 2 * 4], a + 4 * i, i / 2 < rows);
    async_copy<8>(&right[i / 2 * 12 + i % 2 * 4], b + 4 * i);
    async_copy<8>(&right[i / 2 * 12 + i % 2 * 4 + 2], b + 4 * i + 2);
  }
  async_commit();
  async_wait<0>();
  __syncthreads();
  const int lane = threadIdx.x;
  unsigned mine_a[4], mine_b[2][2];
  float sums[4] = {0, 0, 0, 0};
  mma::Cell at = mma::address_a(lane);
  mma::load_a(mine_a, &left[at.row * 12 + at.column]);
  at = mma::address_b(lane);
  mma::load_b(mine_b[0], mine_b[1], &right[at.column * 12 + at.row]);
  mma::tf32(sums, mine_a, mine_b[0]);
  float again[4] = {0, 0, 0, 0};
  for (int i = 0; i < 2; ++i) {
    const uint4 four = mma::load_four(&right[lane / 4 * 12 + 4 * i]);
    const unsigned words[4] = {four.x, four.y, four.z, four.w};
    mine_b[1][i] = words[lane % 4];
  }
  mma::tf32(again, mine_a, mine_b[1]);
  for (int i = 0; i < 4; ++i) {
    at = mma::d(lane, i);
    d[at.row * 8 + at.column] = sums[i] == again[i] ? sums[i] : 1e9f;
  }
}
"""
# In the branches of the headers that the C++ emulator leaves out.
FAULTS = {
    "registers of A in another order": (
        "mma.cuh", '"r"(a[0]), "r"(a[1]), "r"(a[2])', '"r"(a[0]), "r"(a[2]), "r"(a[1])'
    ),
    "transposed matrices": ("mma.cuh", "m8n8.x4.shared.b16", "m8n8.x4.trans.shared.b16"),
    "four numbers in another order": (
        "mma.cuh", '"=r"(four.x), "=r"(four.y)', '"=r"(four.y), "=r"(four.x)'
    ),
    "zeros inside, numbers outside": (
        "async_copy.cuh", "inside ? BYTES : 0", "inside ? 0 : BYTES"
    ),
    "half of the bytes": (
        "async_copy.cuh", '"r"(to), "l"(from), "n"(BYTES)\n', '"r"(to), "l"(from), "n"(4)\n'
    ),
    "no wait": ("async_copy.cuh", '"cp.async.wait_group %0;"', '"// %0"'),
}  # fmt: skip


def product(backend: str, headers: Path, seed: int = 0) -> float:
    """Return the largest error of a product of small integers with its last 3 rows left out."""
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-9, 9, (16, 8)).astype(np.float32) for _ in range(2))
    d = np.zeros((16, 8), np.float32)
    module = RawModule(PRODUCT, (f"-I{headers}",), order="shuffled", backend=backend)
    module.get_function("product")((1,), (32,), (a, b, d, np.int32(13)))
    expected = a @ b[:8].T * (np.arange(16) < 13)[:, None]
    return float(np.abs(d - expected).max())


def test_a_product_of_the_headers_is_exact():
    assert product("cpp", SOURCE) == product("ptx", SOURCE) == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_inline_ptx_is_seen_in_the_ptx_alone(fault, tmp_path):
    file, right, wrong = FAULTS[fault]
    for header in SOURCE.glob("*.cuh"):
        text = header.read_text(encoding="utf-8")
        if header.name == file:
            assert right in text
            text = text.replace(right, wrong)
        (tmp_path / header.name).write_text(text, encoding="utf-8")
    assert product("cpp", tmp_path) == 0
    assert product("ptx", tmp_path) != 0  # NaN is wrong too


def test_a_kernel_of_the_project_runs_and_counts():
    """max_abs reads each sector once, and its warps reduce by shuffles."""
    device = emulate(order="ptx", seed=1, count=True)
    x = device.to_device(np.linspace(-3, 2, 4096, dtype=np.float32))
    largest = device.zeros(1, np.uint64)
    kernel = device.kernel("max_abs.cu", "max_abs", {"REAL": "float"})
    device.launch(kernel, (8,), (256,), (x, np.int64(x.size), largest))
    assert device.to_host(largest).view(np.float64)[0] == 3
    (counts,) = device.counts
    assert (counts.kernel, counts.grid, counts.block) == ("max_abs", (8, 1, 1), (256, 1, 1))
    assert counts.loads.cost == counts.loads.least == x.size // 8
    assert counts.instructions["shuffle"] >= counts.warps
    assert all(Path(site.file).name == "kernel.cu" for site in counts.sites)


ADD = r"""#line 1 "add.cu"
extern "C" __global__ void add(const float* x, float* sum, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(sum, x[i]);
}
"""


def test_arguments_are_checked_as_the_text_declares_them():
    add = RawModule(ADD, backend="ptx").get_function("add")
    x, total = np.ones(100, np.float32), np.zeros(1, np.float32)
    add((2,), (64,), (x, total, np.int32(90)))
    assert total[0] == 90
    with pytest.raises(ValueError, match="'add': it takes 3 arguments \\(x, sum, n\\) but got 2"):
        add((2,), (64,), (x, total))
    with pytest.raises(ValueError, match="argument 2 'n': expected unsigned int of 32 bits"):
        add((2,), (64,), (x, total, np.int64(90)))
    with pytest.raises(ValueError, match="argument 0 'x': expected an array"):
        add((2,), (64,), (np.float32(1), total, np.int32(90)))
    x.flags.writeable = total.flags.writeable = False
    with pytest.raises(ValueError, match="argument 1 'sum': the kernel may write it"):
        add((2,), (64,), (x, total, np.int32(90)))


def test_errors_name_the_line_of_the_text():
    text = ADD.replace("x[i]", "((const float*)((const char*)x + 1))[i]")
    add = RawModule(text, backend="ptx").get_function("add")
    x, total = np.ones(64, np.float32), np.zeros(1, np.float32)
    with pytest.raises(EmulatorError, match=r"add.cu:3: a global access of 4 bytes"):
        add((1,), (32,), (x, total, np.int32(32)))


def test_what_does_not_compile_is_an_error_in_the_words_of_nvrtc():
    with pytest.raises(CompileError, match=r"add.cu\(2\): error"):
        RawModule(ADD.replace("blockDim", "blockdim"), backend="ptx")


# ulps that CUDA's guide allows, and one for what NumPy's or Python's function is off
FUNCTIONS = {
    "exp": (2, np.exp), "log": (1, np.log), "sqrt": (0, np.sqrt), "sin": (2, np.sin),
    "cos": (2, np.cos), "tanh": (2, np.tanh), "atan": (2, np.arctan), "log1p": (2, np.log1p),
    "expm1": (2, np.expm1), "cbrt": (1, np.cbrt), "rint": (0, np.rint), "floor": (0, np.floor),
    "erf": (2, np.vectorize(math.erf)), "round": (0, lambda x: np.floor(x + 0.5)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("real", ["float", "double"])
def test_functions_of_cuda_are_what_numpy_computes(real):
    """Rounding modes, carries, tables in memory, calls: libdevice has them all."""
    lines = "".join(f"y[n * {i} + i] = {name}(x[i]);\n" for i, name in enumerate(FUNCTIONS))
    text = f'extern "C" __global__ void all(const {real}* x, {real}* y, int n) {{\n'
    text += f"int i = blockIdx.x * blockDim.x + threadIdx.x;\n{lines}}}"
    dtype = np.dtype("float32" if real == "float" else "float64")
    drawn = np.random.default_rng(0).uniform(0.01, 30, 60)
    x = np.concatenate([drawn, [1e5, 123456.7, 1.0, 50.5]]).astype(dtype)
    y = np.zeros((len(FUNCTIONS), x.size), dtype)
    RawModule(text, backend="ptx").get_function("all")((2,), (32,), (x, y, np.int32(x.size)))
    for found, (name, (ulps, function)) in zip(y, FUNCTIONS.items(), strict=True):
        with np.errstate(over="ignore"):
            expected = function(x.astype(np.float64)).astype(dtype)
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isinf(found), ~finite, err_msg=name)
        error = np.abs(found[finite] - expected[finite]) / np.spacing(np.abs(expected[finite]))
        assert error.max() <= ulps + 1, name
