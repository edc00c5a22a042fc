"""Whole trainings on a device: against the CPU's steps, replayed, resumed, beside other models."""

from itertools import pairwise

import numpy as np
import pytest

from l2ae_core.networks import Architecture, build
from l2ae_core.training.lower import lower
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import LayerwiseStep
from l2ae_kernels.cuda import training
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.training import DeviceTraining
from l2ae_kernels.stages import AdamSettings

from .networks import grey_images, model, network, statistics

IMAGES = grey_images(11)
GREY = IMAGES / np.float32(255)  # as the data sets of the CPU have them
# ε as large as most √v: a gradient that rounding alone makes is not scaled up to a whole step
SETTINGS = AdamSettings(learning_rate=1e-2, eps=1e-3)
SIZES = (4, 4, 4, 3, 4, 3, 3)  # of batches: both are launched, captured and replayed


def draw(sizes=SIZES, models=1, seed=0):
    """Batches of indices (n,), or (models, n)."""
    rng = np.random.default_rng(seed)
    shape = (models,) if models > 1 else ()
    return [rng.integers(0, len(IMAGES), (*shape, n)) for n in sizes]


def start(device, name="dense", dtype="float64", seeds=(0,), images=IMAGES, **more):
    """A training of one model a seed."""
    networks = [network(name, dtype, seed) for seed in seeds]
    more = {"batch_size": 4, "settings": SETTINGS} | more
    stages = networks[0][0]
    more = {"state": [statistics(stages, dtype) for _ in seeds]} | more
    return DeviceTraining(device, stages, [p for _, p in networks], images, **more)


def bits(training):
    """Parameters, moments and running statistics of each model, as bytes."""
    m, v = training.moments
    return [
        [(name, a[name].tobytes()) for a in arrays for name in a]
        for arrays in zip(training.params, m, v, training.state, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "reduction"),
    [("convolutional", "mean"), ("dense", "sum"), ("layer norms", "mean"), ("batch norms", "mean")],
)
def test_a_training_is_that_of_the_cpu(name, reduction, device):
    """Layer by layer, float64: every loss, parameter, moment and running statistic.

    The last batches are ragged. The moments of a bias before batch norm are rounding alone, so that
    an array has a thousandth of the largest entry of all as its scale at least.
    """
    cpu = model(name, 0, "float64")
    optimizer = Adam(SETTINGS.learning_rate, eps=SETTINGS.eps)
    step, batches = LayerwiseStep(cpu, optimizer, reduction), draw()
    expected = [step(GREY[batch].astype(np.float64)) for batch in batches]
    found = start(device, name, reduction=reduction)
    losses = found.run(batches)
    assert losses.shape == (len(batches), 1)
    np.testing.assert_allclose(losses[:, 0], expected, rtol=1e-12)
    (params,), ((m,), (v,)), (state,) = found.params, found.moments, found.state
    for arrays, wanted in (
        (params, cpu.params), (m, optimizer.m), (v, optimizer.v), (state, cpu.state)
    ):  # fmt: skip
        assert arrays.keys() == wanted.keys()
        largest = max((np.abs(a).max() for a in wanted.values()), default=0)
        for key, a in wanted.items():
            scale = max(np.abs(a).max(), 1e-3 * largest)
            np.testing.assert_allclose(arrays[key], a, rtol=0, atol=1e-12 * scale)
    assert found.steps == [len(batches)]


def test_float32_on_tensor_cores(device):
    """Losses of seven steps, against float64; they hardly depend on which side of a kink a unit is.

    A step changes a loss of about 0.3 by a few percent; rounding and gates by 1e-5 of that.
    """
    batches = draw()
    exact, found = start(device).run(batches), start(device, dtype="float32").run(batches)
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_a_graph_replays_the_launches(device, monkeypatch):
    """Bit by bit, in chunks of any length, and in a second training."""
    batches = draw()
    replayed = start(device, "convolutional", "float32", impl="naive")
    losses = replayed.run(batches)
    monkeypatch.setattr(training, "MOST_STEPS", 2)
    in_chunks = start(device, "convolutional", "float32", impl="naive")
    np.testing.assert_array_equal(in_chunks.run(batches), losses)
    monkeypatch.setattr(training._Replayed, "__call__", lambda self: self._launches())
    launched = start(device, "convolutional", "float32", impl="naive")
    np.testing.assert_array_equal(launched.run(batches), losses)
    assert bits(replayed) == bits(in_chunks) == bits(launched)


@pytest.mark.parametrize(
    ("name", "micro_batch"), [("convolutional", None), ("convolutional", 3), ("maps", None)]
)
def test_models_beside_others_have_the_bits_of_one_alone(name, micro_batch, device, other_order):
    """Three models with images of their own, against each alone, on another order of blocks."""
    seeds, batches = (3, 4, 5), draw((4, 4, 4, 2), models=3)
    more = {"dtype": "float32", "impl": "naive", "micro_batch": micro_batch}
    together = start(device, name, seeds=seeds, **more)
    losses = together.run(batches)
    for i, seed in enumerate(seeds):
        alone = start(other_order, name, seeds=(seed,), **more)
        np.testing.assert_array_equal(alone.run([b[i] for b in batches])[:, 0], losses[:, i])
        assert bits(alone) == [bits(together)[i]]


@pytest.mark.parametrize("name", ["dense", pytest.param("convolutional", marks=pytest.mark.slow)])
def test_the_rung_of_float32_beside_other_models(name, device):
    """Its products are cut into parts, and its code is one kernel."""
    batches = draw((4, 4), models=2)
    together = start(device, name, "float32", (3, 4))
    losses = together.run(batches)
    alone = start(device, name, "float32", (4,))
    np.testing.assert_array_equal(alone.run([b[1] for b in batches])[:, 0], losses[:, 1])
    assert bits(alone) == bits(together)[1:]


# Images of each of three models in the steps of two epochs; a model whose epoch is over pauses.
OF_MODELS = ((4, 4, 3), (4, 1, 4), (4, 2, 0), (0, 4, 0), (4, 4, 3), (1, 4, 4), (0, 0, 2))


def draw_ragged(seed=0):
    """Batches of OF_MODELS, each a list of indices (n,)."""
    rng = np.random.default_rng(seed)
    return [[rng.integers(0, len(IMAGES), n) for n in each] for each in OF_MODELS]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("dense", {}),
        ("gates", {"micro_batch": 3}),
        ("maps", {}),
        ("maps", {"dtype": "float32", "impl": "naive", "reduction": "sum"}),
        pytest.param("layer norms", {}, marks=pytest.mark.slow),
        pytest.param("convolutional", {"dtype": "float32"}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("from_host", [False, True])
def test_each_model_has_as_many_images_as_it_has(name, more, from_host, device, other_order):
    """Fewer than others, or none: bit by bit what it is alone, its pauses left out."""
    seeds, batches = (3, 4, 5), draw_ragged()

    def run(training, batches):
        if not from_host:
            return training.run(batches)
        grey = GREY.astype(training.dtype)
        each = [grey[b] if isinstance(b, np.ndarray) else [grey[a] for a in b] for b in batches]
        return training.run_images(each)

    together = start(device, name, seeds=seeds, **more)
    losses = run(together, batches)
    counts = np.array(OF_MODELS)
    np.testing.assert_array_equal(np.isnan(losses), counts == 0)
    np.testing.assert_array_equal(together.steps, (counts > 0).sum(axis=0))
    for i, seed in enumerate(seeds):
        alone = start(other_order, name, seeds=(seed,), **more)
        own = run(alone, [b[i] for b in batches if len(b[i])])
        np.testing.assert_array_equal(own[:, 0], losses[counts[:, i] > 0, i])
        assert bits(alone) == [bits(together)[i]]


def test_models_go_on_after_different_numbers_of_steps(device):
    """From the arrays of each, and its own count of steps: the bits of a training in one go."""
    batches, how = draw_ragged(), {"name": "maps", "seeds": (3, 4, 5)}
    whole, first = start(device, **how), start(device, **how)
    losses = whole.run(batches)
    first.run(batches[:4])
    assert len({*first.steps}) == 3
    stages, _ = network("maps", "float64")
    second = DeviceTraining(
        device, stages, first.params, IMAGES, batch_size=4, settings=SETTINGS, state=first.state
    )
    second.load(*first.moments, first.steps)
    np.testing.assert_array_equal(second.run(batches[4:]), losses[4:])
    assert bits(second) == bits(whole)


def test_micro_batches_have_the_gradient_of_the_batch(device):
    """4 = 3 + 1 images, 3 = 3: another order of the same sums."""
    batches = draw()
    whole, pieces = start(device, "gates"), start(device, "gates", micro_batch=3)
    np.testing.assert_allclose(pieces.run(batches), whole.run(batches), rtol=1e-13)
    for name, a in whole.params[0].items():
        np.testing.assert_allclose(pieces.params[0][name], a, rtol=0, atol=1e-13)


def test_a_batch_is_cut_where_its_arrays_leave_the_cache(device, monkeypatch):
    """By a rule of shapes: the bits are those of micro-batches that are named, alone and beside."""
    stages, _ = network("convolutional", "float32")
    numbers = sum(np.prod(s.output_shape) for s in stages) + 64
    monkeypatch.setattr(training, "CACHE", 3 * 4 * 2 * int(numbers))
    monkeypatch.setattr(training, "LEAST_PIECE", 1)
    batches, how = draw((4, 4, 4, 3), models=2), {"dtype": "float32", "impl": "naive"}
    cut = start(device, "convolutional", seeds=(3, 4), **how)
    losses = cut.run(batches)
    named = start(device, "convolutional", seeds=(3, 4), micro_batch=2, **how)
    alone = start(device, "convolutional", seeds=(4,), **how)
    np.testing.assert_array_equal(losses, named.run(batches))
    np.testing.assert_array_equal(alone.run([b[1] for b in batches])[:, 0], losses[:, 1])
    assert bits(alone) == bits(cut)[1:] == bits(named)[1:]


def test_the_images_of_a_piece():
    """The paper's network whole, larger images in equal pieces, batch norm never."""

    def pieces(architecture, *batches, dtype="float32"):
        stages = lower(build(architecture, np.random.default_rng(0), np.dtype("float32")))
        return [training.images_of_piece(stages, images, dtype) for images in batches]

    paper = Architecture("cae", (28, 28, 1))
    assert pieces(paper, 1, 256, 500, 1024) == [1, 256, 250, 256]
    assert pieces(paper, 256, dtype="float64") == [128]
    assert pieces(Architecture("cae", (128, 128, 3)), 256, 100) == [64, 50]
    assert pieces(Architecture("cae", (28, 28, 1), norm="batch"), 1024) == [1024]


def test_images_of_the_host_and_in_floats(device):
    """Bytes and floats by index, floats that the host gathered: equal bits."""
    batches, grey = draw((4, 4, 4, 3)), GREY.astype(np.float32)
    by_index = [start(device, dtype="float32", images=x, impl="naive") for x in (IMAGES, grey)]
    losses = [found.run(batches) for found in by_index]
    by_image = start(device, dtype="float32", impl="naive", micro_batch=4)
    losses.append(by_image.run_images([grey[batch] for batch in batches]))
    for (a, a_losses), (b, b_losses) in pairwise(zip((*by_index, by_image), losses, strict=True)):
        np.testing.assert_array_equal(a_losses, b_losses)
        assert bits(a) == bits(b)


@pytest.mark.everyday
def test_images_of_the_host_for_two_models_in_pieces(device):
    batches, grey = draw((4, 4, 4), models=2), GREY.astype(np.float64)
    by_index, by_image = (start(device, seeds=(0, 1), micro_batch=3) for _ in range(2))
    losses = by_index.run(batches)
    np.testing.assert_array_equal(by_image.run_images([grey[batch] for batch in batches]), losses)
    assert bits(by_index) == bits(by_image)


@pytest.mark.parametrize(
    ("name", "variant"), [("dense", "keras"), ("dense", "torch"), ("maps", "keras")]
)
def test_a_training_goes_on_where_it_was(name, variant, device):
    """From parameters, running statistics, moments and the number of steps: equal bits."""
    batches, settings = draw(), AdamSettings(1e-2, 0.9, 0.99, 1e-3, variant)
    whole = start(device, name, settings=settings)
    losses = whole.run(batches)
    first = start(device, name, settings=settings)
    first.run(batches[:3])
    stages, _ = network(name, "float64")
    second = DeviceTraining(
        device, stages, first.params, IMAGES, batch_size=4, settings=settings, impl="naive",
        state=first.state,
    )  # fmt: skip
    second.load(*first.moments, first.steps)
    np.testing.assert_array_equal(second.run(batches[3:]), losses[3:])
    assert bits(second) == bits(whole)


def test_a_loss_that_is_not_finite_changes_nothing_of_its_model(device):
    """Beside one whose loss is: that one trains as if it were alone."""
    stages, good = network("dense", "float64")
    _, bad = network("dense", "float64", seed=1)
    bad["decoder.0.W"] *= 1e200  # finite, but the square of what it makes is not
    both = DeviceTraining(
        device, stages, [bad, good], IMAGES, batch_size=4, settings=SETTINGS, impl="naive"
    )
    batches = draw((4, 4, 4))
    losses, alone = both.run(batches), start(device)
    np.testing.assert_array_equal(losses[:, 1], alone.run(batches)[:, 0])
    assert np.all(losses[:, 0] == np.inf)
    assert bits(both)[1:] == bits(alone)
    m, v = (moments[0] for moments in both.moments)
    for name, p in bad.items():
        np.testing.assert_array_equal(both.params[0][name], p)
        assert not m[name].any()
        assert not v[name].any()


def test_the_launches_of_a_step_of_the_papers_network(monkeypatch):
    """None runs: what is counted does not depend on numbers.

    The batch and the begin of the step 2, forward 7, the loss among them, dx 5, dW 6, the middle
    back 2, three biases 1, Adam 1; nothing that adds the parts of a product.
    """
    device, launched = emulate(), []
    made = build(Architecture("cae", (28, 28, 1)), np.random.default_rng(0), np.dtype("float32"))
    images = np.zeros((256, 28, 28, 1), np.uint8)
    found = DeviceTraining(
        device, lower(made), [made.params], images, batch_size=256, settings=SETTINGS
    )
    monkeypatch.setattr(device, "kernel", lambda file, name, *_, **__: name)
    monkeypatch.setattr(device, "launch", lambda kernel, *_, **__: launched.append(kernel))
    found._launch(gathers=True)
    assert len(launched) == 24
    assert "finish_sums" not in launched


@pytest.mark.usefixtures("cxx")
def test_no_batches_are_no_steps():
    found = start(emulate())
    assert found.run([]).shape == found.run_images([]).shape == (0, 1)
    assert found.steps == [0]
