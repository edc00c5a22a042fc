"""`from l2ae_core import ...`: what there is, and that it costs nothing until it is asked for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import l2ae_core


def test_every_name_is_where_the_types_say() -> None:
    """What a type checker reads, what is imported at run time, and `__all__` are one list."""
    tree = ast.parse(Path(l2ae_core.__file__).read_text("utf-8"))
    (types,) = (node for node in tree.body if isinstance(node, ast.If))
    read = {
        alias.name: node.module
        for node in types.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(read) == sorted(l2ae_core.__all__)
    for name, module in read.items():
        found = getattr(l2ae_core, name)
        assert found is getattr(sys.modules[module], name)
        assert name in dir(l2ae_core)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(l2ae_core, "AutoEncoderClusterers")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from l2ae_core import nothing")


def test_the_package_alone_imports_none_of_its_modules() -> None:
    """A program that wants one small module does not load compilers, and `dir` loads nothing."""
    program = (
        "import sys; before = set(sys.modules); import l2ae_core; dir(l2ae_core); "
        "print(*sorted(name for name in set(sys.modules) - before))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in loaded if name.startswith(("l2ae", "num", "sci", "skl"))] == [
        "l2ae_core"
    ]
