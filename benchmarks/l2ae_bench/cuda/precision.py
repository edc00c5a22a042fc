"""The classes of precision of products on a GPU, and how each library is set to one.

float32  numbers of float32. Ours: three products of TF32 parts, off by 2^-21 of a product.
         PyTorch: "highest" and no TF32 in cuDNN. JAX: "highest".
tf32     numbers with 10 bits of mantissa, sums of float32. Ours: one product.
         PyTorch: "high" and TF32 in cuDNN. JAX: "tensorfloat32".

PyTorch by itself mixes both: TF32 in convolutions, float32 in products of matrices.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from l2ae_bench import peers
from l2ae_kernels.cuda.block import Impl

Precision: TypeAlias = Literal["float32", "tf32"]
TORCH = {"float32": "highest", "tf32": "high"}
JAX = {"float32": "highest", "tf32": "tensorfloat32"}
IMPL: dict[Precision, Impl] = {"float32": "tensor", "tf32": "tf32"}  # ours


@contextmanager
def torch_precision(precision: Precision) -> Iterator[None]:
    """Let PyTorch's products be of one class inside: of matrices and of convolutions."""
    if not peers.installed("torch"):
        yield
        return
    torch = peers.load("torch")
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(TORCH[precision])
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def in_words() -> list[str]:
    """Return a line a class: how each contender is set."""
    return [
        f"{name}: ours {ours}; torch {TORCH[name]!r}; jax {JAX[name]!r}"
        for name, ours in (("float32", "three products of TF32 parts"), ("tf32", "one product"))
    ]
