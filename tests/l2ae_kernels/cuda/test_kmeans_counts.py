"""What the kernels of k-means move, and how, in the PTX and the SASS that NVRTC makes of them."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda.emulated import emulate

from . import sass
from .samples import blobs
from .variants import Variant


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("impl", ["assign", "restarts"])
@pytest.mark.parametrize(
    ("d", "dtype"),
    [
        (32, np.float32),
        *(pytest.param(d, np.float32, marks=pytest.mark.slow) for d in (8, 10, 16, 24)),
        *(pytest.param(d, np.float64, marks=pytest.mark.slow) for d in (8, 10)),
    ],
)
def test_rows_take_the_fewest_sectors_and_passes(impl: str, d: int, dtype: type) -> None:
    """A warp copies whole sectors and reads its rows without a conflict of banks."""
    device = emulate(order="ptx", seed=1, count=True)
    x = device.to_device(blobs(256, d, 5, dtype))
    if impl == "assign":
        ops.assign(x, x[:5], impl="cuda-registers")
        kernel = "assign_short"
    else:
        restarts = ops.restarts(x, 5, 1, impl="cuda-fused")
        restarts.centers[0] = device.to_host(x)[:5]
        restarts.assign([0])
        restarts.assign([0])  # no sample moves
        kernel = "lloyd_short"
    counts = next(c for c in reversed(device.counts) if c.kernel == kernel)
    files = "rows.cuh", "short.cuh", "async_copy.cuh"
    sites = [site for site in counts.sites if site.file.endswith(files)]
    copies = [site for site in sites if "cp.async" in site.text and site.space == "global"]
    assert sum(site.traffic.cost for site in copies) == x.nbytes // 32
    reads = [site for site in sites if site.space == "shared" and not site.writes]
    assert sum(site.traffic.requests for site in reads) > 0
    for site in reads:
        assert site.traffic.cost == site.traffic.least, site


@pytest.mark.usefixtures("sass_tools")
@pytest.mark.parametrize(
    "variant",
    [
        Variant("lloyd.cu", {}, {}),
        Variant("lloyd_short.cu", {"D": 10, "K": 10}, {}),
        Variant("resident.cu", {"D": 10, "K": 10}, {}),
    ],
)
def test_no_addition_is_generic(variant: Variant) -> None:
    """The compiler knows of each sum whether it is in shared (ATOMS) or global memory (RED)."""
    for name, loops in sass.loops(variant).items():
        names = {op for loop in loops for op in loop.counts}
        assert "ATOMS" in names, name
        assert not names & {"ATOM", "LD", "ST"}, name
