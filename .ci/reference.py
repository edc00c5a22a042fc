"""Write the API reference of both packages from their docstrings: python .ci/reference.py DIR

A warning of pdoc is an error. `__all__` of a package names what it offers, which pdoc takes for all
that there is: the modules are named here, without private ones.
"""

import pkgutil
import re
import sys
import warnings
from pathlib import Path

import pdoc

import l2ae_core
import l2ae_kernels

PACKAGES = (l2ae_core, l2ae_kernels)
# What NumPy makes of the annotation Array, as pdoc writes it: tags may stand between the words.
WORDS = re.findall(r"\w+|\W", "numpy.ndarray[tuple[typing.Any,...],numpy.dtype[typing.Any]]")
ARRAY = re.compile(r"(?:<[^<>]*>|\s)*".join(map(re.escape, WORDS)))


def modules() -> list[str]:
    """Return the packages, and every public module that pdoc does not find in one before it."""
    names: list[str] = []
    for package in PACKAGES:
        found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        for name in [package.__name__, *(m.name for m in found if "._" not in m.name)]:
            if not names or name not in pdoc.extract.walk_specs(names):
                names.append(name)
    return names


def main(folder: str) -> None:
    """Write the pages to a folder."""
    warnings.simplefilter("error")
    pdoc.render.configure(docformat="markdown", show_source=True)
    pdoc.pdoc(*modules(), output_directory=Path(folder))
    for page in Path(folder).rglob("*.html"):
        page.write_text(ARRAY.sub("Array", page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
