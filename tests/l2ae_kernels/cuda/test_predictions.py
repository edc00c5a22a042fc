"""What the kernels execute and move is held as their registers are; the model's sums by hand."""

import re

import numpy as np
import pytest

from . import sass
from .build_checks import README
from .planned import Plan
from .prediction_table import BEGIN, END, KMEANS, cae_step, kmeans_pass, moved
from .predictions import (
    BANDWIDTH,
    BOUNDARY,
    UNITS,
    Code,
    Unit,
    code_of,
    elapsed,
    instructions,
    predict,
)

# Instructions of an iteration of the main loop in SASS for sm_90, by kernel and terms of a product.
BUDGETS = {
    ("correlate_mma", 3): 410, ("correlate_mma", 1): 210,
    ("correlate_adjoint_x_mma", 3): 430, ("correlate_adjoint_x_mma", 1): 230,
    ("correlate_adjoint_W_mma", 3): 490, ("correlate_adjoint_W_mma", 1): 290,
    ("correlate_thin", 0): 106, ("correlate_adjoint_x_thin", 0): 142,
    ("correlate_adjoint_W_thin", 0): 96,
    ("assign_tensor", 0): 430, ("lloyd_short", 0): 118, ("lloyd_resident", 0): 118,
}  # fmt: skip
# HMMA among them, by terms. TF32 has a third of the products for the same copies.
SHARES = {1: 0.11}
# Sectors and passes, over the least: at most, where it is not MOST, and why.
MOST = 1.3
SECTORS = {
    "correlate_thin": (1.65, "the weights of a block are most of so few pixels"),
    "correlate_adjoint_x_thin": (1.45, "the same"),
    "bottleneck": (3.3, "a thread reads a row of W1; its lines stay in the first-level cache"),
    "bottleneck_adjoint": (3.1, "the same"),
    "bottleneck_gradients": (2.4, "a thread writes a row of dW1"),
    "product_tiled": (2.4, "a thread writes four numbers of a row one by one"),
    "init_draw": (7.0, "a lane adds up a stretch of weights of its own"),
}
PASSES = {"lloyd_resident": (1.65, "samples are turned once, for all iterations")}


def _launches():
    """Every launch of a step in both precisions, and of k-means."""
    yield from cae_step("tensor")
    yield from cae_step("tf32")
    for name in KMEANS:
        yield from kmeans_pass(name)


@pytest.mark.slow
@pytest.mark.usefixtures("nvrtc", "sass_tools")
def test_main_loops_keep_to_their_budgets() -> None:
    seen = set()
    for launch in _launches():
        if launch.kernel.name not in UNITS:
            continue
        key = launch.kernel.name, launch.sizes.get("TERMS", 0)
        seen.add(key)
        found = predict(launch)
        assert found.unit <= BUDGETS[key], launch.kernel
        loop = code_of(*launch.kernel[::2])[launch.kernel.name].nest(UNITS[key[0]].useful)[-1]
        if loop.counts["HMMA"]:
            assert loop.share(["HMMA"]) >= SHARES.get(key[1], 0.2), launch.kernel
    assert seen == BUDGETS.keys()


@pytest.mark.slow
@pytest.mark.usefixtures("nvrtc")
def test_kernels_move_little_more_than_the_least() -> None:
    found = moved()
    assert {launch.kernel.name for launch in _launches()} <= found.keys()
    for kernel, (sectors, passes) in found.items():
        assert sectors.cost <= SECTORS.get(kernel, (MOST, ""))[0] * sectors.least, kernel
        assert passes.cost <= PASSES.get(kernel, (MOST, ""))[0] * passes.least, kernel
    for reasons, which in ((SECTORS, 0), (PASSES, 1)):
        for kernel in reasons:  # a reason that is gone is to be taken out
            assert found[kernel][which].cost > MOST * found[kernel][which].least, kernel


def test_a_plan_has_the_launches_of_a_step() -> None:
    launches = cae_step("tensor")
    names = [launch.kernel.name for launch in launches]
    assert names[0] == "gather_images"
    assert names[-1] == "adam_step"
    assert names.count("correlate_mma") == 4  # conv2, conv3, and dx of both transposed ones
    conv2 = launches[names.index("correlate_mma")]
    numbers = 256 * 14 * 14 * 32 + 25 * 32 * 64 + 64 + 256 * 7 * 7 * 64
    of_parts = 2 * 256 * 7 * 7 * 64 + 196  # and a counter a tile
    assert conv2.nbytes == 4 * (numbers + of_parts)  # x, W, b, y
    assert conv2.grid == (196, 1, 2)  # 12,544 pixels, 64 a tile; in two parts
    assert sum(launch.beside for launch in launches) == 9
    assert [launch.kernel.name for launch in launches if launch.joins] == ["adam_step"]
    assert names == [launch.kernel.name for launch in cae_step("tensor", 8)]


def test_a_launch_that_memory_bounds() -> None:
    plan = Plan()
    x = plan.empty(1_000_000, np.float32)
    plan.launch(plan.kernel("adam.cu", "adam_step"), (7,), (256,), (x, x[:5], np.int64(3)))
    (launch,) = plan.launches
    assert launch.nbytes == 4_000_000  # an address counts once
    found = predict(launch)
    assert found.seconds == launch.nbytes / BANDWIDTH + BOUNDARY


def test_launches_beside_others() -> None:
    """The longest chain counts, or the work of all if that is more; memory alone counts here."""
    plan = Plan()
    x = plan.empty(1_000_000, np.float32)  # 1.2 µs
    kernel, beside = plan.kernel("adam.cu", "adam_step"), plan.branch()

    def launch(*parts: slice) -> None:
        for part in parts:
            plan.launch(kernel, (7,), (256,), (x[part],))

    launch(slice(0, 9))
    with beside:
        launch(slice(0, 9), slice(0, 9), slice(0, 9))
    launch(slice(0, 9), slice(0, 9))
    beside.join()
    launch(slice(0, 9))
    assert elapsed(map(predict, plan.launches)) == pytest.approx(5 * BOUNDARY, rel=1e-3)
    plan.launches.clear()
    with beside:
        launch(*[slice(None)] * 3)
    launch(*[slice(None)] * 3)
    beside.join()
    launch(slice(0, 9))
    work = 6 * x.nbytes / BANDWIDTH
    chain = 3 * (BOUNDARY + x.nbytes / BANDWIDTH)
    found = elapsed(map(predict, plan.launches))
    assert found == pytest.approx(max(work, chain) + BOUNDARY, rel=1e-3)


def _loop(start: int, names: str, *, innermost: bool = True) -> sass.Loop:
    return sass.Loop(tuple(sass.Instruction(n, "") for n in names.split()), innermost, start)


def test_instructions_of_nested_loops() -> None:
    """10 of 20 around a loop of 10, which has a rare loop of 2 and the main one of 3."""
    code = Code(
        20,
        [
            _loop(4, "MOV ATOMS BRA MOV FFMA FFMA BRA MOV MOV BRA", innermost=False),
            _loop(5, "ATOMS BRA"),
            _loop(8, "FFMA FFMA BRA"),
        ],
    )
    unit = Unit("FFMA", lambda _: [5, 7])
    assert instructions(code, unit, [5, 7]) == (3, 10 + 5 * (7 + 7 * 3), 5 * 7 * 2)
    rare = Unit("FFMA", lambda _: [5, 7], "ATOMS")
    assert instructions(code, rare, [5, 7]) == (3, 10 + 5 * (5 + 7 * 3), 5 * 7 * 2)
    with pytest.raises(ValueError, match=r"trips are \[5\] but the nested loops have \[10, 3\]"):
        instructions(code, unit, [5])


def test_readme_has_every_kernel_that_is_predicted() -> None:
    text = README.read_text(encoding="utf-8")
    tables = text[text.index(BEGIN) : text.index(END)]
    named = set(re.findall(r"^\| `(\w+)`", tables, re.MULTILINE))
    assert named == {launch.kernel.name for launch in _launches()}
