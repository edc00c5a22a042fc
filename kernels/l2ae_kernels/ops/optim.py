"""The step of Adam."""

from l2ae_kernels.arrays import Array
from l2ae_kernels.operations import pick
from l2ae_kernels.ops.checks import count, inputs, require_apart, writable
from l2ae_kernels.stages import AdamSettings


def adam_step(
    p: Array,
    m: Array,
    v: Array,
    g: Array,
    settings: AdamSettings,
    *,
    step: int,
    impl: str | None = None,
) -> None:
    """One step of Adam in place on p, m and v, all of g's shape; `step` counts from 1.

    Raises ValueError when shapes or dtypes differ, or when p, m or v cannot be written in place or
    share memory with another of the four arrays.
    """
    (g,) = inputs("adam_step", g)
    p = writable("adam_step", "p", p, g.shape, g)
    m = writable("adam_step", "m", m, g.shape, g)
    v = writable("adam_step", "v", v, g.shape, g)
    require_apart("adam_step", p=p, m=m, v=v, g=g)
    if not isinstance(settings, AdamSettings):
        raise ValueError(f"adam_step: settings is {settings!r} but expected AdamSettings")
    run, step = pick("adam_step", g, impl), count("adam_step", "step", step)
    if g.size:
        run(p, m, v, g, settings, step=step)
