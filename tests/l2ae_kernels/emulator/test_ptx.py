"""Kernels in PTX: written by hand, and what NVRTC makes of CUDA C++."""

import numpy as np
import pytest

from l2ae_kernels.emulator import CompileError, EmulatorError
from l2ae_kernels.emulator.ptx import PtxModule

HEAD = ".version 8.0\n.target sm_90\n.address_size 64\n"
SCALE = (
    HEAD
    + r"""
.visible .entry scale(.param .u64 scale_x, .param .f32 scale_by, .param .u32 scale_n)
.maxntid 64, 1, 1
{
  .reg .pred %p<2>;
  .reg .f32 %f<4>;
  .reg .b32 %r<6>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [scale_x];
  ld.param.f32 %f1, [scale_by];
  ld.param.u32 %r1, [scale_n];
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %tid.x;
  mad.lo.s32 %r5, %r2, %r3, %r4;
  setp.ge.s32 %p1, %r5, %r1;
  @%p1 bra $L_end;
  cvta.to.global.u64 %rd1, %rd1;
  mul.wide.s32 %rd2, %r5, 4;
  add.s64 %rd3, %rd1, %rd2;
  ld.global.f32 %f2, [%rd3];
  mul.ftz.f32 %f3, %f2, %f1;
  st.global.f32 [%rd3], %f3;
$L_end:
  ret;
}
"""
)


def launch(module: PtxModule, x: np.ndarray, by: float, n: int, threads: int = 64) -> None:
    address = np.array([x.ctypes.data], np.uint64)
    values = [a.tobytes() for a in (address, np.float32([by]), np.int32([n]))]
    module.get_function("scale").run((-(-n // threads),), (threads,), values)


def test_a_kernel_of_ptx_text():
    x = np.arange(100, dtype=np.float32)
    module = PtxModule(SCALE)
    launch(module, x, 2.0, 90)
    np.testing.assert_array_equal(x, np.arange(100) * np.where(np.arange(100) < 90, 2, 1))
    assert module.kernels["scale"].parameters == (8, 4, 4)
    assert module.kernels["scale"].max_threads == 64


def test_parameters_of_another_size_are_an_error():
    with pytest.raises(ValueError, match=r"'scale': expected \[8, 4, 4\] bytes but got \[4\]"):
        PtxModule(SCALE).get_function("scale").run((1,), (1,), [b"1234"])


def test_more_threads_than_maxntid_are_an_error():
    with pytest.raises(EmulatorError, match="block has 128 threads"):
        launch(PtxModule(SCALE), np.zeros(128, np.float32), 1.0, 128, threads=128)


def test_a_misaligned_access_is_an_error():
    x = np.zeros(401, np.uint8)
    module = PtxModule(SCALE)
    with pytest.raises(EmulatorError, match=r"kernel.ptx:\d+: a global access of 4 bytes"):
        launch(module, x[1:], 1.0, 100)


@pytest.mark.parametrize(
    "line", ["mul.f32 %f3, %f2;", "tcgen05.ld %f3;", "add.relu.f32 %f3, %f2, %f1;"]
)
def test_an_instruction_that_is_not_known_is_an_error(line):
    with pytest.raises(CompileError, match="PTX"):
        PtxModule(SCALE.replace("mul.ftz.f32 %f3, %f2, %f1;", line))
