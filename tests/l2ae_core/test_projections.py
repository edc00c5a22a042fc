"""Maps of codes into the plane, of codes that hardly differ too."""

from pathlib import Path

import numpy as np
import pytest

from l2ae_core import figures
from l2ae_kernels.arrays import Array

from .made_up_figures import CLASSES, N, clusters, codes

CLOSE: dict[str, Array] = {
    "one row apart": np.where(np.arange(40)[:, None] == 7, np.nextafter(1, 2), 1) * np.ones(10),
    "one feature apart": np.ones((120, 10)) + 4e-16 * np.eye(120, 10, -3),
    "float32, last place": np.float32([1, 1 + 1.2e-7])[np.arange(600).reshape(60, 10) % 7 // 6],
    "tiny": np.float32(1e-30) * np.random.default_rng(0).normal(size=(60, 10)).astype("f4"),
    "tiny in float64": 1e-200 * np.random.default_rng(0).normal(size=(60, 10)),
    "huge": np.float32(1e30) * np.random.default_rng(0).normal(size=(60, 10)).astype("f4"),
    "near the end of float64": 1e308 * np.random.default_rng(0).uniform(-1, 1, size=(60, 10)),
    "two points": np.repeat([[0.0, 0.0], [1e-17, 0.0]], 30, axis=0),
}  # fmt: skip


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("name", CLOSE)
def test_codes_that_nearly_fell_together_have_a_map(name: str, method: str) -> None:
    points = figures.project(CLOSE[name], method)
    assert points.shape == (len(CLOSE[name]), 2)
    assert np.isfinite(points).all()
    assert np.ptp(points) > 0


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_equal_codes_lie_at_one_point(value: float, method: str, tmp_path: Path) -> None:
    equal = np.full((N, 10), value, np.float32)
    np.testing.assert_array_equal(figures.project(equal, method), np.zeros((N, 2)))
    figure = figures.embedding_scatter({"u": equal}, CLASSES, {"u": clusters()}, method=method)
    figures.save(figure, tmp_path / "a.png", dpi=30)
    figures.save(figures.class_maps({"u": np.zeros((N, 2))}, CLASSES), tmp_path / "b.png", dpi=30)


def test_projections_are_reproducible() -> None:
    for method in ("pca", "tsne"):
        first, second = (figures.project(codes(), method, seed=3) for _ in range(2))
        assert first.shape == (N, 2)
        np.testing.assert_array_equal(first, second)


def test_pca_keeps_the_largest_spread_first() -> None:
    points = np.diag([1.0, 5.0, 3.0])[np.repeat([0, 1, 2], 4)] * np.tile([1, -1], 6)[:, None]
    spread = figures.project(points, "pca").std(axis=0)
    np.testing.assert_allclose(spread, [5 / np.sqrt(3), 3 / np.sqrt(3)])
