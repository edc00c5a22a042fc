"""The `l2ae` command: argparse in front of the library.

Each command is a module with `add_options(parser)` and `main(**arguments)`, which returns the exit
status; COMMANDS names it. Only that of the command that is called is imported, and all but
gradcheck's import in their functions what does the work: a help needs neither the kernels nor the
figures.

Exit status: as in EPILOG.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from l2ae_core.cli.log import logging_to
from l2ae_core.cli.terminal import Version, discard_output, write_any_text
from l2ae_core.files import given_path
from l2ae_core.signals import exit_status, raised_signals


class Command:
    """Where a command is, what `l2ae --help` tells of it, and the arguments of its examples."""

    def __init__(self, module: str, help: str, *examples: str) -> None:
        self.module, self.help, self.examples = module, help, examples


COMMANDS = {
    "demo": Command("l2ae_core.cli.demo",
        "the whole method on the embedded digits in about a minute", "", "--out demo"),
    "look": Command("l2ae_core.cli.look",
        "what images are like, what is wrong with them, and what `l2ae fit` would do with them",
        "photos/", "photos/ --size 48x32 --clusters 5 --json photos.json"),
    "pack": Command("l2ae_core.cli.pack",
        "write many images to one file, once, which is then read a batch at a time",
        "photos/ photos.npy", "photos/ photos.npy --size 48x32 --background white",
        "images.npz images.npy"),
    "fit": Command("l2ae_core.cli.fit",
        "train on images, then cluster their codes",
        "--data mnist --model cae --norm l2 --epochs 50 --out runs/mnist",
        "--data photos/ --size 48x32 --clusters 5 --out runs/photos",
        "--data photos/ --seeds 5 --out runs/photos-5",
        "--data mnist --epochs 50 --augment --self-label --out runs/mnist-self",
        "--resume --out runs/mnist",
        "--resume --epochs 100 --out runs/mnist"),
    "cluster": Command("l2ae_core.cli.cluster",
        "the cluster of every image, by the centers of a run; or hints how many to ask for",
        "runs/mnist --data mnist --split test --out labels.csv",
        "runs/mnist --clusters 2-20 --figure clusters.png",
        "runs/mnist --save 12 --out labels.csv",
        "runs/photos --data photos/ --copy-to sorted/"),
    "score": Command("l2ae_core.cli.score",
        "how normal every image is (Eq. 5), and which are anomalous",
        "runs/mnist --data mnist --split test --fpr 0.01 --out scores.csv",
        "runs/photos --data one.png",
        "runs/photos --top 50 --out least-normal.csv",
        "runs/mnist --data /shared/new.npy --cluster tcp://10.0.0.1:8786 --out scores.csv"),
    "export": Command("l2ae_core.cli.export",
        "the network, its clusters and the verdict as one ONNX graph",
        "runs/mnist mnist.onnx --fpr 0.01",
        "runs/photos photos.onnx --data photos/"),
    "reproduce": Command("l2ae_core.paper.command",
        "the paper's tables and Figure 1, beside our own runs",
        "table2 --data usps --seeds 3 --jobs 2 --out results",
        "table4 --digits 1 7 --epochs 20 --out results",
        "table1 table2 table3 --show --out results",
        "table4 --seeds 10 --cluster tcp://127.0.0.1:8786 --out /shared/results"),
    "report": Command("l2ae_core.report.command",
        "one HTML page of a run with its images, of several seeds, or of a folder of results",
        "runs/mnist", "runs/photos --data new/ --out new.html", "runs/photos-5",
        "results --out report.html"),
    "gradcheck": Command("l2ae_core.gradcheck.command",
        "every backward pass against differences and complex steps, or that of your own layer",
        "", "L2Normalize Conv2d", "layers.py:Scale --args '{\"s\": \"4\"}' --figure errors.png"),
    "completion": Command("l2ae_core.cli.completion",
        "a script with which a shell completes commands, options and files on <Tab>",
        "bash > ~/.local/share/bash-completion/completions/l2ae",
        "zsh > ~/.zfunc/_l2ae        # with fpath+=~/.zfunc in .zshrc, before compinit"),
}  # fmt: skip


EPILOG = """\
l2ae COMMAND --help has the options and examples of a command.

exit status:
  0    done
  1    an error, or a check that failed
  2    a wrong command line
  130  after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP: a training ends with its history and
       checkpoint whole, and --resume goes on with it
  141  the reader of a pipe went away
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return its exit status."""
    write_any_text()
    argv = sys.argv[1:] if argv is None else argv
    arguments = _parsed(argv)  # --help and --version end here
    command: Callable[..., int] = arguments.pop("run_command")
    threads, log = arguments.pop("threads", None), arguments.pop("log")
    from l2ae_core.training.history import TrainingError

    try:
        with raised_signals(), logging_to(log, argv):
            if threads is not None:
                from l2ae_kernels.cpu.threads import use_threads

                use_threads(threads)
            status = command(**arguments)
            if sys.stdout is not None:  # it is None for a process without one
                sys.stdout.flush()
            return status
    except BrokenPipeError:
        discard_output()
        return 141
    except (ValueError, OSError, TrainingError) as error:  # bad input or a failed training
        print(f"l2ae: error: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"l2ae: error: not enough memory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print("\nl2ae:", *getattr(interrupt, "__notes__", ["interrupted"]), file=sys.stderr)
        return exit_status(interrupt)


def _parsed(argv: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of the command line; without any, print the help and exit with 2."""
    parser = parser_of(next(([argument] for argument in argv if argument in COMMANDS), []))
    if not argv:
        parser.print_help()
        parser.exit(2)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        shown = " ".join(unknown[:3]) + f" and {len(unknown) - 3} more" * (len(unknown) > 3)
        taker = "--data" if "--data" in argv else "look" if "look" in argv else None
        hint = ""
        if any(Path(argument).exists() for argument in unknown):
            hint = f"; {taker} takes one file or folder: name the folder of the images"
            hint = hint if taker else "; images are named by --data"
        parser.error(f"unrecognized arguments: {shown}{hint}")
    return vars(arguments)


def parser_of(called: Collection[str]) -> ArgumentParser:
    """Return the parser of all commands; only those that are called have their options."""
    parser = ArgumentParser(
        prog="l2ae",
        description="Clusters and outliers of unlabelled images, by an auto-encoder whose code\n"
        "lies on the unit sphere.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=Version, help="show versions and exit")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        examples = [f"  l2ae {name} {example}".rstrip() for example in command.examples]
        added = subparsers.add_parser(
            name,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
            epilog="\n".join(["examples:", *examples]),
            formatter_class=RawDescriptionHelpFormatter,
        )
        if name in called:
            module = import_module(command.module)
            module.add_options(added)
            added.add_argument("--log", type=given_path, metavar="FILE", help="append what is "
                               "chosen and done, with the time, to this file")  # fmt: skip
            added.set_defaults(run_command=module.main)
    return parser
