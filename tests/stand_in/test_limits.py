"""What the stand-in refuses, and when a fault of a kernel is told: as a device does."""

import numpy as np
import pytest

from l2ae_kernels.cuda.device import Device

from .device import NAME, StandIn
from .errors import Code, Refused
from .kernels import MULTIPROCESSORS, SHARED, SHARED_OPTIN

STATIC = 40_000
SHARED_MEMORY = f"""
extern "C" __global__ void shared(int* out) {{
  __shared__ char tile[{STATIC}];
  extern __shared__ char more[];
  tile[threadIdx.x] = threadIdx.x, more[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x] + more[threadIdx.x];
}}
"""
MISALIGNED = """
extern "C" __global__ void misaligned(const float* x, float4* out) {
  *out = *reinterpret_cast<const float4*>(x + 1);
}
"""


def test_the_device_is_found(stand_in: StandIn, gpu: Device) -> None:
    assert gpu.properties.name == NAME
    assert gpu.properties.compute_capability == (9, 0)
    assert gpu.properties.multiprocessors == MULTIPROCESSORS
    assert gpu.properties.shared_per_block == SHARED_OPTIN
    assert not stand_in.unknown


def test_static_and_dynamic_shared_memory_have_one_limit(stand_in: StandIn, gpu: Device) -> None:
    cupy = gpu.array_module
    kernel = cupy.RawKernel(SHARED_MEMORY, "shared")
    assert kernel.shared_size_bytes == STATIC
    assert kernel.max_dynamic_shared_size_bytes == SHARED - STATIC
    out = gpu.empty(32, np.int32)
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        kernel((1,), (32,), (out,), shared_mem=SHARED - STATIC + 1)
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        kernel.max_dynamic_shared_size_bytes = SHARED_OPTIN - STATIC + 1
    kernel.max_dynamic_shared_size_bytes = SHARED_OPTIN - STATIC
    kernel((1,), (32,), (out,), shared_mem=SHARED_OPTIN - STATIC)
    np.testing.assert_array_equal(gpu.to_host(out), 31)


def test_a_cooperative_grid_has_to_fit_the_device(stand_in: StandIn, gpu: Device) -> None:
    cupy = gpu.array_module
    kernel = cupy.RawKernel(SHARED_MEMORY, "shared", enable_cooperative_groups=True)
    function = stand_in.functions[kernel.kernel.ptr]
    most = function.blocks_each(32, 0)
    assert most == 233_472 // (STATIC + 1024)
    out = gpu.empty(32, np.int32)
    with pytest.raises(ValueError, match="exceeds the limit"):  # CuPy asks for the limit
        kernel((most, MULTIPROCESSORS + 1), (32,), (out,))
    with pytest.raises(Refused) as refused:
        function.check((most * MULTIPROCESSORS + 1, 1, 1), (32, 1, 1), 0, cooperative=True)
    assert refused.value.code == Code.COOPERATIVE_LAUNCH_TOO_LARGE
    function.check((most * MULTIPROCESSORS, 1, 1), (32, 1, 1), 0, cooperative=True)


@pytest.mark.parametrize(
    ("grid", "block"), [((1, 65_536), (32,)), ((1,), (1025,)), ((1,), (1, 1, 65))]
)
def test_grids_and_blocks_that_no_device_takes(
    gpu: Device, grid: tuple[int, ...], block: tuple[int, ...]
) -> None:
    kernel = gpu.array_module.RawKernel(SHARED_MEMORY, "shared")
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
        kernel(grid, block, (gpu.empty(32, np.int32),))


def test_a_fault_is_told_when_somebody_waits_and_from_then_on(
    stand_in: StandIn, gpu: Device
) -> None:
    cupy = gpu.array_module
    x, out = gpu.zeros(8, np.float32), gpu.zeros(4, np.float32)
    kernel = cupy.RawKernel(MISALIGNED, "misaligned")
    kernel((1,), (1,), (x, out))  # it is queued, and nothing is known of it
    with pytest.raises(RuntimeError, match=r"cudaErrorLaunchFailure: .*align"):
        gpu.synchronize()
    with pytest.raises(RuntimeError, match="cudaErrorLaunchFailure"):
        gpu.to_host(out)
    assert len(stand_in.mend()) == 1  # which no device can
    assert not gpu.to_host(out).any()


def test_events(gpu: Device) -> None:
    cupy = gpu.array_module
    first, second = cupy.cuda.Event(), cupy.cuda.Event()
    assert first.done  # not recorded
    with pytest.raises(RuntimeError, match="cudaErrorInvalidResourceHandle"):
        cupy.cuda.get_elapsed_time(first, second)
    first.record()
    gpu.zeros(10, np.float32)
    second.record()
    assert not second.done
    with pytest.raises(RuntimeError, match="cudaErrorNotReady"):
        cupy.cuda.get_elapsed_time(first, second)
    second.synchronize()
    assert first.done
    assert cupy.cuda.get_elapsed_time(first, second) >= 0


def test_memory_that_the_pool_hands_out_again_holds_no_number(gpu: Device) -> None:
    cupy = gpu.array_module
    x = gpu.full(1000, 3, np.float32)
    address = x.data.ptr
    del x
    again = cupy.empty(1000, np.float32)
    assert again.data.ptr == address
    assert np.isnan(gpu.to_host(again)).all()


def test_copies_on_the_device(stand_in: StandIn, gpu: Device) -> None:
    """Of the kind that says nothing of where the addresses lie."""
    cupy = gpu.array_module
    x, y = gpu.full(5, 3, np.float32), gpu.zeros(5, np.float32)
    before = stand_in.counts["copies on the device"]
    cupy.copyto(y, x)
    assert stand_in.counts["copies on the device"] == before + 1
    np.testing.assert_array_equal(gpu.to_host(y), 3)


def test_copies_beyond_an_array_are_refused(gpu: Device) -> None:
    cupy = gpu.array_module
    runtime, host = cupy.cuda.runtime, np.zeros(1 << 16, np.uint8)
    with cupy.cuda.using_allocator(None):
        x = gpu.zeros(100, np.uint8)
        for size in (host.size, -1 % 2**62):
            with pytest.raises(RuntimeError, match="cudaErrorInvalidValue"):
                runtime.memcpy(x.data.ptr, host.ctypes.data, size, runtime.memcpyHostToDevice)
