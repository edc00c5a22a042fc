"""Compare two files of `run.py --json`: `compare.py BEFORE NOW`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from l2ae_bench.changes import above, changes, read_rows, report
from l2ae_bench.options import ratio


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 1 for a row that is slower than --fail-above allows, or a bad file."""
    description = "Compare two files of run.py --json: what is slower now, beyond the noise."
    parser = argparse.ArgumentParser(prog="compare.py", description=description)
    parser.add_argument("before", type=Path, metavar="BEFORE")
    parser.add_argument("now", type=Path, metavar="NOW")
    parser.add_argument("--fail-above", type=ratio, metavar="RATIO", help="exit with 1 if a row is "
                        "slower beyond the noise, by more than this")  # fmt: skip
    arguments = parser.parse_args(argv)
    try:
        before, now = read_rows(arguments.before), read_rows(arguments.now)
    except (ValueError, OSError) as error:
        print(f"compare.py: error: {error}", file=sys.stderr)
        return 1
    found = changes(before, now)
    print(report(found, before, len(now)))
    return int(arguments.fail_above is not None and bool(above(found, arguments.fail_above)))


if __name__ == "__main__":
    sys.exit(main())
