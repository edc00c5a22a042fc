"""Folders of made-up results."""

from collections.abc import Callable
from pathlib import Path

import pytest

from l2ae_core.report import code_map
from l2ae_core.report.results_page import results_page

from .made_up import write_all


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A folder with something for every section, to be changed at will."""
    write_all(tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for all tests that only read it."""
    folder = tmp_path_factory.mktemp("whole")
    write_all(folder)
    return folder


@pytest.fixture(scope="session")
def html(whole: Path) -> str:
    """Its page."""
    return results_page(whole)


@pytest.fixture
def no_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of runs without the map of their codes, which takes most of the time of a page."""
    monkeypatch.setattr(code_map, "FEWEST", 1000)


@pytest.fixture
def no_replace(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Afterwards, nothing can be renamed: the disk is full at the last moment."""

    def fail(*_: object) -> None:
        raise OSError("no space left")

    return lambda: monkeypatch.setattr("os.replace", fail)
