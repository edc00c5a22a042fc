"""The text of the kernels, and the options it is compiled with."""

import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from typing import TypeAlias

Defines: TypeAlias = Mapping[str, int | str]

SOURCE = resources.files("l2ae_kernels.cuda") / "source"
STANDARD = "--std=c++17"


def read_source(file_name: str) -> str:
    """Return the text of a file of `source` in ASCII, each other character (of a comment) a "_".

    CuPy writes it to a file in the locale's encoding, which need not have them. Two "?" could begin
    a trigraph, of which compilers warn.
    """
    text = (SOURCE / file_name).read_text(encoding="utf-8")
    return re.sub(r"[^\x00-\x7f]", "_", text)


def options(defines: Defines) -> tuple[str, ...]:
    """Return compiler options: the standard, the folder of the headers, and the defines.

    HEADERS is a hash of all headers: a compiled kernel that is kept on disk under its text and
    options must not outlive a change in what it includes.
    """
    headers = sorted((p for p in SOURCE.iterdir() if p.name.endswith(".cuh")), key=lambda p: p.name)
    text = "".join(p.read_text(encoding="utf-8") for p in headers)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    named = {**defines, "HEADERS": f"0x{digest}"}
    return (STANDARD, f"-I{SOURCE}", *(f"-D{name}={value}" for name, value in named.items()))
