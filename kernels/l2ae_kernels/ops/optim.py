"""The step of Adam."""

from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import require_shape
from l2ae_kernels.implementations import pick
from l2ae_kernels.ops.checks import contiguous, same


def adam_step(
    p: Array,
    m: Array,
    v: Array,
    g: Array,
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    variant: str,
    rung: str | None = None,
) -> None:
    """One step of Adam in place on p, m and v, all of g's shape; `step` counts from 1.

    Raises ValueError when shapes or dtypes differ, or `variant` is neither "keras" nor "torch".
    """
    if variant not in ("keras", "torch"):
        raise ValueError(f"adam_step: variant is {variant!r} but expected 'keras' or 'torch'")
    for name, a in {"p": p, "m": m, "v": v}.items():
        require_shape("adam_step", name, a.shape, g.shape)
    same("adam_step", p=p, m=m, v=v, g=g)
    if not all(a.flags.c_contiguous for a in (p, m, v)):
        raise ValueError("adam_step: p, m and v are changed in place and must be C-contiguous")
    pick("adam_step", p, rung)(
        p, m, v, contiguous(g),
        learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=eps, step=step, variant=variant,
    )  # fmt: skip
