"""The step of Adam."""

from typing import get_args

from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import require_shape
from l2ae_kernels.implementations import pick
from l2ae_kernels.ops.checks import contiguous, same
from l2ae_kernels.reference.optim import AdamSettings, AdamVariant


def adam_step(
    p: Array,
    m: Array,
    v: Array,
    g: Array,
    settings: AdamSettings,
    *,
    step: int,
    rung: str | None = None,
) -> None:
    """One step of Adam in place on p, m and v, all of g's shape; `step` counts from 1.

    Raises ValueError when shapes or dtypes differ, or the variant is neither "keras" nor "torch".
    """
    if settings.variant not in (known := get_args(AdamVariant)):
        raise ValueError(f"adam_step: variant is {settings.variant!r} but expected one of {known}")
    for name, a in {"p": p, "m": m, "v": v}.items():
        require_shape("adam_step", name, a.shape, g.shape)
    same("adam_step", p=p, m=m, v=v, g=g)
    if not all(a.flags.c_contiguous for a in (p, m, v)):
        raise ValueError("adam_step: p, m and v are changed in place and must be C-contiguous")
    pick("adam_step", p, rung)(p, m, v, contiguous(g), settings, step=step)
