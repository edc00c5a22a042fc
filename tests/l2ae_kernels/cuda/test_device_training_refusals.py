"""What a training on a device refuses, by name."""

import numpy as np
import pytest

from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.training import DeviceTraining
from l2ae_kernels.stages import AdamSettings

from .networks import grey_images, network, statistics

IMAGES = grey_images(11)


@pytest.mark.usefixtures("cxx")
def test_errors_name_what_does_not_fit():
    device, (stages, params) = emulate(), network("dense", "float32")
    given = {"batch_size": 4, "settings": AdamSettings()}
    wide = {name: p.astype(np.float64) for name, p in params.items()}
    name = "encoder.1.W"
    without = {n: p for n, p in params.items() if n != name}
    for models, images, more, match in [
        ([], IMAGES, {}, "params is empty"),
        ([without], IMAGES, {}, "params has no array 'encoder.1.W'"),
        ([params, without], IMAGES, {}, r"params\[1\] has no array 'encoder.1.W'"),
        ([params, wide], IMAGES, {}, r"params\[1\]\['encoder.1.W'\] is .* float64 but expected"),
        ([params], IMAGES[:, :4], {}, "expected a chain from 32 to 32"),
        ([params], IMAGES[:0], {}, "images are .* but expected one at least"),
        ([params], IMAGES / 255, {}, "images are .* float64 but expected .* uint8 or float32"),
        ([params], IMAGES, {"batch_size": 0}, "batch_size is 0"),
        ([params], IMAGES, {"micro_batch": 0}, "micro_batch is 0"),
        ([params], IMAGES, {"reduction": "max"}, "reduction is 'max'"),
        ([params], IMAGES, {"impl": "fast"}, "impl is 'fast'"),
        ([wide], IMAGES, {"impl": "tensor"}, "impl is 'tensor' for float64"),
    ]:
        with pytest.raises(ValueError, match=f"^(DeviceTraining|training_step): .*{match}"):
            DeviceTraining(device, stages, models, images, **(given | more))
    two = DeviceTraining(device, stages, [params, params], IMAGES, **given)
    maps, weights = network("maps", "float32")
    right = statistics(maps, "float32")
    for more, match in [
        ({"micro_batch": 3}, "micro_batch is 3 but batch_norm 'a' needs the whole batch"),
        ({"state": None}, "state has no array 'a.running_mean'"),
        ({"state": [right]}, "state is of 1 models but expected 2"),
        ({"state": [right, {}]}, r"state\[1\] has no array"),
        ({"state": [right, statistics(maps, "float64")]}, r"state\[1\].* float64 but expected"),
    ]:
        with pytest.raises(ValueError, match=f"^(DeviceTraining|training_step): .*{match}"):
            DeviceTraining(
                device, maps, [weights] * 2, IMAGES, **(given | {"state": [right] * 2} | more)
            )
    with pytest.raises(ValueError, match="state has the unknown array"):
        DeviceTraining(device, stages, [params], IMAGES, **given, state=[right])
    for batch in ([0.5], [], [0] * 5, [11], [-1], [[0, 1]] * 3, 0):
        with pytest.raises(ValueError, match=r"batches\[1\] .* but expected"):
            two.run([np.array([0]), np.array(batch)])
    one, none = np.array([1]), np.array([], np.int64)
    for batch in ([one], [one, one, one], [none, none], [one, [0] * 5], [one, [11]], [one, [0.5]]):
        with pytest.raises(ValueError, match=r"batches\[1\] .* but expected"):
            two.run([np.array([0]), batch])
    x = IMAGES.astype(np.float32)
    for batch in (x[:5], x[:0], x[:2, :4], x[None, :2], x[:2].astype(np.float64), x[0]):
        with pytest.raises(ValueError, match=r"run_images: batches\[0\] .* but expected"):
            two.run_images([batch])
    assert not two.steps.any()
    m, v = two.moments
    for bad, steps, match in [
        (v[:1], [1, 1], "v is of 1 models but expected 2"),
        ([v[0], {}], [1, 1], r"v\[1\] has no array"),
        (v, [3, -1], "steps is -1"),
        (v, [3], "steps is of 1 models but expected 2"),
    ]:
        with pytest.raises(ValueError, match=match):
            two.load(m, bad, steps)
