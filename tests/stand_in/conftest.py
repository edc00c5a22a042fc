"""The stand-in, for tests that ask what was done on it."""

import os

import pytest

from l2ae_kernels.cuda.device import Device, find_device

from .device import StandIn
from .plugin import StandInPlugin


@pytest.fixture
def stand_in(pytestconfig: pytest.Config) -> StandIn:
    """The device under CuPy, if L2AE_STAND_IN=1 has put it there."""
    plugin = pytestconfig.pluginmanager.get_plugin(StandInPlugin.NAME)
    if plugin is None:
        pytest.skip("CuPy is not on a stand-in: L2AE_STAND_IN=1 is not set")
    assert isinstance(plugin, StandInPlugin)
    if plugin.device is None:
        if "CI" in os.environ:
            pytest.fail(plugin.reason)
        pytest.skip(plugin.reason)
    return plugin.device


@pytest.fixture
def gpu(stand_in: StandIn) -> Device:
    """What find_device makes of the stand-in."""
    return find_device()
