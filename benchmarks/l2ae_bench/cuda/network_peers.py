"""The pieces of the network as the users of PyTorch and JAX have them.

A peer is a call that queues its work and returns results, and a function that waits for these.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from l2ae_bench import peers
from l2ae_bench.cuda.precision import JAX, Precision
from l2ae_kernels.arrays import Array

EPS = 1e-6
Arrays = dict[str, Array]
Call = Callable[[], Any]
Peer = tuple[Call, Callable[[Any], object]]
GRADIENTS = {"dense": ("x", "W", "b"), "bottleneck": ("x", "W1", "b1", "W2", "b2")}


def calls(kind: str, inputs: Arrays, on: str, precision: Precision) -> dict[str, Peer]:
    """Return the peers that are installed: "torch" (-graph, -compile on a GPU) and "jax".

    To be called, and its peers with it, inside `torch_precision(precision)`.
    """
    found: dict[str, Peer] = {}
    if peers.installed("torch"):
        found |= _torch_adam(inputs, on) if kind == "adam" else _torch(kind, inputs, on)
    if peers.installed("jax") and kind != "adam":  # JAX has no optimizer of its own
        found["jax"] = _jax(kind, inputs, precision)
    return found


class Results(dict[str, Any]):
    """Results of a peer where they are; an item is an array of the host."""

    def __getitem__(self, name: str) -> Array:
        value = super().__getitem__(name)
        host: Array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        return host


def _torch(kind: str, inputs: Arrays, on: str) -> dict[str, Peer]:
    torch = peers.load("torch")
    from l2ae_bench.cuda.torch_calls import variants, wait

    forward = FORWARD[kind]
    names = GRADIENTS[kind]
    a = {name: torch.from_numpy(x).to(on) for name, x in inputs.items()}
    leaves = [a[name].requires_grad_() for name in names]

    def step(function: Callable[..., Any]) -> Results:
        y = function(*leaves)
        grads = torch.autograd.grad(y, leaves, a["dy"])
        return Results({"y": y, **{f"d{n}": g for n, g in zip(names, grads, strict=True)}})

    steps = variants(partial(step, forward), lambda: partial(step, torch.compile(forward)), on)
    return {name: (one, lambda _: wait(on)) for name, one in steps.items()}


def _torch_adam(inputs: Arrays, on: str) -> dict[str, Peer]:
    torch = peers.load("torch")
    from l2ae_bench.cuda.torch_calls import captured, wait

    def adam() -> tuple[Any, Call]:
        p = torch.nn.Parameter(torch.from_numpy(inputs["p"].copy()).to(on))
        p.grad = torch.from_numpy(inputs["g"]).to(on)
        chosen = torch.optim.Adam([p], lr=1e-3, eps=1e-8, fused=True, capturable=on == "cuda")

        def step() -> Results:
            chosen.step()
            state = chosen.state[p]
            return Results(p=p, m=state["exp_avg"], v=state["exp_avg_sq"])

        return (p, chosen), step

    steps = {"torch": adam()[1]}
    if on == "cuda":
        (p, chosen), step = adam()
        replay = captured(step)  # which made some steps
        with torch.no_grad():
            p.copy_(torch.from_numpy(inputs["p"]))
            for value in chosen.state[p].values():
                value.zero_()
        steps["torch-graph"] = replay
    return {name: (one, lambda _: wait(on)) for name, one in steps.items()}


def _dense(x: Any, W: Any, b: Any) -> Any:
    return x @ W + b


def _bottleneck(x: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    z = x @ W1 + b1
    u = z / ((z * z).sum(1, keepdims=True) + EPS**2) ** 0.5
    return (u @ W2 + b2).clip(min=0)


FORWARD: dict[str, Callable[..., Any]] = {"dense": _dense, "bottleneck": _bottleneck}


def _jax(kind: str, inputs: Arrays, precision: Precision) -> Peer:
    jax = peers.load("jax")
    forward = FORWARD[kind]
    names = GRADIENTS[kind]
    a = {name: jax.device_put(x) for name, x in inputs.items()}

    def both(dy: Any, *arguments: Any) -> Any:
        y, pull = jax.vjp(forward, *arguments)
        return y, pull(dy)

    with jax.default_matmul_precision(JAX[precision]):
        step = jax.jit(both).lower(a["dy"], *(a[n] for n in names)).compile()

    def call() -> Results:
        y, grads = step(a["dy"], *(a[n] for n in names))
        return Results({"y": y, **{f"d{n}": g for n, g in zip(names, grads, strict=True)}})

    return call, lambda results: jax.block_until_ready(list(results.values()))
