"""Augmentation: what is drawn, what a seed fixes, and that a training is resumed with its bits."""

from typing import Any

import numpy as np
import pytest

from l2ae_core.baselines.vae import VAEArchitecture, VAEStep, build_vae
from l2ae_core.method import train
from l2ae_core.networks import Architecture
from l2ae_core.training.augment import Augmentation, Warp
from l2ae_core.training.loop import fit
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array

WIDE = Warp(rotation=30.0, shift=0.2, scale=0.25)
H, W = 9, 14


def taken_apart(maps: Array) -> tuple[Array, Array, Array]:
    """Angle in degrees, factor, and shift as a share of the sides, of maps of images H × W."""
    A, offset = maps[:, :, :2], maps[:, :, 2]
    factor = 1 / np.sqrt(np.linalg.det(A))
    angle = np.degrees(np.arctan2(A[:, 0, 1], A[:, 0, 0]))
    center = np.array([(H - 1) / 2, (W - 1) / 2])
    # the image's center goes to center + t: the place q with A q + offset = center
    shift = np.linalg.solve(A, (center - offset)[:, :, None])[:, :, 0] - center
    return angle, factor, shift / (H, W)


@pytest.mark.parametrize("warp", [WIDE, Warp(), Warp(0, 0, 0), Warp(180, 1, 0.9)], ids=repr)
def test_draws_fill_their_ranges_and_are_rotations_about_the_center(warp: Warp) -> None:
    count = 2000
    maps = warp.draw(np.random.default_rng(0), count, H, W)
    assert maps.shape == (count, 2, 3)
    assert maps.dtype == np.float64
    A = maps[:, :, :2]
    np.testing.assert_allclose(A[:, 0, 0], A[:, 1, 1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(A[:, 0, 1], -A[:, 1, 0], rtol=0, atol=1e-12)
    angle, factor, shift = taken_apart(maps)
    found = {"rotation": angle, "scale": factor - 1, "rows": shift[:, 0], "columns": shift[:, 1]}
    limits = {"rotation": warp.rotation, "scale": warp.scale} | dict.fromkeys(
        ("rows", "columns"), warp.shift
    )
    for name, values in found.items():
        limit, slack = limits[name], 1e-9
        assert np.abs(values).max() <= limit + slack, name
        for tail in (values > 0.9 * limit - slack, values < -0.9 * limit + slack):
            assert tail.mean() > 0.02, name  # 5 % of uniform numbers
    if warp == WIDE:
        together = np.corrcoef(list(found.values()))
        assert np.abs(together - np.eye(4)).max() < 0.1  # 0.022 is one standard deviation


def test_a_quarter_turn_is_that_of_numpy() -> None:
    """The sign of an angle, and the center of a square with an even and an odd side."""
    for size in (6, 7):
        x = np.random.default_rng(0).random((3, size, size, 2))
        maps = _only(angle=90.0).draw(np.random.default_rng(0), 3, size, size)
        np.testing.assert_allclose(ops.warp(x, maps), np.rot90(x, axes=(1, 2)), atol=1e-12)


def test_shifts_and_scales_go_in_the_direction_of_their_sign() -> None:
    x = np.zeros((1, 9, 9, 1))
    x[0, 4, 4] = 1
    down = ops.warp(x, _only(shift=1 / 9).draw(np.random.default_rng(0), 1, 9, 9))
    np.testing.assert_allclose(down[0, 5, 5, 0], 1, atol=1e-12)
    x = np.zeros((1, 9, 9, 1))
    x[0, 2:7, 2:7] = 1
    larger = ops.warp(x, _only(scale=0.5).draw(np.random.default_rng(0), 1, 9, 9))
    assert larger.sum() == pytest.approx(1.5**2 * x.sum(), rel=0.1)


def _only(angle: float = 0.0, shift: float = 0.0, scale: float = 0.0) -> Warp:
    """A warp whose every draw is the upper end of its range."""

    class Upper(Warp):
        def draw(self, rng: Any, count: int, height: int, width: int) -> Array:
            class Ones:
                def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> Array:
                    return np.full(shape, high)

            return super().draw(Ones(), count, height, width)  # type: ignore[arg-type]

    return Upper(angle, shift, scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_images_of_any_size_and_channels(dtype: str) -> None:
    x = np.random.default_rng(0).random((5, H, W, 3)).astype(dtype)
    y = WIDE(x, np.random.default_rng(1))
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert not np.array_equal(x, y)
    np.testing.assert_array_equal(WIDE(x, np.random.default_rng(1)), y)
    assert not np.array_equal(WIDE(x, np.random.default_rng(2)), y)
    np.testing.assert_array_equal(Warp(0, 0, 0)(x, np.random.default_rng(1)), x)


def test_an_image_is_warped_alike_in_a_batch_of_any_size() -> None:
    x, rng = np.random.default_rng(0).random((7, H, W, 1)), np.random.default_rng(1)
    parts = [WIDE(x[:3], rng), WIDE(x[3:], rng)]
    np.testing.assert_array_equal(np.concatenate(parts), WIDE(x, np.random.default_rng(1)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rotation": 180.1}, "Warp: rotation is 180.1 but expected a number ≥ 0 and ≤ 180"),
        ({"rotation": -1}, "Warp: rotation is -1 but"),
        ({"rotation": "10"}, "Warp: rotation is '10' but"),
        ({"shift": 1.5}, "Warp: shift is 1.5 but .* ≤ 1"),
        ({"shift": float("nan")}, "Warp: shift is nan but"),
        ({"shift": True}, "Warp: shift is True but"),
        ({"scale": 1.0}, "Warp: scale is 1.0 but expected a number < 1"),
        ({"scale": float("inf")}, "Warp: scale is inf but"),
        ({"scale": None}, "Warp: scale is None but"),
    ],
)
def test_ranges_that_do_not_exist(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Warp(**fields)


def test_what_cannot_be_warped() -> None:
    rng = np.random.default_rng(0)
    for bad in (np.zeros((4, 4, 1)), [[1.0]], None):
        with pytest.raises(ValueError, match=r"Warp: images has shape .* \(B, H, W, C\)"):
            WIDE(bad, rng)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="warp: no implementation at all for dtype uint8"):
        WIDE(np.zeros((2, 4, 4, 1), "u1"), rng)
    with pytest.raises(ValueError, match="Augmentation: warp is 10 but expected a Warp"):
        Augmentation(10)  # type: ignore[arg-type]


DENSE = {"hidden": (8,)}
NETWORKS = {
    "cae": Architecture("cae", (8, 8, 1), 4, "l2", filters=(4, 6, 8)),
    "cae-batch": Architecture("cae", (8, 8, 1), 4, "batch", "batch", filters=(4, 6, 8)),
    "dense-none": Architecture("dense", (8, 8, 1), 4, "none", **DENSE),
    "dense-layer": Architecture("dense", (8, 8, 1), 4, "layer", "layer", **DENSE),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_takes_warped_images_and_a_resume_ends_with_the_same_bits(
    network: str, small: Any, bits: Any, tmp_path: Any, patch_step: Any, monkeypatch: Any
) -> None:
    def run(epochs: int, hooks: Any, run_dir: Any = None, resume: bool = False) -> Any:
        t = small.start(architecture=NETWORKS[network])
        t.history = fit(
            t.model, small.digits(), epochs=epochs, optimizer=t.optimizer, rng=t.rng, hooks=hooks,
            run_dir=run_dir, resume=resume, batch_size=32, progress=False,
        )  # fmt: skip
        return t

    whole = run(4, Augmentation(WIDE))
    assert bits(whole) == bits(run(4, Augmentation(WIDE)))
    assert bits(whole) != bits(run(4, None))
    run(2, Augmentation(WIDE), tmp_path)
    assert bits(run(4, Augmentation(WIDE), tmp_path, resume=True)) == bits(whole)
    seen: list[Array] = []
    patch_step(lambda step, x: seen.append(x) or step(x))
    run(1, Augmentation(WIDE))
    t = small.start()
    order = t.rng.permutation(150)[:32]
    np.testing.assert_array_equal(seen[0], WIDE(small.digits()[order], t.rng))


def test_a_step_that_draws_noise_too_is_resumed(small: Any, bits: Any, tmp_path: Any) -> None:
    def run(epochs: int, run_dir: Any = None, resume: bool = False) -> Any:
        t = small.start()
        t.model = build_vae(VAEArchitecture((8, 8, 1), 3, (7, 5)), np.random.default_rng(0))
        step = VAEStep(t.model, t.optimizer, t.rng)
        t.history = fit(
            t.model, small.digits(), epochs=epochs, optimizer=t.optimizer, rng=t.rng, step=step,
            hooks=Augmentation(WIDE), run_dir=run_dir, resume=resume, progress=False,
        )  # fmt: skip
        return t

    run(1, tmp_path)
    assert bits(run(3, tmp_path, resume=True)) == bits(run(3))


@pytest.mark.parametrize("other", [Augmentation(Warp(30.0, 0.2, 0.2)), None], ids=repr)
def test_other_ranges_are_refused_by_a_resume(small: Any, tmp_path: Any, other: Any) -> None:
    small.train(1, tmp_path, hooks=Augmentation(WIDE))
    before = (tmp_path / "checkpoint.npz").read_bytes()
    with pytest.raises(ValueError, match=r"warp is .* but .* was trained with .*'scale': 0.25"):
        small.train(2, tmp_path, hooks=other, resume=True)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    small.train(2, tmp_path, hooks=Augmentation(WIDE), resume=True)


def test_the_method_takes_a_warp(tmp_path: Any) -> None:
    images = np.random.default_rng(0).random((40, 4, 4, 1), np.float32)
    small = Architecture("dense", (4, 4, 1), latent_dim=3, hidden=(8,))
    _, plain = train(images, small, epochs=2)
    _, warped = train(images, small, epochs=2, warp=WIDE, run_dir=tmp_path)
    assert plain.losses != warped.losses
    _, longer = train(images, small, epochs=3, warp=WIDE, run_dir=tmp_path, resume=True)
    assert longer.losses[:2] == warped.losses
    with pytest.raises(ValueError, match="warp is None but"):
        train(images, small, epochs=4, run_dir=tmp_path, resume=True)
