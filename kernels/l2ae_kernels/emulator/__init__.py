"""Runs the project's .cu files on a CPU: no GPU, no CUDA, only a C++ compiler.

    from l2ae_kernels.emulator import RawModule

    module = RawModule(code=text, options=("-DK=10",))
    module.get_function("assign")((8,), (128,), (x, centers, labels, np.int32(n)), shared_mem=800)

Every CUDA thread is a fiber; barriers, shuffles, shared memory and atomics behave as CUDA documents
them, and what CUDA leaves undefined stops the launch with the names of kernel, block, thread and
line. The README beside this file tells the rest.
"""

from l2ae_kernels.emulator.errors import CompileError, EmulatorError, SanitizerError
from l2ae_kernels.emulator.module import Kernel, RawModule

__all__ = ["CompileError", "EmulatorError", "Kernel", "RawModule", "SanitizerError"]
