"""Exercises: `NN_NAME.py` has gaps, `test_NN.py` judges them, `solutions/NN_NAME.py` fills them.

    pytest examples/exercises/test_01.py                 your answers
    pytest examples/exercises/test_01.py --solutions     ours
    pytest examples/exercises --gaps                     every test fails while its gap is open

A gap is a function that raises NotImplementedError. A test takes the fixture `exercise`, the module
that it judges, and calls the functions of it.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("exercises").addoption
    group("--solutions", action="store_true", help="judge the solutions, not the exercises")
    group("--gaps", action="store_true", help="expect every test to find its gap open")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--gaps"):
        for item in items:
            item.add_marker(pytest.mark.xfail(raises=NotImplementedError, strict=True))


@pytest.fixture(scope="module")
def exercise(request):
    """The functions of the exercise that has the number of the test file."""
    folder = Path(request.path).parent
    if request.config.getoption("--solutions"):
        folder /= "solutions"
    (path,) = folder.glob(f"{request.path.stem.removeprefix('test_')}_*.py")
    return SimpleNamespace(**runpy.run_path(str(path)))
