import pytest


@pytest.fixture(autouse=True, scope="session")
def needs_compiler(compiler: None) -> None:
    """Every test here runs the emulator."""
