"""`l2ae completion SHELL`: a script that completes commands, options and files, by shtab."""

from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from importlib.util import find_spec

from l2ae_core.files import given_folder, given_path

SHELLS = ("bash", "zsh", "tcsh")
FILES = ("source", "data")  # arguments that are the name of a data set, or a path


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae completion` its options."""
    parser.add_argument("shell", choices=SHELLS, help="the script is printed")


def main(shell: str) -> int:
    """Do what the command line says."""
    if find_spec("shtab") is None:
        raise ValueError("completion: needs shtab: pip install 'l2ae[completion]', or shtab")
    import shtab

    from l2ae_core.cli import COMMANDS, parser_of

    parser = parser_of(COMMANDS)
    for action in _actions(parser):
        if action.type is given_folder:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.type is given_path or action.dest in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell))
    return 0


def _actions(parser: ArgumentParser) -> Iterator[Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, _SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
