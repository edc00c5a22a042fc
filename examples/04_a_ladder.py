# %% [markdown]
# # 4. A ladder
#
# One operation, y = x W, in steps: each rung is checked against NumPy in float64, timed, and the
# next one changes one thing. The matrices are those of a dense layer, 256 images, 512 → 2048
# features: half a billion floating-point operations. Let the machine do nothing else meanwhile.

# %%
import os
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from numba import njit
from threadpoolctl import threadpool_limits

from l2ae_core.figures.style import ANOMALY, FAINT, INK, NORMAL, dress
from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import get_vectors

quick = "L2AE_EXAMPLE_QUICK" in os.environ  # a run in CI: enough to see that it works
N, K, M = (32, 64, 256) if quick else (256, 512, 2048)
rng = np.random.default_rng(0)
x, W = rng.standard_normal((N, K), np.float32), rng.standard_normal((K, M), np.float32)
exact = x.astype(np.float64) @ W
# A sum of K products in float32, in whatever order, is off by at most K ε Σ|x||W|.
allowed = K * np.finfo(np.float32).eps * (abs(x).astype(np.float64) @ abs(W))
rates = {}  # GFLOP/s


def measure(name, product, rows=N):
    """Check a product of the first `rows` images, time it, and keep the best of some repeats."""
    y, best = np.zeros((rows, M), np.float32), np.inf
    product(x[:rows], W, y)  # compiles; what a program does first is slow
    started = perf_counter()
    while best == np.inf or perf_counter() - started < 0.5:
        before = perf_counter()
        product(x[:rows], W, y)
        best = min(best, perf_counter() - before)
    assert (abs(y - exact[:rows]) <= allowed[:rows]).all(), name
    rates[name] = 2 * rows * K * M / best / 1e9
    print(f"{name:28}{rates[name]:10.3f} GFLOP/s")


# %% [markdown]
# ## Loops
#
# The definition in Python, then the same loops compiled by Numba. The inner loop walks down a
# column of W: every step is a new cache line, and a sum in order is a chain of additions that
# cannot be done side by side.


# %%
def loops(x, W, y):
    for n in range(x.shape[0]):
        for m in range(W.shape[1]):
            s = np.float32(0)
            for k in range(W.shape[0]):
                s += x[n, k] * W[k, m]
            y[n, m] = s


measure("Python", loops, rows=1)
measure("Numba", njit(loops))

# %% [markdown]
# ## Another order
#
# With m innermost, W and y are read along rows, and neighbouring sums go into lanes of a vector.


# %%
@njit(nogil=True)
def by_rows(x, W, y):
    y[:] = 0
    for n in range(x.shape[0]):
        for k in range(W.shape[0]):
            for m in range(W.shape[1]):
                y[n, m] += x[n, k] * W[k, m]


measure("m innermost", by_rows)

# %% [markdown]
# ## Reuse
#
# For each product this loads a W and a y and stores a y: twelve bytes for two operations. With four
# rows of W at once, y is loaded and stored once for four products; with two images, W is loaded
# once for both. And blocks of 8 × 1024 weights (32 KB) stay near while all images pass by.


# %%
@njit(nogil=True, fastmath={"contract"})  # a multiply-add may round once
def blocked(x, W, y):
    y[:] = 0
    for m in range(0, W.shape[1], 1024):
        for k0 in range(0, W.shape[0], 8):
            for n in range(0, x.shape[0], 2):
                y0, y1 = y[n, m : m + 1024], y[n + 1, m : m + 1024]
                for k in range(k0, k0 + 8, 4):
                    w0, w1 = W[k, m : m + 1024], W[k + 1, m : m + 1024]
                    w2, w3 = W[k + 2, m : m + 1024], W[k + 3, m : m + 1024]
                    a0, a1, a2, a3 = x[n, k], x[n, k + 1], x[n, k + 2], x[n, k + 3]
                    b0, b1, b2, b3 = x[n + 1, k], x[n + 1, k + 1], x[n + 1, k + 2], x[n + 1, k + 3]
                    for i in range(y0.size):
                        y0[i] += a0 * w0[i] + a1 * w1[i] + a2 * w2[i] + a3 * w3[i]
                        y1[i] += b0 * w0[i] + b1 * w1[i] + b2 * w2[i] + b3 * w3[i]


measure("blocked", blocked)

# %% [markdown]
# ## Sums in registers
#
# It would be best if a tile of sums never left the registers. A loop in Numba or C cannot ask for
# that, so the kernel is emitted as LLVM code, in the small language of this project. For each k a
# tile loads some vectors of W and four numbers of x, for four times as many multiply-adds. W is
# copied into panels first, so that a tile reads one run of memory.

# %%
vectors = get_vectors()  # None: a processor for which nothing is emitted


def emit():
    """Return a product of x and packed W, given by their addresses, and the width of a panel."""
    R, V = 4, vectors.columns
    width, module = V * vectors.lanes, Module(vectors)
    with module.function("product", 5) as (e, *numbers):
        x, panels, y = map(e.pointer, numbers[:3])
        rows, count = numbers[3:]
        with e.each(0, count) as panel, e.each(0, rows, R) as n:

            def step(k, sums):
                w = [e.load(panels, (panel * K + k) * width + v * e.lanes) for v in range(V)]
                a = [e.broadcast(x, (n + r) * K + k) for r in range(R)]
                pairs = [(a_r, w_v) for a_r in a for w_v in w]
                return [e.fma(*pair, s) for pair, s in zip(pairs, sums, strict=True)]

            for i, s in enumerate(e.loop(0, K, [e.zero] * (R * V), step)):
                e.store(s, y, (n + i // V) * M + panel * width + i % V * e.lanes)
    return Library(str(module.ir)).function("product", 5), width


def tiles(x, W, y, rows=N, each=map):
    panels = np.ascontiguousarray(W.reshape(K, -1, width).transpose(1, 0, 2))

    def part(n):
        product(x[n:].ctypes.data, panels.ctypes.data, y[n:].ctypes.data, rows, M // width)

    list(each(part, range(0, N, rows)))


if vectors is not None:
    product, width = emit()
    measure("tiles in registers", tiles)

# %% [markdown]
# ## All cores, and the ceiling
#
# Threads share W and take rows of their own. BLAS is what a library makes of this product.

# %%
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
if vectors is not None and cores > 1:
    share = -(-N // (4 * cores)) * 4
    with ThreadPoolExecutor(cores) as pool:
        measure(f"the same, {cores} threads", lambda *a: tiles(*a, rows=share, each=pool.map))
with threadpool_limits(1):
    measure("BLAS, 1 thread", lambda x, W, y: np.matmul(x, W, out=y))
measure("BLAS, its threads", lambda x, W, y: np.matmul(x, W, out=y))

# %% [markdown]
# ## A roofline
#
# A core does no more than its peak, and no more than its memory feeds it: GFLOP/s ≤ GB/s ·
# operations per byte. Both are measured: the peak as BLAS's or ours, whichever is higher, the
# bandwidth by y += a x on arrays that fit the first-level cache, and on such that fit none. The
# bytes of a rung are those that its innermost loop loads and stores, wherever they come from.


# %%
@njit(nogil=True, fastmath={"contract"})
def axpy(a, x, y):
    for r in range(a.size):
        for i in range(x.size):
            y[i] += a[r] * x[i]


def bandwidth(floats, total):
    a, x, y = (np.ones(n, np.float32) for n in (total // floats, floats, floats))
    best = np.inf
    for _ in range(6):  # the first compiles
        before = perf_counter()
        axpy(a, x, y)
        best = min(best, perf_counter() - before)
    return 12 * len(a) * floats / best / 1e9


size = 1 << (22 if quick else 25)
roofs = {"first-level cache": bandwidth(2000, size), "memory": bandwidth(size, size)}
per_byte = {"Numba": 2 / 8, "m innermost": 2 / 12, "blocked": 16 / 32}
if vectors is not None:
    R, V, lanes = 4, vectors.columns, vectors.lanes
    per_byte["tiles in registers"] = 2 * R * V * lanes / (4 * V * lanes + 4 * R)

# %%
figure, (bars, roofline) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for row, (name, rate) in enumerate(rates.items()):
    bars.barh(row, rate, color=FAINT if "BLAS" in name else NORMAL)
    bars.text(rate * 1.1, row, f"{rate:.3g}", va="center", color=INK, fontsize=9)
bars.set_yticks(range(len(rates)), rates)
bars.set(xscale="log", xlim=(min(rates.values()) / 2, max(rates.values()) * 5))
bars.invert_yaxis()
dress(bars, x="GFLOP/s", y="", panel="Rungs")
bars.grid(False, axis="y")

peak = max(rates["BLAS, 1 thread"], rates.get("tiles in registers", 0))
intensity = np.logspace(-1.3, 1, 200)
for (name, rate), line in zip(roofs.items(), ("-", "--"), strict=True):
    roof = np.minimum(rate * intensity, peak)
    roofline.loglog(intensity, roof, line, color=FAINT, label=f"{name}, {rate:.0f} GB/s")
for name, x in per_byte.items():
    roofline.plot(x, rates[name], "o", color=ANOMALY)
    place = {"textcoords": "offset points", "ha": "center", "va": "top", "color": INK}
    roofline.annotate(name, (x, rates[name]), (0, -6), **place)
roofline.set_ylim(bottom=min(rates[name] for name in per_byte) / 4)
roofline.legend(loc="lower right", frameon=False, fontsize=9)
dress(roofline, x="operations per byte", y="GFLOP/s", panel="Roofline, one core")
plt.show()

# %% [markdown]
# From here on: `kernels/README.md` has the ladders of convolutions and k-means, on CPU and GPU, and
# `python benchmarks/run.py` measures every rung beside other libraries.
