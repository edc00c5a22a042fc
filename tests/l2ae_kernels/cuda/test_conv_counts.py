"""What the convolutions on tensor cores execute and move, in the SASS and PTX that NVRTC makes."""

import numpy as np
import pytest

from l2ae_kernels.cuda import conv
from l2ae_kernels.cuda.emulated import emulate

from . import sass
from .variants import CONV, CONVOLUTIONS, Variant

FLOAT32 = [v for v in CONVOLUTIONS if v.defines.get("TERMS") == 3 and v.defines["C"] in (32, 64)]


@pytest.mark.usefixtures("sass_tools")
@pytest.mark.parametrize("variant", FLOAT32, ids=lambda v: v.name)
def test_a_fifth_of_the_inner_loop_is_products(variant: Variant) -> None:
    """conv2 and conv3 of the paper's network: then tensor cores, not the schedulers, are the limit.

    An H100 takes 6.2 cycles of a scheduler for a product of 16 × 8 × 8 by mma.sync.
    """
    loops = sass.loops(variant)
    for operation in CONV:
        loop = max(loops[f"{operation}_mma"], key=lambda loop: loop.counts["HMMA"])
        assert loop.counts["HMMA"] == 96
        assert loop.share(["HMMA"]) >= 0.2
        assert not loop.pipes["local"]
        assert not loop.pipes["generic"]


@pytest.mark.slow
@pytest.mark.usefixtures("nvrtc")
def test_tiles_take_the_fewest_sectors_and_passes() -> None:
    """Copies take whole sectors, and no two lanes of a pass over shared memory meet in a bank."""
    device, how = emulate(order="ptx", seed=1, count=True), ((2, 2), ((1, 1), (1, 1)))
    rng = np.random.default_rng(0)
    x, W, y = (
        device.to_device(rng.standard_normal(shape).astype(np.float32))
        for shape in ((3, 6, 6, 8), (3, 3, 8, 64), (3, 3, 3, 64))
    )
    conv.correlate(x, W, None, device.empty(y.shape, np.float32), *how)
    conv.correlate_adjoint_x(y, W, None, device.empty(x.shape, np.float32), *how)
    conv.correlate_adjoint_W(x, y, device.empty(W.shape, np.float32), *how)
    counted = {c.kernel: c for c in device.counts}
    assert set(counted) == {f"{operation}_mma" for operation in CONV}
    for counts in counted.values():
        for site in counts.sites:
            if site.space == "shared" and site.file.endswith(("conv_tile.cuh", "mma.cuh")):
                assert site.traffic.cost == site.traffic.least, site
        copies = [s for s in counts.sites if "cp.async" in s.text and s.space == "global"]
        read = sum(site.traffic.cost for site in copies)
        assert 0 < read <= 1.3 * sum(site.traffic.least for site in copies)
