"""`l2ae gradcheck [LAYER...]`: run the suite, print one ranked table, exit 1 on a failure."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from tqdm import tqdm

from l2ae_core.gradcheck.report import RANK, Row, table
from l2ae_core.gradcheck.suite import Outcome, run_suite, select

HEADER = ("verdict", "layer", "worst block", "method", "rel.err", "checks", "kinks", "ms")
RIGHT = range(4, 8)


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae gradcheck` its options."""
    parser.add_argument("names", nargs="*", metavar="LAYER", help="names (default: all)")


def main(names: Sequence[str]) -> int:
    """Check the named layers (none: all) and print the tables.

    Returns 0 when all are right, 1 when one is not, 2 (with a message on stderr) for an unknown
    name. Layers named on the command line, and those that fail, are shown block by block.
    """
    try:
        chosen = select(names)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    with tqdm(total=len(chosen), desc="gradcheck", unit="layer", leave=False) as bar:
        outcomes = run_suite(chosen, done=lambda outcome: bar.update())
    print(summary(outcomes))
    for outcome in outcomes:
        if names or not outcome.report.ok:
            print(f"\n{outcome.report}")
    return 0 if all(outcome.report.ok for outcome in outcomes) else 1


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the ranked table, one line a case, worst first, and a line of totals."""
    ranked = sorted(outcomes, key=lambda outcome: (outcome.report.ok, _key(outcome)))
    lines = table(HEADER, [_cells(outcome) for outcome in ranked], RIGHT)
    bad = sum(not outcome.report.ok for outcome in outcomes)
    kinks = sum(outcome.report.kinks for outcome in outcomes)
    checks = sum(row.checked for outcome in outcomes for row in outcome.report.rows)
    verdict = f"{bad} of {len(outcomes)} are NOT OK" if bad else f"all {len(outcomes)} are ok"
    lines += ["", f"{verdict}: {checks} comparisons, {kinks} on kinks and left out."]
    return "\n".join(lines)


def _key(outcome: Outcome) -> tuple[int, float]:
    row = _worst(outcome)
    margin = row.relative_error / row.resolution  # how near to its tolerance
    return RANK[row.verdict], -margin if margin == margin else 0.0


def _worst(outcome: Outcome) -> Row:
    """The failing row, or of the passing ones that nearest to its tolerance."""
    worst = outcome.report.worst
    measured = [row for row in outcome.report.rows if row.checked and row.verdict == worst.verdict]
    return max(measured, key=lambda row: row.relative_error / row.resolution, default=worst)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    row, report = _worst(outcome), outcome.report
    return (
        "ok" if report.ok else row.verdict if not row.passed else "UNCLEAR",
        outcome.name,
        row.block,
        row.method,
        "" if row.relative_error != row.relative_error else f"{row.relative_error:.0e}",
        str(sum(r.checked for r in report.rows)),
        str(report.kinks),
        f"{1000 * outcome.seconds:.0f}",
    )
