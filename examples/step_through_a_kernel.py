"""Run a CUDA kernel without a GPU, break it, and step through it.

Run as a script, or cell by cell in an editor that knows `# %%`. It needs a C++ compiler; gdb is
used where it is installed.
"""

# %% A kernel as it would go to a GPU: every block brings one row to length 1, u = z / |z|.
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from l2ae_kernels.emulator import EmulatorError, RawModule

CODE = r"""
extern "C" __global__ void normalize(const float* z, float* u, int features) {
  __shared__ float sums[64];
  const float* row = z + blockIdx.x * features;
  float sum = 0.0f;
  for (int f = threadIdx.x; f < features; f += blockDim.x) sum += row[f] * row[f];
  sums[threadIdx.x] = sum;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  float length = sqrtf(sums[0]);
  for (int f = threadIdx.x; f < features; f += blockDim.x)
    u[blockIdx.x * features + f] = row[f] / length;
}
"""
z = np.random.default_rng(0).standard_normal((3, 10)).astype(np.float32)


def normalized(code, **how):
    u = np.zeros_like(z)
    RawModule(code=code, **how).get_function("normalize")((3,), (64,), (z, u, np.int32(10)))
    return u


if sys.argv[1:] == ["launch"]:  # what gdb runs below
    normalized(CODE, debug=True)
    sys.exit()

# %% On this CPU every CUDA thread is a fiber. `cupy.RawModule` takes the same text and arguments.
u = normalized(CODE)
np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1, rtol=1e-6)
print("lengths", np.linalg.norm(u, axis=1))

# %% Threads run in any order on a device. Without the barrier in the loop the result depends on it.
no_barrier = CODE.replace("    __syncthreads();\n  }", "  }")
for order in ("ascending", "descending", "shuffled"):
    print(f"{order:>10}", np.linalg.norm(normalized(no_barrier, order=order), axis=1))

# %% A barrier that some threads never reach would hang a GPU, or worse. Here it has a name.
try:
    normalized(CODE.replace("  __syncthreads();", "  if (threadIdx.x < 40) __syncthreads();", 1))
except EmulatorError as error:
    print(error)

# %% Now step through it. `debug=True` compiles without optimization; the text lies in kernel.cu
# beside the library. threadIdx and blockIdx are plain variables to a debugger.
module = RawModule(code=CODE, debug=True)
line = 1 + CODE.split("\n").index("  float length = sqrtf(sums[0]);")
print("the text that gdb shows:", module.path.with_name("kernel.cu"))
commands = [
    "set breakpoint pending on",
    "set disable-randomization off",
    f"break kernel.cu:{line} if blockIdx.x == 1 && threadIdx.x == 5",
    "run",
    "print threadIdx",
    "print sums[0]",
    "info locals",
    "next",
    "print length",
    "backtrace 1",
]
script = str(Path(__file__)) if "__file__" in globals() else "examples/step_through_a_kernel.py"
program = [sys.executable, script, "launch"]
print("to type:  gdb --args", *program)
print("  then:  ", "\n          ".join(commands))

# %% The same as one batch of commands.
if shutil.which("gdb") is None:
    print("gdb is not installed")
else:
    options = [part for command in commands for part in ("-ex", command)]
    seconds = 60 if "L2AE_EXAMPLE_QUICK" in os.environ else None
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set auto-load no", *options, "--args", *program],
        text=True,
        capture_output=True,
        timeout=seconds,
    )
    print(done.stdout)
