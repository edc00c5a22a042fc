"""PTX as a backend of the emulator: what NVRTC makes of a .cu text is executed, and counted.

    from l2ae_kernels.emulator.ptx import PtxModule

    kernel = PtxModule(text_of_ptx).get_function("fill")
    kernel.run((8,), (128,), (address.tobytes(), value.tobytes()), shared_mem=0)

`RawModule(code, backend="ptx")` compiles CUDA C++ first. The README of the emulator tells the rest.
"""

from l2ae_kernels.emulator.ptx.counters import LaunchCounts, Traffic
from l2ae_kernels.emulator.ptx.module import PtxKernel, PtxModule

__all__ = ["LaunchCounts", "PtxKernel", "PtxModule", "Traffic"]
