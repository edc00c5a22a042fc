"""Several Lloyd runs over the same samples on a device: rungs 4 and 5 of k-means.

The interface is the reference's. What is large lives on the device: x, labels (R, n), and the sums
as whole numbers. What the host decides on lives on the host, and is small: centers, sums, counts,
inertia, changed. A pass copies the centers there and the rest back.

Sums do not depend on the order of blocks, so equal runs have equal bits; and float32 samples have
the sums of the CPU's top rung, bit for bit, when they have its labels.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array, device_name
from l2ae_kernels.cuda.device import device_of, to_device_of
from l2ae_kernels.cuda.kmeans import fixed_point, init, shapes
from l2ae_kernels.cuda.kmeans.assign import assign_best
from l2ae_kernels.cuda.kmeans.passes import (
    apply_assignment,
    max_abs,
    max_label,
    require_labels,
)
from l2ae_kernels.cuda.kmeans.tensor import decide, pays
from l2ae_kernels.reference import restarts as reference


class Restarts(reference.Restarts):
    """R runs over samples x (n, d) of a device with k centers each: rung 4, a launch a pass.

    Where products pay (`tensor.pays`), rung 7 finds the labels, the same, and another launch a run
    adds up what changed.
    """

    def __init__(self, x: Array, k: int, runs: int) -> None:
        n, d = x.shape
        self.x, self.device = x, device_of(x)
        self.centers = np.zeros((runs, k, d), x.dtype)
        self.sums = np.zeros((runs, k, d))
        self.counts = np.zeros((runs, k), np.int64)
        self.inertia = np.zeros(runs)
        self.changed = np.zeros(runs, np.int64)
        self.labels = self.device.full((runs, n), -1, np.int32)
        self.device_runs = DeviceRuns(self, k)
        self._find_max_abs()
        self.scale = fixed_point.scale_of_sums(n, self.max_abs, x.dtype)

    def _find_max_abs(self) -> None:
        self.max_abs = max_abs(self.device, (part for _, part in self.parts()))

    def parts(self) -> Iterable[tuple[int, Array]]:
        """Yield x in parts that lie on the device, each with the number of its first sample."""
        yield 0, self.x

    @staticmethod
    def nearest_centers(x: Array, centers: Array) -> tuple[Array, Array]:
        """Return labels and squared distances, on the device; centers may be the host's."""
        return assign_best(x, to_device_of(x, centers))

    def assign(self, active: list[int]) -> None:
        """Assign every sample to its nearest center, in the active runs; ties take the first."""
        self._require_runs(active)
        there, x, k = self.device_runs, self.x, self.centers.shape[1]
        there.begin(active)
        for first, part in self.parts():
            if shapes.is_short(x) and there.runs_a_block(k):
                there.pass_short(part, first, active, k)
            elif pays(self.device, x, k):
                for r in active:
                    labels, nearest = there.scratch(len(part))
                    decide(self.device, part, there.centers[r], labels, nearest)
                    there.apply_assignment(part, first, r, labels, nearest)
            else:
                there.pass_tiled(part, first, active, k)
        there.read(active)

    def reset(self) -> None:
        """Let every run begin anew, from other centers."""
        self.labels[...] = -1
        self.device_runs.totals[...] = 0

    def apply_assignment(self, r: int, labels: Array, distances: Array) -> None:
        """Make labels (n,) and squared distances (n,) those of run r, as if it had found them."""
        self._require_assignment(r, labels, distances)
        changed = self.changed.copy()  # it counts the labels of an assignment
        self.device_runs.begin([r])
        for first, part in self.parts():
            of_part = slice(first, first + len(part))
            self.device_runs.apply_assignment(part, first, r, labels[of_part], distances[of_part])
        self.device_runs.read([r])
        self.changed[:] = changed

    def _require_labels(self, labels: Array, k: int) -> None:
        if device_name(labels) == "cuda":  # one read, where the reference has two
            require_labels("Restarts", labels, max_label(self.device, labels), k)
        else:
            super()._require_labels(labels, k)

    def init_centers(self, first: Array, draws: Array) -> Array:
        """See the reference; no distance returns to the host (init.py)."""
        centers, stuck = init.greedy_init(self.x, self.centers.shape[1], first, draws)
        self.centers[: len(first)] = centers
        return stuck

    def min_sq_distances(self, candidates: Array, nearest: Array, keep: bool) -> Array:
        """See the reference; nearest (R, n) and the potentials are the device's."""
        self._require_candidates(candidates, nearest)
        return init.min_sq_distances(self.x, to_device_of(self.x, candidates), nearest, keep)


class DeviceRuns:
    """What a set of runs keeps on the device, and the launches that change it."""

    def __init__(self, host: Restarts, k: int) -> None:
        device, runs, d = host.device, len(host.labels), host.x.shape[1]
        self.host = host
        self.centers = device.empty((runs, k, d), host.x.dtype)
        self.totals = device.zeros((runs, k * d + k + 2), np.int64)  # sums, counts, the two below
        self._active: tuple[list[int], Array] = [], device.zeros(0, np.int32)
        self._scratch: tuple[Array, Array] | None = None
        self.inertia_scale = 1.0

    def scratch(self, n: int) -> tuple[Array, Array]:
        """Return labels (n,) and distances (n,) to write to, of the first and largest part."""
        if self._scratch is None:
            device = self.host.device
            self._scratch = device.empty(n, np.int32), device.empty(n, self.host.x.dtype)
        labels, distances = self._scratch
        return labels[:n], distances[:n]

    def begin(self, active: list[int]) -> None:
        """Copy the centers to the device, and let changed and inertia count from zero."""
        self.write_centers(active)
        self.totals[:, -2:] = 0

    def write_centers(self, active: list[int], least: float = 0.0) -> None:
        """Copy the centers to the device, and choose the scale of the inertia.

        least: how large a number of a center may become that is not a mean of samples.
        """
        host, (n, d) = self.host, self.host.x.shape
        host.device.write(self.centers, host.centers)
        far = fixed_point.bound_of_nearest(host.centers[active])
        size = host.max_abs + max(host.max_abs, far, least)  # means are no larger than samples
        self.inertia_scale = fixed_point.scale_of_inertia(n, d, size, host.x.dtype)

    def read(self, active: list[int]) -> None:
        """Copy what the host decides on back: one copy, from the first active run to the last."""
        first = min(active)
        rows = self.host.device.to_host(self.totals[first : max(active) + 1])
        self.take(active, rows[[r - first for r in active]])

    def take(self, active: list[int], rows: Array) -> None:
        """Write rows of totals to the arrays of the host."""
        host, (_, k, d) = self.host, self.host.centers.shape
        host.sums[active] = rows[:, : k * d].reshape(-1, k, d) * host.scale
        host.counts[active] = rows[:, k * d : -2]
        host.changed[active] = rows[:, -2]
        host.inertia[active] = self.inertias(rows[:, -1])

    def active(self, active: list[int]) -> Array:
        """Return the active runs, int32, on the device: they are copied when they change."""
        if active != self._active[0]:
            numbers = np.array(active, np.int32)
            self._active = list(active), self.host.device.to_device(numbers)
        return self._active[1]

    def runs_a_block(self, k: int) -> int:
        """Return how many runs share a block of lloyd_short: as many as leave room for another."""
        x = self.host.x
        available = self.host.device.properties.shared_per_block // 2 - shapes.rows_bytes(x)
        return max(0, available) // shapes.run_bytes(x, k)

    def labels_from(self, first: int) -> tuple[Array, Any]:
        """Return the labels of all runs from sample `first` on, and from one run to the next."""
        return self.host.labels.reshape(-1)[first:], np.int64(self.host.labels.shape[1])

    def pass_short(self, x: Array, first: int, active: list[int], k: int) -> None:
        """Queue rung 4 for short samples x, the first of which is number `first` of all."""
        device, share = self.host.device, min(self.runs_a_block(k), len(active))
        defines = shapes.defines(x, k)
        if len(active) == 1:
            defines["ONE_RUN"] = 1
        kernel = device.kernel("lloyd_short.cu", "lloyd_short", defines)
        pieces, groups = -(-len(x) // shapes.BLOCK), -(-len(active) // share)
        grid = shapes.grid_of(device, pieces, groups)
        runs = self.active(active), np.int32(len(active)), np.int32(share)
        sizes = np.int64(len(x)), np.int32(k), *runs
        arguments = x, *sizes, self.centers, *self.labels_from(first), self.totals
        shared = shapes.rows_bytes(x) + share * shapes.run_bytes(x, k)
        device.launch(kernel, grid, (shapes.BLOCK,), (*arguments, *self.scales()), shared)

    def pass_tiled(self, x: Array, first: int, active: list[int], k: int) -> None:
        """Queue rung 4 for any samples x, the first of which is number `first` of all."""
        device = self.host.device
        n, d = x.shape
        shared, kept = shapes.private_bytes(device, x, k)
        kernel = shapes.kernel_for(device, "lloyd.cu", "lloyd_tiled", x)
        grid = shapes.grid_of(device, -(-n // shapes.TILE), len(active))
        sizes = np.int64(n), np.int32(d), np.int32(k), self.active(active)
        arguments = x, *sizes, self.centers, *self.labels_from(first), self.totals
        scales = *self.scales(), kept
        device.launch(kernel, grid, (shapes.TILE_THREADS,), (*arguments, *scales), shared)

    def apply_assignment(
        self, x: Array, first: int, r: int, labels: Array, distances: Array
    ) -> None:
        """Queue labels and distances of samples x in run r that were found elsewhere."""
        found = to_device_of(x, labels.astype(np.int32, copy=False))
        near = to_device_of(x, distances.astype(x.dtype, copy=False))
        before, pitch = self.labels_from(first)
        k, scales = self.centers.shape[1], (self.host.scale, self.inertia_scale)
        apply_assignment(
            self.host.device, x, k, r, found, near, before, int(pitch), self.totals, *scales
        )

    def scales(self) -> tuple[Any, Any]:
        """Return what numbers are multiplied by to become whole: of the sums, of the inertia."""
        return np.float64(1 / self.host.scale), np.float64(1 / self.inertia_scale)

    def inertias(self, whole: Array) -> Array:
        """Return sums of squared distances as numbers; infinite where one may have overflowed."""
        return np.where(math.isinf(self.inertia_scale), np.inf, whole * self.inertia_scale)
