"""`l2ae gradcheck [LAYER...]`: the suite, or layers of one's own; exits with 1 on a failure."""

import json
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l2ae_core.files import check_out, given_path, write_json
from l2ae_core.gradcheck.differences import METHODS
from l2ae_core.gradcheck.own import OwnLayer, is_address, load, shape_of
from l2ae_core.gradcheck.report import RANK, Row, table
from l2ae_core.gradcheck.suite import CASES, Outcome, run_suite, select
from l2ae_core.progress import Bar
from l2ae_core.tables import counted

HEADER = ("verdict", "layer", "worst block", "method", "rel.err", "checks", "kinks", "ms")
RIGHT = range(4, 8)
OWN = """
a layer of your own:
  layers.py:Scale     a class, an object, or a function that returns a layer, or (layer, x);
  package.layers:Scale     the same from a module that can be imported here
  A class with a classmethod `example` is made by that. An argument `rng` gets a seeded Generator.
  examples/05_your_own_layer.py shows how to write one.
"""


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae gradcheck` its options."""
    parser.add_argument("names", nargs="*", metavar="LAYER", help="a name of the table below, a "
                        "family of names, or the address of a layer of your own (default: all of "
                        "the table)")  # fmt: skip
    parser.add_argument("--input", type=_shape, metavar="N,D", help="of your layer: the shape of "
                        "x with the batch, drawn at random (default: one that forward "
                        "takes)")  # fmt: skip
    parser.add_argument("--args", type=_arguments, default={}, metavar="JSON", help="of your "
                        'layer: its arguments, such as \'{"slope": 0.2, "W": "4,3"}\', where "4,3" '
                        "is a random array of that shape")  # fmt: skip
    parser.add_argument("--train", action="store_true", help="of your layer: check "
                        "forward(x, train=True)")  # fmt: skip
    parser.add_argument("--json", type=given_path, metavar="FILE", help="write all rows as JSON")
    parser.add_argument("--figure", type=given_path, metavar="FILE", help=".png, .svg or .pdf: the "
                        "relative error of every entry, of your layers and of those that are not "
                        "ok")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.epilog = f"{parser.epilog}\n{OWN}\nthe table:\n{_names()}"


def main(
    names: Sequence[str],
    input: tuple[int, ...] | None = None,
    args: dict[str, Any] | None = None,
    train: bool = False,
    json: Path | None = None,
    figure: Path | None = None,
    quiet: bool = False,
) -> int:
    """Check the named layers (none: all) and print the tables.

    Returns 0 when all are right, 1 when one is not, 2 (with a message on stderr) for a name or
    arguments that fit nothing. Layers named on the command line, and those that fail, are shown
    block by block.
    """
    if json is not None:
        check_out(json, ".json", argument="json")
    if figure is not None:
        from l2ae_core.figures.style import FORMATS

        check_out(figure, *FORMATS, argument="figure")
    addresses = [name for name in names if is_address(name)]
    try:
        named = [name for name in names if not is_address(name)]
        chosen = select(named) if named or not addresses else []
        if not addresses and (input or args or train):
            raise ValueError("gradcheck: --input, --args and --train are for a layer of your own")
        own = [load(address, args or {}, input) for address in addresses]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    outcomes = _checked(own, chosen, train, quiet)
    print(summary(outcomes))
    for outcome in outcomes:
        if names or not outcome.report.ok:
            print(f"\n{outcome.report}")
    if json is not None:
        write_json(json, _values(outcomes))
    if figure is not None:
        _draw(outcomes, figure)
    return 0 if all(outcome.report.ok for outcome in outcomes) else 1


def _checked(
    own: Sequence[OwnLayer], chosen: Sequence[str], train: bool, quiet: bool
) -> list[Outcome]:
    outcomes = []
    with Bar(total=len(own) + len(chosen), desc="gradcheck", unit="layer", leave=False,
              disable=quiet) as bar:  # fmt: skip
        for layer in own:
            start = time.perf_counter()
            report = layer.check(train)
            outcomes.append(Outcome(layer.address, report, time.perf_counter() - start))
            bar.update()
        if chosen:
            outcomes += run_suite(chosen, done=lambda outcome: bar.update())
    return outcomes


def _shape(text: str) -> tuple[int, ...]:
    try:
        return shape_of(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _arguments(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise ArgumentTypeError(f'{text!r} but expected names and values: {{"slope": 0.2}}')
    return values


def _names() -> str:
    """Return the names of the suite, a line a family."""
    families: dict[str, list[str]] = {}
    for name in CASES:
        family, _, variant = name.partition("/")
        families.setdefault(family, []).append(variant)
    return "\n".join(f"  {name}: {' '.join(v)}".rstrip(": ") for name, v in families.items())


def _values(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what --json writes."""
    layers = [
        {
            "name": outcome.name,
            "ok": outcome.report.ok,
            "seconds": outcome.seconds,
            "rows": [row.to_dict() for row in outcome.report.rows],
        }
        for outcome in outcomes
    ]
    return {"ok": all(layer["ok"] for layer in layers), "layers": layers}


def _draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw the errors of layers outside of the suite, and of those that failed."""
    from l2ae_core import figures

    errors = {
        outcome.name: {
            row.block: row.errors
            for row in sorted(outcome.report.rows, key=lambda row: row.block)
            if row.method == "central" and row.errors is not None
        }
        for outcome in outcomes
        if is_address(outcome.name) or not outcome.report.ok
    }
    drawn = {name: blocks for name, blocks in errors.items() if blocks}
    if not drawn:
        print(f"l2ae: {path} is not written: nothing failed entry by entry", file=sys.stderr)
        return
    figures.save(figures.gradient_errors(drawn, METHODS["central"].tolerance), path)


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the ranked table, one line a case, worst first, and a line of totals."""
    ranked = sorted(outcomes, key=lambda outcome: (outcome.report.ok, _key(outcome)))
    lines = table(HEADER, [_cells(outcome) for outcome in ranked], RIGHT)
    bad = sum(not outcome.report.ok for outcome in outcomes)
    kinks = sum(outcome.report.kinks for outcome in outcomes)
    checks = sum(row.checked for outcome in outcomes for row in outcome.report.rows)
    verdict = f"{bad} of {len(outcomes)} are NOT OK" if bad else f"all {len(outcomes)} are ok"
    lines += ["", f"{verdict}: {counted(checks, 'comparison')}, {kinks} on kinks and left out."]
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
