import pytest


@pytest.fixture(autouse=True, scope="session")
def needs_compiler(cxx: None) -> None:
    """Every test here runs the emulator."""
