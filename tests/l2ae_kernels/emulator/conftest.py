import shutil

import pytest


@pytest.fixture(autouse=True, scope="session")
def compiler():
    """The emulator needs a C++ compiler; where there is none, its tests have nothing to say."""
    if not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("no C++ compiler")
