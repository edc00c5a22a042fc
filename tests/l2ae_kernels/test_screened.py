"""Short samples by products: every label is that of differences, whatever the samples."""

import numpy as np
import pytest

from l2ae_kernels.cpu.codegen import cache
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import SETS, best, vectors
from l2ae_kernels.cpu.kmeans import library, part, restarts, screened_times
from l2ae_kernels.cpu.kmeans.screened import lift
from l2ae_kernels.cpu.threads import MOST, threads
from l2ae_kernels.samples import BLOCK

pytestmark = pytest.mark.skipif(best() == "none", reason="no kernels are emitted for this machine")
LANES = pytest.mark.parametrize("lanes", SETS)
FAR = np.float32(3e4)  # from the origin: products of such numbers tell no distance of 1


def library_of(lanes):
    return Library.of(library.build, SETS[lanes])


def by_both(lanes, x, centers, before):
    """Labels and bits by `short` and by `screened`, and how many panels the second left."""
    (n, d), k = x.shape, len(centers)
    panels = np.ascontiguousarray(x.reshape(n // 16, 16, d).transpose(0, 2, 1))
    lifted, guard = np.empty((d + 1, k), np.float32), np.empty(1, np.float32)
    guard[0] = lift(centers, float(np.abs(x).max()), lifted)
    left, found = np.zeros(1, np.int64), []
    for name, more in (("short", ()), ("screened", (lifted, guard))):
        labels, bits = np.full(n, -7, np.int32), np.full(n // 16, -7, np.int32)
        arrays = [a.ctypes.data for a in (*more, before, labels, bits)]
        arguments = [panels.ctypes.data, n // 16, d, centers.ctypes.data, k, *arrays]
        last = 0 if name == "short" else left.ctypes.data
        library_of(lanes).function(name, len(arguments) + 1)(*arguments, last)
        found.append((labels, bits))
    return *found, int(left[0])


def drawn(rng, n, d, k, spread=0.3):
    centers = rng.standard_normal((k, d), dtype=np.float32)
    x = centers[rng.integers(k, size=n)] + np.float32(spread) * rng.standard_normal(
        (n, d), dtype=np.float32
    )
    return x, centers, rng.integers(-1, k, size=n).astype(np.int32)


def assert_equal(by_short, by_screened):
    for a, b in zip(by_short, by_screened, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("panels", "d", "k"),
    [(1, 1, 1), (2, 10, 10), (3, 16, 2), (5, 3, 13), (4, 7, 25), (9, 2, 40), (7, 64, 6)],
)
@LANES
def test_labels_are_those_of_differences(lanes, panels, d, k):
    rng = np.random.default_rng(d + k)
    for spread in (0.01, 0.3, 3.0):
        by_short, by_screened, _ = by_both(lanes, *drawn(rng, 16 * panels, d, k, spread))
        assert_equal(by_short, by_screened)


@LANES
def test_clear_samples_need_no_second_look_and_others_do(lanes):
    x, centers, before = drawn(np.random.default_rng(0), 160, 10, 10, spread=0.01)
    *both, left = by_both(lanes, x, centers, before)
    assert_equal(*both)
    assert left == 0
    centers[7] = centers[2]  # of equals the first
    *both, left = by_both(lanes, x, centers, before)
    assert_equal(*both)
    assert left > 0
    assert 7 not in both[1][0]


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1.0, 1e12, 1e17, 1e18])
@pytest.mark.parametrize("offset", [0.0, 1.0, 300.0, 3e4, 3e6])
@pytest.mark.parametrize("moved", ["both", "samples", "centers"])
def test_any_size_and_place(moved, scale, offset):
    rng = np.random.default_rng(0)
    x, centers, before = drawn(rng, 480, 6, 9, spread=1.0)
    x += np.float32(offset) * (moved != "centers")
    centers += np.float32(offset) * (moved != "samples")
    x, centers = x * np.float32(scale), centers * np.float32(scale)
    assert_equal(*by_both("avx2", x, centers, before)[:2])


def test_samples_between_two_centers():
    """Halfway, and as few steps of a float32 off as there are."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((2, 8), dtype=np.float32)
    x = np.tile(centers.mean(0, dtype=np.float32), (320, 1))
    for i in range(320):
        x[i, i % 8] *= 1 + np.float32(2.0**-23) * (i // 8 - 20)
    before = np.zeros(320, np.int32)
    *both, left = by_both("avx2", x, centers, before)
    assert_equal(*both)
    assert left == 20
    assert 0 < both[1][0].sum() < 320


@pytest.mark.parametrize("offset", [np.float32(0), FAR], ids=["near", "far"])
@pytest.mark.parametrize("count", [1, 2])
def test_runs_are_equal_bit_for_bit(offset, count, monkeypatch):
    if count > MOST:
        pytest.skip("one core")
    rng = np.random.default_rng(0)
    x, centers, _ = drawn(rng, 20_003, 7, 11, spread=0.8)
    x, centers = x + offset, centers + offset
    ends = []
    for screens in (0, 1):
        with vectors("avx2"), threads(count):
            emitted = library.kernels()._replace(screens=screens)
            monkeypatch.setattr(restarts, "kernels", lambda emitted=emitted: emitted)
            runs = restarts.Restarts(x, 11, 2)
        with threads(count):
            runs.centers[:] = centers, x[:11]
            runs.assign([0, 1])
            for _ in range(3):
                runs.iterate([0, 1], [5, 5], 0.0, False)
        ends.append([a.copy() for a in (runs.labels, runs.sums, runs.counts, runs.inertia)])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("screens", [0, 1])
def test_a_part_is_assigned_alike(screens, monkeypatch):
    x, centers, before = drawn(np.random.default_rng(0), 3 * BLOCK + 7, 5, 6, spread=2.0)
    with vectors("avx2"):
        emitted = library.kernels()._replace(screens=screens)
        monkeypatch.setattr(part, "kernels", lambda: emitted)
        found = part.assign_part(x, centers[None], np.zeros(1), before[None] % 6)
    distances = ((x[:, None].astype("f8") - centers) ** 2).sum(-1)
    own = np.take_along_axis(distances, found.labels[0, :, None], 1)[:, 0]
    assert (own <= distances.min(1) * (1 + 1e-5)).all()


@pytest.fixture
def timed(tmp_path, monkeypatch):
    """Products in a folder of their own, in half the time; return the libraries that were timed."""
    seen = []

    def times(of):
        seen.append(of)
        return np.array([[2.0, 2.0], [1.0, 1.0]])

    monkeypatch.setenv("L2AE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(screened_times, "times", times)
    return seen


def test_the_faster_way_is_found_once_for_a_processor(timed, tmp_path, monkeypatch):
    assert screened_times.screening_is_faster(SETS["avx2"], "avx2")
    assert screened_times.screening_is_faster(SETS["avx2"], "again")
    assert timed == ["avx2"]
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])  # damaged
    assert screened_times.screening_is_faster(SETS["avx2"], "anew")
    monkeypatch.setattr(cache, "processor", lambda: "another")
    monkeypatch.setattr(screened_times, "times", lambda _: np.array([[1.0, 1.0], [2.0, 2.0]]))
    assert not screened_times.screening_is_faster(SETS["avx2"], "another")
    assert timed == ["avx2", "anew"]


def test_both_ways_are_timed():
    seconds = screened_times.times(library_of(best()))
    assert seconds.shape == (2, screened_times.REPEATS)
    assert (seconds > 0).all()
