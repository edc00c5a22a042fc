"""The README's example runs, and its table is what test_planted.py asks for."""

import re
from pathlib import Path

from l2ae_kernels import emulator

from .planted import expected, table

README = Path(emulator.__file__).with_name("README.md").read_text()


def test_example(capsys):
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    exec(example, {})
    assert capsys.readouterr().out == "[1000.]\n"


def test_table():
    assert table(expected()) in README
