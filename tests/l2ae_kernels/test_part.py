"""Parts of the samples give, put together, the bits of all samples at once."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import SETS, get_vectors, vectors
from l2ae_kernels.cpu.kmeans import part
from l2ae_kernels.cpu.kmeans.sums import inertia_around, rounding_constant
from l2ae_kernels.cpu.threads import MOST, threads

from .cuda.samples import blobs, move_to_means, starts

pytestmark = pytest.mark.skipif(get_vectors() is None, reason="no emitted kernels here")
SHAPES = [(1, 1, 1), (5000, 3, 5), (7001, 10, 10), (5123, 130, 9), (4097, 90, 45)]
CUTS = [[], [1024], [2048, 3072]]
R = 2


def cut(x: Array, cuts: list[int]) -> list[Array]:
    """x (n, d) in parts that begin at `cuts`."""
    return np.split(x, [c for c in cuts if c < len(x)])


@pytest.mark.parametrize("count", [1, min(2, MOST)])
@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("name", SETS)
def test_parts_give_the_bits_of_all(
    name: str, n: int, d: int, k: int, cuts: list[int], count: int
) -> None:
    x = blobs(n, d, k, spread=1.5)
    with vectors(name), threads(count):
        whole = ops.restarts(x, k, R, impl="register")
        whole.centers[:] = starts(x, k, R)
        parts = cut(x, cuts)
        middle = part.middle_of(parts[0])
        largest, scatters = zip(*(part.max_abs_and_scatter(p, middle) for p in parts), strict=True)
        constant = rounding_constant(n, max(largest))
        before = None
        for _ in range(3):
            whole.assign([0, 1])
            fresh = [part.assign_part(p, whole.centers, constant) for p in parts]
            labels = np.concatenate([p.labels for p in fresh], axis=1)
            assert labels.tobytes() == np.ascontiguousarray(whole.labels).tobytes()
            sums, counts = (sum(getattr(p, name) for p in fresh) for name in ("sums", "counts"))
            assert sums.tobytes() == whole.sums.tobytes()
            assert counts.tobytes() == whole.counts.tobytes()
            around = inertia_around(middle, whole.centers[0], sums[0], counts[0])
            assert float(np.concatenate(scatters).sum()) + around == whole.inertia[0]
            if before is not None:  # the same, as a difference
                pairs = zip(parts, np.split(before[0], cuts[: len(parts) - 1], axis=1), strict=True)
                moved = [part.assign_part(p, whole.centers, constant, b) for p, b in pairs]
                assert (before[1] + sum(p.sums for p in moved)).tobytes() == sums.tobytes()
                assert (before[2] + sum(p.counts for p in moved)).tobytes() == counts.tobytes()
                assert (sum(p.changed for p in moved) == whole.changed).all()
            before = labels, sums, counts
            move_to_means(whole, [0, 1])


@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_potentials_of_parts(n: int, d: int, k: int, cuts: list[int]) -> None:
    x = blobs(n, d, k)
    whole = ops.restarts(x, k, R, impl="register")
    candidates = x[np.arange(R * 3).reshape(R, 3) % n]
    nearest = np.full((R, n), np.inf, np.float32)
    near = [a.copy() for a in np.split(nearest, [c for c in cuts if c < n], axis=1)]
    for keep in (True, False, True):
        expected = whole.min_sq_distances(candidates, nearest, keep)
        pairs = zip(cut(x, cuts), near, strict=True)
        found = [part.min_sq_distances(p, k, candidates, near, keep) for p, near in pairs]
        assert np.concatenate(found, axis=2).tobytes() == expected.tobytes()
        assert np.concatenate(near, axis=1).tobytes() == nearest.tobytes()
        candidates = candidates[:, ::-1].copy()


def test_a_part_names_numbers_that_are_none() -> None:
    x = np.ones((3000, 5), np.float32)
    middle = part.middle_of(x)
    x[2999, 4] = np.nan
    assert part.max_abs_and_scatter(x[:2048], middle)[0] == 1
    assert not np.isfinite(part.max_abs_and_scatter(x[2048:], middle)[0])
