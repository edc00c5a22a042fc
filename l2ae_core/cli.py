"""The `l2ae` command: argparse in front of the library, one function a command.

Exit status: 0 done, 1 an error or a failed check, 2 a wrong command line, 130 after Ctrl-C, 143
after SIGTERM, 129 after SIGHUP: all three end a training with its history and checkpoint whole; 141
when the reader of a pipe went away (`l2ae cluster ... | head`).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from l2ae_core import commands
from l2ae_core.demo import format_table, run_demo
from l2ae_core.demo.parts import ANOMALY_DIGIT
from l2ae_core.devices import DeviceName
from l2ae_core.files import given_path
from l2ae_core.gradcheck.command import main as run_gradcheck
from l2ae_core.paper import command as reproduce
from l2ae_core.report import command as report
from l2ae_core.settings import CHOICES, DEFAULTS
from l2ae_core.signals import exit_status, raised_signals
from l2ae_core.tables import check_table, to_csv, write_table
from l2ae_core.terminal import Version, discard_output, write_any_text
from l2ae_core.training.history import TrainingError
from l2ae_kernels.cpu.threads import use_threads

DATA_HELP = "digits (embedded), mnist, usps, or a path: .npy, .npz, an image, a folder of images"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return its exit status."""
    write_any_text()
    arguments = _parsed(sys.argv[1:] if argv is None else argv)
    command: Callable[..., int] = arguments.pop("run_command")
    threads = arguments.pop("threads", None)
    try:
        with raised_signals():
            if threads is not None:
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
    parser = _parser()
    if not argv:
        parser.print_help()
        parser.exit(2)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        shown = " ".join(unknown[:3]) + f" and {len(unknown) - 3} more" * (len(unknown) > 3)
        many = any(Path(argument).exists() for argument in unknown) and "--data" in argv
        hint = "; --data takes one file or folder: name the folder of the images" if many else ""
        parser.error(f"unrecognized arguments: {shown}{hint}")
    return vars(arguments)


def _demo(out: Path | None, seed: int, anomaly_digit: int, quiet: bool) -> int:
    result = run_demo(out, seed=seed, anomaly_digit=anomaly_digit, progress=not quiet)
    print(format_table(result))
    return 0


def _gradcheck(layers: list[str]) -> int:
    return run_gradcheck(layers)


def _fit(out: Path, data_dir: str | None, resume: bool, checkpoint_every: int, quiet: bool,
         **given: Any) -> int:  # fmt: skip
    metrics = commands.fit(
        out,
        given,
        data_dir=data_dir,
        resume=resume,
        checkpoint_every=checkpoint_every,
        progress=not quiet,
    ).metrics
    minutes = metrics["seconds"] / 60
    mse = metrics["reconstruction_mse"]
    print(
        f"{out}: {metrics['epochs']} epochs of {metrics['images']} images in {minutes:.1f} minutes"
    )
    for which in ("best", "last"):
        print(f"{which} weights: reconstruction MSE {mse[which]:.5f}{_scores(metrics[which])}")
    return 0


def _scores(scores: dict[str, Any]) -> str:
    """ACC, NMI and ARI, each beside its chance level; nothing where there are no labels."""
    if "acc" not in scores:
        return ""
    parts = [
        f"{k.upper()} {scores[k]:.4f} (chance {scores['chance'][k]:.3f})"
        for k in ("acc", "nmi", "ari")
    ]
    return ", " + ", ".join(parts)


def _cluster(run: Path, out: Path | None, quiet: bool, **arguments: Any) -> int:
    if out is not None:
        check_table(out)
    columns, scores = commands.cluster(run, **arguments, progress=not quiet)
    _write(columns, out)
    if "acc" in scores:
        print(f"{len(columns['index'])} images{_scores(scores)}", file=sys.stderr)
    _note(scores)
    return 0


def _score(run: Path, out: Path | None, quiet: bool, **arguments: Any) -> int:
    if out is not None:
        check_table(out)
    columns, result = commands.score(run, **arguments, progress=not quiet)
    _write(columns, out)
    tau, flagged, N = result["threshold"], result["anomalous"], len(columns["index"])
    print(f"threshold {tau:.4f}: {flagged} of {N} images are anomalous", file=sys.stderr)
    if "auc" in result:
        print(
            f"class {result['anomaly_class']} as anomaly ({result['prevalence']:.1%} of images):"
            f" AUC {result['auc']['normality']:.4f}, by reconstruction error "
            f"{result['auc']['reconstruction']:.4f}, chance 0.5",
            file=sys.stderr,
        )
    if result["no_auc"]:
        print(f"l2ae: {result['no_auc']}", file=sys.stderr)
    _note(result)
    return 0


def _note(result: dict[str, Any]) -> None:
    """Say in one line where the network ran, if that was left open."""
    if result["note"]:
        print(f"l2ae: {result['note']}", file=sys.stderr)


def _write(columns: dict[str, Any], out: Path | None) -> None:
    if out is None:
        print(to_csv(columns), end="")
    else:
        write_table(columns, out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="l2ae",
        description="Clusters and outliers of unlabelled images, by an auto-encoder whose code "
        "lies on the unit sphere.",
        epilog="l2ae COMMAND --help has the options and examples of a command.",
    )
    parser.add_argument("--version", action=Version, help="show versions and exit")
    commands_ = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, run: Callable[..., int], help: str, *examples: str
    ) -> argparse.ArgumentParser:
        added = commands_.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog="examples:\n"
            + "\n".join(f"  l2ae {name} {example}".rstrip() for example in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run_command=run)
        return added

    demo = add(
        "demo", _demo, "the whole method on the embedded digits in about a minute", "", "--out demo"
    )
    demo.add_argument(
        "--out", type=given_path, metavar="DIR", help="write metrics.json and the figures here"
    )
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument(
        "--anomaly-digit", type=int, default=ANOMALY_DIGIT, help="default %(default)s"
    )
    _common(demo)

    _fit_options(
        add("fit", _fit, "train on images, then cluster their codes",
            "--data mnist --model cae --norm l2 --epochs 50 --out runs/mnist",
            "--data photos/ --model dense --clusters 5 --out runs/photos",
            "--resume --out runs/mnist",
            "--resume --epochs 100 --out runs/mnist")
    )  # fmt: skip

    cluster = add("cluster", _cluster, "the cluster of every image, by the centers of a run",
                  "runs/mnist --data mnist --split test --out labels.csv")  # fmt: skip
    _run_options(cluster)

    score = add("score", _score, "how normal every image is (Eq. 5), and which are anomalous",
                "runs/mnist --data mnist --split test --fpr 0.01 --out scores.csv",
                "runs/photos --data one.png")  # fmt: skip
    _run_options(score)
    score.add_argument("--fpr", type=float, default=0.05, metavar="SHARE",
                       help="of training images below the threshold (default 0.05)")  # fmt: skip
    score.add_argument("--anomaly-class", metavar="CLASS",
                       help="name, or number where labels are numbers, of the class to report the "
                       "AUC for (default: that of the run)")  # fmt: skip

    reproduce.add_options(
        add("reproduce", reproduce.main, "the paper's tables and Figure 1, beside our own runs",
            "table2 --data usps --seeds 3 --jobs 2 --out results",
            "table4 --digits 1 7 --epochs 20 --out results",
            "table1 table2 table3 --show --out results",
            "table4 --seeds 10 --cluster tcp://127.0.0.1:8786 --out /shared/results")
    )  # fmt: skip

    report.add_options(
        add("report", report.main, "one HTML page of a run or of a folder of results",
            "runs/mnist", "results --out report.html")
    )  # fmt: skip

    gradcheck = add("gradcheck", _gradcheck,
                    "every backward pass against differences and complex steps",
                    "", "L2Normalize Conv2d")  # fmt: skip
    gradcheck.add_argument("layers", nargs="*", metavar="LAYER", help="names (default: all)")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, help="threads of the kernels (default: all cores)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", help="folder with the MNIST or USPS files (default: "
                        "L2AE_DATA, else the cache, else a download)")  # fmt: skip


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", type=given_path, metavar="RUN", help="a run directory that `l2ae fit` made"
    )
    parser.add_argument("--data", dest="source", required=True, help=DATA_HELP)
    parser.add_argument("--split", choices=("all", "train", "test"), default="all")
    parser.add_argument(
        "--out", type=given_path, metavar="FILE", help=".csv or .npy (default: CSV to the screen)"
    )
    _common(parser)
    parser.add_argument("--device", choices=get_args(DeviceName),
                        help="of the network (default: a GPU, if there is one)")  # fmt: skip
    _data_options(parser)


def _fit_options(parser: argparse.ArgumentParser) -> None:
    """Options of `fit`; one that is not given does not occur, so that --resume can tell."""

    def setting(option: str, help: str, **keywords: Any) -> None:
        default = DEFAULTS[option.replace("-", "_")]
        parser.add_argument(
            f"--{option}", default=argparse.SUPPRESS, help=f"{help} (default {default})", **keywords
        )

    parser.add_argument(
        "--out", type=given_path, required=True, metavar="RUN", help="the run directory"
    )
    setting("data", DATA_HELP)
    _data_options(parser)
    setting("split", "part of a named data set to train on", choices=CHOICES["split"])
    setting("model", "the paper's networks", choices=CHOICES["model"])
    setting("norm", "of the code", choices=CHOICES["norm"])
    setting("hidden-norm", "of every hidden layer", choices=CHOICES["hidden_norm"])
    parser.add_argument("--affine", action="store_true", default=argparse.SUPPRESS,
                        help="trained scale and shift in batch and layer norm")  # fmt: skip
    setting("slope", "of LeakyReLU, dense network only", type=float)
    setting("latent-dim", "length of the code", type=int)
    setting("epochs", "passes over the images, all in all", type=int)
    setting("batch-size", "images in a step", type=int)
    setting("optimizer", "who takes the steps", choices=CHOICES["optimizer"])
    setting("learning-rate", "size of the steps", type=float)
    setting("reduction", "of the squared error over pixels", choices=CHOICES["reduction"])
    setting("seed", "of weights, shuffles and k-means", type=int)
    setting("clusters", "K of k-means", type=int)
    setting("n-init", "restarts of k-means", type=int)
    setting("weights", "of the epoch with the lowest loss, or the last", choices=CHOICES["weights"])
    setting("anomaly-class", "name, or number where labels are numbers, of the class of which only "
            "a share is kept, as in Section IV-B", metavar="CLASS")  # fmt: skip
    setting("keep", "that share", type=float)
    parser.add_argument(
        "--checkpoint-every", type=int, default=10, metavar="N", help="epochs (default 10)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out; its "
                        "settings are kept, but --epochs may be larger, and --clusters, --n-init "
                        "and --weights others")  # fmt: skip
    _common(parser)


if __name__ == "__main__":
    sys.exit(main())
