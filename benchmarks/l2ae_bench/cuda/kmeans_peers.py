"""Lloyd's iteration as the users of PyTorch, JAX, flash-kmeans and flashlib have it.

A peer is a call that makes a number of updates from given centers and returns the centers, of the
host. Ours ends on an assignment to them, which most peers leave out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from l2ae_bench import peers
from l2ae_bench.kmeans import sklearn_kmeans
from l2ae_kernels.arrays import Array

Run = Callable[[int], Array]  # iterations → centers (k, d)
MOST_ON_CPU = 1 << 27  # n·k·d: above, scikit-learn would take most of the time
PACKAGES = {"torch": "torch", "jax": "jax", "flash-kmeans": "flash_kmeans", "flashlib": "flashlib"}


def runs(x: Array, centers: Array, on: str, resident: bool) -> dict[str, Run]:
    """Return the peers that are installed and that can take x (n, d) float32 of the host.

    on: "cuda", or "cpu" for tests; flash-kmeans and flashlib are for GPUs alone. Peers that want x
    on the device are left out where it is not resident.
    """
    found: dict[str, Run] = {}
    if x.size * len(centers) <= MOST_ON_CPU:
        found["sklearn-lloyd"] = partial(_scikit_learn, x, centers)
    if not resident:
        return found
    if peers.installed("torch"):
        found |= _torch(x, centers, on)
    if peers.installed("jax"):
        found["jax"] = _jax(x, centers)
    if on == "cuda" and peers.installed("torch"):
        for name in ("flash-kmeans", "flashlib"):
            if peers.installed(PACKAGES[name]):
                found[name] = _flash(name, x, centers)
    return found


def _scikit_learn(x: Array, centers: Array, iterations: int) -> Array:
    found: Array = sklearn_kmeans(x, centers, iterations, "lloyd").cluster_centers_
    return found


def _torch(x: Array, centers: Array, on: str) -> dict[str, Run]:
    torch = peers.load("torch")
    from l2ae_bench.cuda.torch_calls import variants, wait

    samples = torch.from_numpy(x).to(on)
    start = torch.from_numpy(centers).to(on)
    moving = start.clone()
    ones = torch.ones(len(samples), device=on)

    def update(c: Any) -> Any:
        distances = (c * c).sum(1) - 2 * samples @ c.T
        labels = distances.argmin(1)
        sums = torch.zeros_like(c).index_add_(0, labels, samples)
        counts = torch.zeros(len(c), device=on).index_add_(0, labels, ones)
        return torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), c)

    def step(function: Callable[[Any], Any]) -> Any:
        return moving.copy_(function(moving))

    def run(one: Callable[[], Any], iterations: int) -> Array:
        moving.copy_(start)
        for _ in range(iterations):
            one()
        wait(on)
        found: Array = moving.cpu().numpy().copy()
        return found

    steps = variants(partial(step, update), lambda: partial(step, torch.compile(update)), on)
    return {name: partial(run, one) for name, one in steps.items()}


def _jax(x: Array, centers: Array) -> Run:
    jax = peers.load("jax")
    jnp = jax.numpy
    samples, start = jax.device_put(x), jax.device_put(centers)

    def update(_: int, c: Any) -> Any:
        labels = ((c * c).sum(1) - 2 * jnp.matmul(samples, c.T, precision="highest")).argmin(1)
        sums = jax.ops.segment_sum(samples, labels, len(c))
        counts = jax.ops.segment_sum(jnp.ones(len(samples)), labels, len(c))
        return jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1)[:, None], c)

    loop = jax.jit(lambda c, iterations: jax.lax.fori_loop(0, iterations, update, c))
    return lambda iterations: np.asarray(loop(start, iterations))


def _flash(name: str, x: Array, centers: Array) -> Run:
    torch = peers.load("torch")
    module = peers.load({"flash-kmeans": "flash_kmeans", "flashlib": "flashlib.primitives.kmeans"}[
        name
    ])  # fmt: skip
    samples, start = (torch.from_numpy(a[None]).to("cuda") for a in (x, centers))

    def run(iterations: int) -> Array:
        found = module.batch_kmeans_Euclid(
            samples, len(centers), max_iters=iterations, tol=0.0, init_centroids=start.clone()
        )
        torch.cuda.synchronize()
        moved: Array = found[1][0].cpu().numpy()
        return moved

    return run
