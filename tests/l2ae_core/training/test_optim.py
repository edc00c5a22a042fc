from math import sqrt

import numpy as np
import pytest

from l2ae_core.training.optim import SGD, Adam, make_optimizer
from l2ae_kernels import ops
from l2ae_kernels.operations import IMPLEMENTATIONS
from l2ae_kernels.stages import AdamSettings

FLOAT64 = 1e-14  # a few roundings of a few operations

CPU_RUNGS = [
    (name, dtype)
    for name, rung in IMPLEMENTATIONS["adam_step"].items()
    for dtype in (np.float32, np.float64)
    if rung.on != "cuda" and rung.takes(np.empty(0, dtype))
]


def test_adam_two_steps_by_hand():
    """β₁ = .5, β₂ = .75, ε = 1, η = 1 on g = 4, then g = 2: every number fits on paper."""
    # t = 1: m = 2, v = 4, √v = 2, 1 − β₁ = 1/2, √(1 − β₂) = 1/2
    # t = 2: m = 2, v = 4, 1 − β₁² = 3/4, √(1 − β₂²) = √7/4
    after = {
        "keras": [-(1 / 2) / (1 / 2) * 2 / (2 + 1), -(sqrt(7) / 4) / (3 / 4) * 2 / (2 + 1)],
        "torch": [-2 / (1 / 2) / (2 / (1 / 2) + 1), -2 / (3 / 4) / (2 / (sqrt(7) / 4) + 1)],
    }
    assert after["keras"][0] == pytest.approx(-2 / 3)
    assert after["torch"][0] == pytest.approx(-4 / 5)
    for variant, (first, second) in after.items():
        p = {"a": np.array([0.0])}
        adam = Adam(1.0, 0.5, 0.75, 1.0, variant)
        adam.step(p, {"a": np.array([4.0])})
        assert p["a"][0] == pytest.approx(first, rel=FLOAT64)
        adam.step(p, {"a": np.array([2.0])})
        assert p["a"][0] == pytest.approx(first + second, rel=FLOAT64)


@pytest.mark.parametrize("variant", ["keras", "torch"])
@pytest.mark.parametrize(("rung", "dtype"), CPU_RUNGS)
def test_adam_step_against_the_formula(variant, rung, dtype):
    """ε = 0.1 makes the place of ε visible; 20,001 values are more than one block."""
    rng = np.random.default_rng(1)
    p, m, v = rng.normal(size=20_001), np.zeros(20_001), np.zeros(20_001)
    got = [a.astype(dtype) for a in (p, m, v)]
    for t in range(1, 6):
        g = rng.normal(size=20_001)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        eps = 0.1 if variant == "torch" else 0.1 / sqrt(1 - 0.999**t)
        p = p - 0.01 * m_hat / (np.sqrt(v_hat) + eps)
        ops.adam_step(
            *got, g.astype(dtype), AdamSettings(0.01, eps=0.1, variant=variant), step=t, impl=rung
        )
    for a, expected in zip(got, (p, m, v), strict=True):
        assert a.dtype == dtype
        tolerance = 1e-12 if dtype == np.float64 else 1e-5  # 1 − β₂ is rounded in float32
        np.testing.assert_allclose(a, expected, rtol=tolerance, atol=tolerance)


def test_sgd_by_hand():
    """μ = .5, η = .1 on g = 1, 1, 0: w = −.1, −.15, −.075."""
    p = {"a": np.array([1.0])}
    sgd = SGD(0.1, momentum=0.5)
    for g, expected in [(1.0, 0.9), (1.0, 0.75), (0.0, 0.675)]:
        sgd.step(p, {"a": np.array([g])})
        assert p["a"][0] == pytest.approx(expected, rel=FLOAT64)
    plain = {"a": np.array([1.0])}
    for _ in range(2):
        SGD(0.1).step(plain, {"a": np.array([1.0])})
    assert plain["a"][0] == pytest.approx(0.8, rel=FLOAT64)


OPTIMIZERS = [Adam(0.01), Adam(0.01, variant="torch"), SGD(0.01), SGD(0.01, 0.9)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_step_is_in_place_and_leaves_the_gradients(optimizer):
    optimizer.load_state_dict(type(optimizer)(0.01).state_dict())
    params = {"a.W": np.ones((3, 2), np.float32), "b": np.ones(4, np.float32)}
    grads = {name: np.full_like(p, 2) for name, p in params.items()}
    arrays = dict(params)
    optimizer.step(params, grads)
    for name, p in params.items():
        assert p is arrays[name]
        assert p.dtype == np.float32
        assert (p < 1).all()
        assert (grads[name] == 2).all()


@pytest.mark.parametrize("make", [Adam, SGD, lambda lr: SGD(lr, 0.9)])
def test_state_goes_on_with_the_same_bits(make):
    rng = np.random.default_rng(2)
    grads = [{"a": g} for g in rng.normal(size=(6, 5)).astype(np.float32)]
    whole, halves = {"a": np.ones(5, np.float32)}, {"a": np.ones(5, np.float32)}
    first, second, straight = make(0.1), make(0.1), make(0.1)
    for g in grads:
        straight.step(whole, g)
    for g in grads[:3]:
        first.step(halves, g)
    state = first.state_dict()
    first.step({"a": np.ones(5, np.float32)}, grads[0])  # must not reach into the copies
    second.load_state_dict(state)
    for a in state.values():
        a[...] = 0
    for g in grads[3:]:
        second.step(halves, g)
    assert whole["a"].tobytes() == halves["a"].tobytes()


@pytest.mark.parametrize("optimizer", [Adam(), SGD(0.1)], ids=repr)
def test_wrong_keys_and_shapes_are_named_and_change_nothing(optimizer):
    params = {"a": np.ones(3), "b": np.ones(2)}
    with pytest.raises(ValueError, match="grads has no entry 'b'"):
        optimizer.step(params, {"a": np.ones(3)})
    with pytest.raises(ValueError, match="grads has the unknown entry 'c'"):
        optimizer.step(params, {"a": np.ones(3), "b": np.ones(2), "c": np.ones(2)})
    with pytest.raises(ValueError, match=r"grads\['b'\] is \(1,\) float64 but the parameter is"):
        optimizer.step(params, {"a": np.ones(3), "b": np.ones(1)})
    optimizer.step({"a": np.ones(4)}, {"a": np.ones(4)})
    with pytest.raises(ValueError, match="'b'"):
        optimizer.step(params, {"a": np.ones(3), "b": np.ones(2)})
    assert all((p == 1).all() for p in params.values())


def test_foreign_state_is_refused():
    with pytest.raises(ValueError, match="not Adam's"):
        Adam().load_state_dict({"w.a": np.ones(1)})
    with pytest.raises(ValueError, match="not Adam's"):
        Adam().load_state_dict({"steps": np.array(1), "m.a": np.ones(1)})
    with pytest.raises(ValueError, match="not SGD's"):
        SGD(0.1).load_state_dict(Adam().state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(0.0), "learning_rate is 0.0 but expected a number > 0"),
        (lambda: Adam(float("nan")), "learning_rate is nan"),
        (lambda: Adam(beta1=1.0), "beta1 is 1.0 but expected a number >= 0.0 and < 1.0"),
        (lambda: Adam(eps=0.0), "eps is 0.0"),
        (lambda: Adam(variant="tf"), "variant is 'tf' but expected one of"),
        (lambda: SGD(0.1, momentum=-0.1), "momentum is -0.1"),
        (lambda: make_optimizer("lion", 0.1), "name is 'lion' but expected one of"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_make_optimizer():
    assert repr(make_optimizer("adam", 0.5)) == repr(Adam(0.5))
    assert repr(make_optimizer("sgd", 0.5)) == repr(SGD(0.5))
    assert repr(make_optimizer("momentum", 0.5)) == repr(SGD(0.5, momentum=0.9))
