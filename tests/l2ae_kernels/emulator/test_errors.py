"""What no kernel may do stops the launch; the message names kernel, block, thread and line."""

import re

import numpy as np
import pytest

from l2ae_kernels.emulator import CompileError, EmulatorError, RawModule

CODE = r"""#line 1 "faulty.cu"
extern "C" __global__ void two_barriers(float* x) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}
extern "C" __global__ void no_such_lane(float* x) {
  x[threadIdx.x] = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 8);
}
extern "C" __global__ void left_lane(float* x) {
  if (threadIdx.x == 3) return;
  x[threadIdx.x] = __shfl_sync(0xffffffffu, x[threadIdx.x], 3);
}
extern "C" __global__ void not_in_its_own_mask(float* x) {
  x[threadIdx.x] = __shfl_sync(0x0000ffffu, x[threadIdx.x], 0);
}
extern "C" __global__ void masks_differ(float* x) {
  x[threadIdx.x] = __any_sync(threadIdx.x == 0 ? 0x1u : 0xffffffffu, 1);
  __syncthreads();
}
extern "C" __global__ void trapped(float* x) {
  if (blockIdx.x == 1 && threadIdx.x == 2) __trap();
}
extern "C" __global__ void endless(float* x) {
  while (x[0] == 0.0f) __nanosleep(100);
}
extern "C" __global__ void waits_for_a_flag(float* x) {
  if (threadIdx.x == 0)
    while (atomicAdd(&x[0], 0.0f) == 0.0f) __nanosleep(100);
  else
    atomicAdd(&x[0], 1.0f);
}
extern "C" __global__ void __launch_bounds__(64, 2) bounded(float* x) {}
extern "C" __global__ void too_much(float* x) {
  __shared__ double large[49 * 128];
  large[threadIdx.x] = 0.0;
}
extern "C" __global__ void arguments(const float* x, float4* y, int n, float scale, const void* any,
                                     unsigned long long* wide, bool flag) {}
"""


def kernel(name, **how):
    return RawModule(code=CODE, **how).get_function(name)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
@pytest.mark.parametrize(
    ("name", "block", "messages"),
    [
        (
            "two_barriers",
            64,
            [
                "kernel 'two_barriers', block (",
                "thread (0,0,0), faulty.cu:3: ",
                "__syncthreads is not reached by all its threads",
                "thread (32,0,0) waits at __syncthreads, faulty.cu:5",
            ],
        ),
        ("no_such_lane", 20, ["faulty.cu:8", "reads lane 20, which does not exist"]),
        ("left_lane", 32, ["faulty.cu:12", "reads lane 3, which does not exist or has left"]),
        ("not_in_its_own_mask", 32, ["faulty.cu:15", "is not in the mask 0x0000ffff"]),
        ("masks_differ", 32, ["faulty.cu:18", "__any_sync is not reached by all its threads"]),
        ("trapped", 32, ["block (1,0,0), thread (2,0,0), faulty.cu:22", "__trap"]),
        ("too_much", 32, ["__shared__ large", "50176 bytes", "more than 49152"]),
    ],
)
def test_error_names_kernel_block_thread_and_line(name, block, messages, order):
    x = np.zeros(block, np.float32)
    with pytest.raises(EmulatorError) as error:
        kernel(name, order=order)((2,), (block,), (x,))
    for message in messages:
        assert message in str(error.value)


def test_a_launch_after_a_failed_one_is_not_disturbed():
    x = np.zeros(64, np.float32)
    module = RawModule(code=CODE)
    with pytest.raises(EmulatorError):
        module.get_function("two_barriers")((1,), (64,), (x,))
    module.get_function("waits_for_a_flag")((1,), (2,), (x,))
    assert x[0] == 1


@pytest.mark.slow
def test_threads_that_spin_forever_are_stopped():
    with pytest.raises(EmulatorError, match="its threads spin and nothing else moves"):
        kernel("endless")((1,), (1,), (np.zeros(1, np.float32),))


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((1,), (1025,), "at most 1024 threads"),
        ((1,), (8, 8, 65), "at most 1024 threads"),
        ((1, 65536), (1,), "grid (1,65536,1) is out of range"),
        ((1,), (65,), "block has 65 threads, but __launch_bounds__ says 64"),
    ],
)
def test_impossible_launches(grid, block, message):
    with pytest.raises(EmulatorError, match=re.escape(message)):
        kernel("bounded")(grid, block, (np.zeros(1, np.float32),))


@pytest.mark.parametrize(
    ("grid", "block", "shared_mem", "message"),
    [
        ((), (1,), 0, "grid is ()"),
        ((1,), (0,), 0, "block is (0,)"),
        ((1,), (1,), 48 * 1024 + 1, "shared_mem is 49153 bytes but expected 0 to 49152"),
    ],
)
def test_bad_launch_parameters(grid, block, shared_mem, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kernel("bounded")(grid, block, (np.zeros(1, np.float32),), shared_mem=shared_mem)


def test_more_dynamic_shared_memory_on_request_as_in_cupy():
    bounded = kernel("bounded")
    bounded.max_dynamic_shared_size_bytes = 200 * 1024
    bounded((1,), (64,), (np.zeros(1, np.float32),), shared_mem=200 * 1024)
    bounded.max_dynamic_shared_size_bytes = 300 * 1024
    with pytest.raises(ValueError, match="expected 0 to 232448"):
        bounded((1,), (64,), (np.zeros(1, np.float32),), shared_mem=228 * 1024)


GOOD = (
    np.zeros(4, np.float32),
    np.zeros((1, 4), np.float32),
    np.int32(4),
    np.float32(1),
    np.zeros(3, np.uint8),
    np.zeros(1, np.uint64),
    np.bool_(True),
)


def test_good_arguments():
    kernel("arguments")((1,), (1,), GOOD)
    unsigned = (*GOOD[:2], np.uint32(4), GOOD[3], None, np.zeros(1, np.int64), GOOD[6])
    kernel("arguments")((1,), (1,), unsigned)  # as wide, and None is a null pointer


def misaligned():
    whole = np.zeros(8, np.float32)
    return whole[1:5] if whole.ctypes.data % 16 == 0 else whole[:4]


def read_only():
    array = np.zeros(4, np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("position", "argument", "message"),
    [
        (
            0,
            np.zeros(4),
            "argument 0 'x': expected pointer to float of 32 bits but got an array of f",
        ),
        (0, np.zeros((4, 4), np.float32)[:, 1], "argument 0 'x': expected a C-contiguous array"),
        (0, 140, "argument 0 'x': expected an array for pointer to float of 32 bits but got int"),
        (1, misaligned(), "argument 1 'y': expected an address that is a multiple of 16"),
        (1, read_only(), "argument 1 'y': the kernel may write it, but the array is read-only"),
        (2, 4, "argument 2 'n': expected a NumPy scalar for int of 32 bits but got int 4"),
        (2, np.int64(4), "argument 2 'n': expected int of 32 bits but got int64"),
        (2, np.float32(4), "argument 2 'n': expected int of 32 bits but got float32"),
        (2, np.zeros(1, np.int32), "argument 2 'n': expected a NumPy scalar for int of 32 bits"),
        (3, 1.0, "argument 3 'scale': expected a NumPy scalar for float of 32 bits but got float"),
        (3, np.float64(1), "argument 3 'scale': expected float of 32 bits but got float64"),
        (6, np.int32(1), "argument 6 'flag': expected bool but got int32"),
    ],
)
def test_bad_arguments_are_named(position, argument, message):
    arguments = list(GOOD)
    arguments[position] = argument
    with pytest.raises(ValueError, match=re.escape(f"kernel 'arguments', {message}")):
        kernel("arguments")((1,), (1,), arguments)


def test_number_of_arguments():
    with pytest.raises(ValueError, match=r"takes 1 arguments \(x\) but got 2"):
        kernel("bounded")((1,), (1,), (GOOD[0], GOOD[0]))


def test_unknown_kernel_order_seed_option_and_tool():
    with pytest.raises(ValueError, match=r"no kernel 'nearest', only \['arguments'"):
        kernel("nearest")
    with pytest.raises(ValueError, match="order: expected one of"):
        RawModule(code=CODE, order="random")
    with pytest.raises(ValueError, match="seed: expected an integer"):
        RawModule(code=CODE, seed=-1)
    with pytest.raises(ValueError, match="options: '--frobnicate' is not known"):
        RawModule(code=CODE, options=("--frobnicate",))
    with pytest.raises(ValueError, match="sanitize: expected None"):
        RawModule(code=CODE, sanitize="memory")


KERNEL = 'extern "C" __global__ void f(float* x) {{\n  {}\n}}\n'


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (KERNEL.format("__shared__ float a[4], b[4];"), "kernel.cu:2: one __shared__ variable"),
        (KERNEL.format("__shared__ float a = 0.0f;"), "kernel.cu:2: one __shared__ variable"),
        (
            "\n__shared__ float a[4];\n",
            "kernel.cu:2: declare __shared__ variables inside a function",
        ),
        ("__global__ void f(float* x) {}\n", "kernel.cu:1: kernel 'f' is not extern \"C\""),
        (KERNEL.format("\n x[0] = nothing;"), "kernel.cu:3:9: error: "),
        (KERNEL.format("atomicAdd((long long*)x, 1);"), "CUDA has it not for this type"),
    ],
)
def test_text_that_is_no_kernel(code, message):
    with pytest.raises(CompileError, match=re.escape(message)):
        RawModule(code=code)
