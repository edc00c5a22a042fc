"""A launch that a device has no room for is refused, with numbers, before CuPy sees it."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda.emulated import emulate

from . import build_checks, variants

DECLARING = [
    ("lloyd.cu", "lloyd_tiled", {"REAL": "double"}),
    ("init.cu", "init_min_sq_distances", {}),
    ("bottleneck.cu", "bottleneck", {"REAL": "float", "LATENT": 10}),
]


@pytest.mark.parametrize(("file_name", "name", "defines"), DECLARING)
def test_what_a_kernel_declares_is_not_asked_for_again(device, file_name, name, defines):
    kernel, limit = device.kernel(file_name, name, defines), device.properties.shared_per_block
    declared = device.static_shared(kernel)
    assert 0 < declared < 48 * 1024
    left = limit - declared
    with pytest.raises(ValueError, match=f"expected at most {left}: .* declares {declared}"):
        device.launch(kernel, (1,), (128,), (), shared=left + 1)
    kernel.max_dynamic_shared_size_bytes = left  # what CuPy's driver refuses for one byte more


def test_a_cooperative_grid_has_to_be_on_the_device_at_once(device):
    """CuPy would take fewer blocks, with a warning; the rest of the samples would be left out."""
    kernel = device.kernel("resident.cu", "lloyd_resident", {"D": 10, "K": 10}, cooperative=True)
    most = device.resident_blocks(kernel, 512, 1000)
    assert most >= device.properties.multiprocessors
    with pytest.raises(ValueError, match=f"grid of {most + 1} blocks but expected at most {most},"):
        device.launch(kernel, (most + 1,), (512,), (), shared=1000)


@pytest.mark.parametrize("grid", [(1, 65_536), (1, 1, 65_536), (2**31, 1, 1)])
def test_a_grid_has_a_largest_size(device, grid):
    kernel = device.kernel("step.cu", "begin_step", {"REAL": "float"})
    with pytest.raises(ValueError, match=r"grid is \(.*\) but .* at most \(2147483647, 65535"):
        device.launch(kernel, grid, (1,), ())


@pytest.mark.parametrize(("file_name", "name", "defines"), DECLARING)
def test_the_emulator_counts_what_the_compiler_does(cxx, file_name, name, defines):
    """But for what aligns a variable: less than 16 bytes each, and there are at most three."""
    try:
        compiler = build_checks.find_compiler()
    except build_checks.NoCompiler as error:
        pytest.skip(str(error))
    device = emulate()
    declared = device.static_shared(device.kernel(file_name, name, defines))
    variant = variants.Variant(file_name, defines, {})
    compiled = build_checks.compile_variant(variant, "sm_90", compiler)[name].shared
    assert declared <= compiled < declared + 3 * 16


@pytest.mark.parametrize("operation", ["leaky_relu", "dense"])
def test_operations_get_their_results_from_the_device(device, operation, monkeypatch):
    """Whose memory is poisoned in the emulator: a number that a kernel leaves out is seen."""
    made, empty = [], device.empty
    monkeypatch.setattr(device, "empty", lambda *a: made.append(empty(*a)) or made[-1])
    x = device.to_device(np.ones((3, 4), np.float32))
    call = {
        "leaky_relu": lambda: ops.leaky_relu(x, 0.5),
        "dense": lambda: ops.dense(x, device.to_device(np.ones((4, 2), np.float32)), None),
    }[operation]
    result = call()
    assert any(a is result for a in made)
