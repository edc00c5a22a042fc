"""The text of the kernels as a compiler gets it."""

import pytest

from l2ae_kernels.cuda.text import SOURCE, read_source

FILES = sorted(path.name for path in SOURCE.iterdir() if path.name.endswith(".cu"))


@pytest.mark.parametrize("name", FILES)
def test_it_is_ascii_and_its_code_lies_where_it_lay(name: str) -> None:
    text, original = read_source(name), (SOURCE / name).read_text(encoding="utf-8")
    assert text.isascii()
    assert "??" not in text  # a trigraph, perhaps
    for found, line in zip(text.split("\n"), original.split("\n"), strict=True):
        assert len(found) == len(line)
        assert found.startswith(line.split("//")[0])  # comments alone are changed
