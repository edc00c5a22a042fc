"""Draw the rows of `run.py --json` as a roofline: `roofline.py FILE --out roofline.png`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from l2ae_bench.changes import read_rows
from l2ae_bench.roofline import roofline
from l2ae_core.figures import save
from l2ae_core.files import check_out
from l2ae_core.readers import read_json


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the figure; 0, or 1 where the file has no ceilings or no work to draw."""
    description = "Draw the rows of run.py --json as a roofline: all rungs beside the ceilings."
    parser = argparse.ArgumentParser(prog="roofline.py", description=description)
    parser.add_argument("file", type=Path, metavar="FILE", help="of run.py --json")
    parser.add_argument("--threads", type=int, default=1, metavar="T", help="default: 1")
    parser.add_argument("--out", type=Path, default=Path("roofline.png"), metavar="FILE",
                        help="a .png, .svg or .pdf (default: roofline.png)")  # fmt: skip
    arguments = parser.parse_args(argv)
    try:
        check_out(arguments.out, ".png", ".svg", ".pdf")
        rows, value = read_rows(arguments.file), read_json(arguments.file)
        machine = value.get("machine", {}) if isinstance(value, dict) else {}
        save(roofline(rows, machine, arguments.threads), arguments.out)
    except (ValueError, OSError) as error:
        print(f"roofline.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
