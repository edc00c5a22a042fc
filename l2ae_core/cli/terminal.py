"""What the command line needs of the terminal: text of any encoding, closed pipes, `--version`."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from l2ae_core import environment

PACKAGES = (*environment.PACKAGES, "llvmlite", "torch", "faiss-cpu")  # with threads of their own


def write_any_text() -> None:
    """Let stdout and stderr write what their encoding lacks as \\N or \\x escapes, not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Send what stdout does not take any more to nowhere: Python writes it when it ends."""
    try:
        if sys.stdout is not None:  # it is None for a process without one
            sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class Version(argparse.Action):
    """Print the versions that a report of a fault should have, and exit."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *unused: Any) -> None:
        import numpy  # noqa: F401 - loads the BLAS that is named below

        try:
            machine, tile = environment.machine(), _tile()
        except ValueError as error:  # of an environment variable
            parser.error(str(error))
        found = environment.versions(PACKAGES)
        print(f"l2ae {found.pop('l2ae')}")
        print(f"Python {found.pop('python')}, {machine['system']}, {machine['processor']}")
        print(", ".join(f"{name} {version}" for name, version in found.items()))
        vectors, blas = machine["vectors"], ", ".join(machine["blas"])
        print(f"vectors {vectors}, {tile}{machine['cores']} cores, BLAS {blas}")
        parser.exit()


def _tile() -> str:
    """The tile of the dense products in words; nothing where none are emitted."""
    from l2ae_kernels.cpu.codegen.vectors import get_vectors
    from l2ae_kernels.cpu.microkernels import dense_tile

    vectors = get_vectors()
    if vectors is None:
        return ""
    shape = dense_tile.known(vectors)
    return f"dense tile {'not chosen yet' if shape is None else dense_tile.name_of(shape)}, "
