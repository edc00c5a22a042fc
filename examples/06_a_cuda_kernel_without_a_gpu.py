# %% [markdown]
# # 6. A CUDA kernel without a GPU
#
# The kernels of this project are CUDA C++, and the emulator in `l2ae_kernels.emulator` runs their
# text on a CPU: every CUDA thread is a fiber, with barriers, shared memory, shuffles and atomics as
# CUDA documents them. It is slow, but it looks where a GPU does not. This lesson writes three
# kernels, breaks them in the usual ways, and steps through one. With `cupy.RawModule` and CuPy's
# arrays in place of the emulator and NumPy's, the same lines run on a device.
#
# It needs a C++ compiler (`apt-get install g++`); gdb is used where it is installed.

# %%
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from l2ae_kernels.emulator import CompileError, EmulatorError, RawModule, toolchain

try:
    toolchain.current()
except CompileError as error:
    if "CI" in os.environ:
        raise
    print(error)
    sys.exit()
quick = "L2AE_EXAMPLE_QUICK" in os.environ  # a run in CI: enough to see that it works

# %% [markdown]
# ## One thread an element
#
# A kernel is the body of a loop. A launch runs it in `blocks × threads` CUDA threads, and each of
# them finds out from `blockIdx` and `threadIdx` which element is its own. A launch consists of
# whole blocks, so that there are more threads than elements: those that are over must do nothing.

# %%
RECTIFY = r"""
extern "C" __global__ void rectify(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = fmaxf(x[i], 0.0f);
}
"""
x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
y = np.zeros_like(x)
THREADS = 128
blocks = -(-x.size // THREADS)  # 8 blocks of 128 threads for 1000 elements
RawModule(code=RECTIFY).get_function("rectify")((blocks,), (THREADS,), (x, y, np.int32(x.size)))
np.testing.assert_array_equal(y, np.maximum(x, 0))
print(f"{blocks * THREADS} threads for {x.size} elements")

# %% [markdown]
# ## The forgotten `if`
#
# The most frequent mistake of all. On a device the 24 threads that are over write into whatever
# lies behind y, most times without any sign of it. In the emulator the arrays of a launch have
# guard bytes around them, and a write there is an error. What is read there is NaN.

# %%
try:
    kernel = RawModule(code=RECTIFY.replace("if (i < n) ", "")).get_function("rectify")
    kernel((blocks,), (THREADS,), (x, y, np.int32(x.size)))
except EmulatorError as error:
    print(error)

# %% [markdown]
# Arguments are checked too. A kernel takes bits: a Python int would be 8 bytes where `int n` has 4.

# %%
try:
    kernel((blocks,), (THREADS,), (x, y, x.size))
except ValueError as error:
    print(error)

# %% [markdown]
# ## Threads that work together
#
# Eq. 4 for a batch: every block brings one row to length 1, u = z/|z|. The sum over the features is
# a tree in shared memory: 64 partial sums, then 32, 16, …, 1. Between two levels of the tree stands
# a barrier, `__syncthreads`: no thread goes on before all have come.

# %%
NORMALIZE = r"""
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
z = np.random.default_rng(0).standard_normal((3, 100)).astype(np.float32)


def lengths(code, **how):
    """Return the lengths of the rows that the kernel makes of z (3, 100)."""
    u = np.zeros_like(z)
    kernel = RawModule(code=code, **how).get_function("normalize")
    kernel((len(z),), (64,), (z, u, np.int32(z.shape[1])))
    return np.linalg.norm(u, axis=1)


np.testing.assert_allclose(lengths(NORMALIZE), 1, rtol=1e-6)
print("lengths", lengths(NORMALIZE))

# %% [markdown]
# ## A missing barrier
#
# Nothing but barriers orders the threads of a device, so a kernel without one may be right for
# years. The emulator runs the threads upwards, downwards, or shuffled: without the barrier in the
# loop the result depends on the order.

# %%
no_barrier = NORMALIZE.replace("    __syncthreads();\n  }", "  }")
for order in ("ascending", "descending", "shuffled"):
    print(f"{order:>10}", lengths(no_barrier, order=order))

# %% [markdown]
# A barrier that some threads never reach would hang a device, or worse. Here it has a name.

# %%
in_a_branch = NORMALIZE.replace("  __syncthreads();", "  if (threadIdx.x < 40) __syncthreads();", 1)
try:
    lengths(in_a_branch)
except EmulatorError as error:
    print(error)

# %% [markdown]
# ## A race
#
# How many numbers are positive? Threads of all blocks count in one place. `*count += 1` is three
# steps, read, add, write, and two threads that read the same value lose a count. In the emulator
# threads take turns only at barriers, so that no order shows it.

# %%
COUNT = r"""
extern "C" __global__ void count(const float* x, int* total, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n && x[i] > 0.0f) *total += 1;
}
"""
total = np.zeros(1, np.int32)
for code in (COUNT, COUNT.replace("*total += 1;", "atomicAdd(total, 1);")):
    total[0] = 0
    RawModule(code=code).get_function("count")((blocks,), (THREADS,), (x, total, np.int32(x.size)))
    print("counted", total[0], "of", (x > 0).sum())

# %% [markdown]
# ThreadSanitizer does show it: it follows every access of every thread. It has to be in the process
# from its start, so here are two files: the kernel, and a program that launches it. The first line
# `#line 1 "count.cu"` gives the text its name, in reports and for debuggers.

# %%
folder = Path(tempfile.mkdtemp())


def write_program(name, code, launch):
    """Write NAME.cu and NAME.py, which launches it; return the path of the latter."""
    (folder / f"{name}.cu").write_text(code)
    path = folder / f"{name}.py"
    path.write_text(f"""
from pathlib import Path

import numpy as np

from l2ae_kernels.emulator import RawModule

path = Path(__file__).with_suffix(".cu")
code = f'#line 1 "{{path.name}}"\\n' + path.read_text()
{launch}
""")
    return str(path)


if not quick and sys.platform == "linux":
    launch = """
x = np.ones(100, np.float32)
arguments = (x, np.zeros(1, np.int32), np.int32(x.size))
RawModule(code).get_function("count")((2,), (64,), arguments)
"""
    program = [sys.executable, write_program("count", COUNT, launch)]
    under_tool = ["-m", "l2ae_kernels.emulator.sanitized", "--tool", "thread", "--", *program]
    print("python", *under_tool)
    done = subprocess.run([sys.executable, *under_tool], text=True, capture_output=True)
    report = re.findall(
        r".*data race.*|.*(?:Write|Read|Previous).* by thread.*|.*count\.cu:\d.*", done.stderr
    )
    print(*report[:6], sep="\n")

# %% [markdown]
# ## Step through it
#
# `debug=True` compiles without optimization. `threadIdx` and `blockIdx` are plain variables to a
# debugger, so a breakpoint can wait for one thread of one block.

# %%
launch = """
z = np.random.default_rng(0).standard_normal((3, 100)).astype(np.float32)
arguments = (z, np.zeros_like(z), np.int32(100))
RawModule(code, debug=True).get_function("normalize")((3,), (64,), arguments)
"""
program = [sys.executable, write_program("normalize", NORMALIZE, launch)]
line = 1 + NORMALIZE.split("\n").index("  float length = sqrtf(sums[0]);")
commands = [
    f"directory {folder}",
    "set breakpoint pending on",
    "set disable-randomization off",
    f"break normalize.cu:{line} if blockIdx.x == 1 && threadIdx.x == 5",
    "run",
    "print threadIdx",
    "print sums[0]",
    "info locals",
    "next",
    "print length",
    "backtrace 1",
]
print("to type:  gdb --args", *program)
print("  then:  ", "\n          ".join(commands))

# %% The same as one batch of commands.
if shutil.which("gdb") is None:
    print("gdb is not installed")
else:
    options = [part for command in commands for part in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set auto-load no", *options, "--args", *program],
        text=True,
        capture_output=True,
        timeout=60 if quick else None,
    )
    print(done.stdout)

# %% [markdown]
# ## What a device is given
#
# A device never sees the text: NVRTC, NVIDIA's compiler, makes PTX of it, and needs no GPU for that
# (`pip install 'l2ae[cuda-check]'`). With `backend="ptx"` the emulator executes this PTX, and
# counts instructions and what they move. 32 threads, a warp, share each instruction. Memory moves
# in sectors of 32 bytes, so that a row of z takes 13. But the second row begins in the middle of a
# sector, and there the 32 floats of a warp lie in five sectors, not four.

# %%
counts = []
try:
    print("lengths", lengths(NORMALIZE, backend="ptx", counts=counts))
except CompileError as error:
    print(error)
for launch in counts:
    print(f"{launch.total} instructions of {launch.warps} warps")
    print(f"loads take {launch.loads.cost} sectors, at least {launch.loads.least}")

# %% [markdown]
# ## What it does not tell
#
# How long a kernel takes. `kernels/README.md` climbs the ladder from the loop to the tensor cores
# with the project's own kernels, and says what each step is for. The README beside the emulator
# lists what it checks and what it cannot.
