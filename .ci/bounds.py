"""Print the oldest version of every dependency that pyproject.toml allows, for `pip install`.

    python .ci/bounds.py test dist      # numpy==2.2 scipy==1.13 … pytest==8.2 … distributed==…

The names are extras whose dependencies are wanted, too; "build" stands for the build system's.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement


def oldest(line: str) -> str:
    """Turn `name[extra]>=1.2` into `name[extra]==1.2`; what is pinned already stays as it is."""
    requirement = Requirement(line)
    bounds = [one for one in requirement.specifier if one.operator == ">="]
    if not bounds:
        if any(one.operator == "==" for one in requirement.specifier):
            return line
        raise SystemExit(f"pyproject.toml: {line!r} has no lower bound")
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}=={bounds[0].version}"


def main(extras: list[str]) -> None:
    """Print the list, a space between two."""
    table = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    groups = {
        **table["project"]["optional-dependencies"],
        "build": table["build-system"]["requires"],
    }
    lines = [*table["project"]["dependencies"], *(one for name in extras for one in groups[name])]
    print(*dict.fromkeys(map(oldest, lines)))


if __name__ == "__main__":
    main(sys.argv[1:])
