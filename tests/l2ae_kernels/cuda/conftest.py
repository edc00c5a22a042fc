"""What the tests of instructions need: NVRTC and cuobjdump."""

import pytest

from . import build_checks, sass


@pytest.fixture(scope="module")
def sass_tools() -> None:
    """Skip where machine code cannot be made or read."""
    try:
        sass.find_tool()
        build_checks.find_compiler()
    except (sass.NoTool, build_checks.NoCompiler) as error:
        pytest.skip(str(error))
