"""PTX texts for tests: kernels of a few instructions, thread i working on element i."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from l2ae_kernels.emulator.ptx import PtxModule

HEAD = ".version 8.0\n.target sm_90\n.address_size 64\n"
DTYPES = {
    "u16": np.uint16, "s16": np.int16, "b16": np.uint16, "u32": np.uint32, "s32": np.int32,
    "b32": np.uint32, "u64": np.uint64, "s64": np.int64, "b64": np.uint64, "f32": np.float32,
    "f64": np.float64,
}  # fmt: skip


def elementwise(name: str, body: str, inputs: Sequence[str], output: str) -> str:
    """Return a kernel that loads %a, %b, %c of the types, runs `body` and stores %d.

    Further registers are %p, %q (predicates), %r (32 bits), %s (64 bits).
    """
    parameters = ", ".join(f".param .u64 {name}_{i}" for i in range(len(inputs) + 1))
    registers = "".join(f".reg .{t} %{letter};\n" for letter, t in zip("abc", inputs, strict=False))
    loads = "".join(
        f"ld.param.u64 %base, [{name}_{i}];\nmad.wide.u32 %base, %i, {np.dtype(DTYPES[t]).itemsize}"
        f", %base;\nld.global.{t} %{letter}, [%base];\n"
        for i, (letter, t) in enumerate(zip("abc", inputs, strict=False))
    )
    return f"""
.visible .entry {name}({parameters})
{{
  .reg .pred %p, %q;
  .reg .b32 %i, %r;
  .reg .b64 %base, %s;
  {registers}.reg .{output} %d;
  mov.u32 %i, %tid.x;
  {loads}{body}
  ld.param.u64 %base, [{name}_{len(inputs)}];
  mad.wide.u32 %base, %i, {np.dtype(DTYPES[output]).itemsize}, %base;
  st.global.{output} [%base], %d;
  ret;
}}
"""


def run(
    module: PtxModule, name: str, arrays: Sequence[npt.NDArray[np.generic]], output: str
) -> npt.NDArray[np.generic]:
    """Run an elementwise kernel with a thread an element; return what it stores."""
    out = np.empty(arrays[0].size, DTYPES[output])
    module.get_function(name)(
        (1,), (out.size,), tuple(np.uint64(a.ctypes.data) for a in (*arrays, out))
    )
    return out


def kernel(name: str, arrays: int, body: str, declared: str = "") -> str:
    """Return a kernel of some arrays, %x0, %x1, … with %i the thread and %at a byte offset."""
    parameters = ", ".join(f".param .u64 {name}_{i}" for i in range(arrays))
    loads = "".join(f"ld.param.u64 %x{i}, [{name}_{i}];\n" for i in range(arrays))
    return f"""
.visible .entry {name}({parameters})
{{
  .reg .pred %p<4>;
  .reg .f32 %f<16>;
  .reg .b32 %i, %r<16>;
  .reg .b64 %x<4>, %at, %rd<8>;
  {declared}
  mov.u32 %i, %tid.x;
  mul.wide.u32 %at, %i, 4;
  {loads}{body}
  ret;
}}
"""
