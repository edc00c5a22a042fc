"""The table of counts: its sums and shares."""

from l2ae_kernels.emulator.ptx.counters import LaunchCounts, Site, Traffic

from .counts import expensive, table

LOAD = Site("global", False, "ld.global.f32 %f1, [%rd1]", "/a/add.cu", 3, Traffic(2, 64, 8))
STORE = Site("global", True, "st.global.f32 [%rd1], %f1", "/a/add.cu", 4, Traffic(2, 8, 8))
LAUNCH = LaunchCounts("add", (2, 1, 1), (32, 1, 1), {"fp32": 20, "int": 60}, 2000, (LOAD, STORE))


def test_launches_of_a_kernel_are_one_line():
    lines = table([LAUNCH, LAUNCH]).splitlines()
    assert len(lines) == 3
    assert lines[2] == "| `add` | 2 | 4 | 40 | 25% | 10 | 0 | 0 | 128 / 16 | 16 / 16 |  |"


def test_lines_that_take_more_than_twice_the_least():
    assert expensive([LAUNCH, LAUNCH]) == "128 / 16  add  add.cu:3 ld.global.f32 %f1, [%rd1]"
