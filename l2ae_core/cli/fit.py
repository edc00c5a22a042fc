"""`l2ae fit`: train on images, then cluster their codes."""

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any, get_args

from l2ae_core.cli.options import (
    DATA_HELP,
    add_common,
    add_data_dir,
    add_reading,
    describe_scores,
    image_size,
    widths,
)
from l2ae_core.devices import DeviceName
from l2ae_core.files import given_folder
from l2ae_core.settings import CHOICES, DEFAULTS
from l2ae_core.tables import counted, duration

SETTINGS: dict[str, tuple[Callable[[str], Any], str, str | None]] = {  # type, help, metavar
    "split": (str, "part of a named data set to train on", None),
    "size": (
        image_size, "bring every image to this size, here and in every later use of the run: 32, "
        "or 48x32 for 48 wide and 32 high (default: all must have one size)", "WxH",
    ),
    "fit": (
        str, "of --size, images of other proportions: all of it with a margin of the --background, "
        "else black; cut; or stretched", None,
    ),
    "grey": (bool, "turn colour into its brightness", None),
    "background": (
        str, "colour behind transparent pixels: white, black or '#rrggbb' (default: these are "
        "refused)", "COLOUR",
    ),
    "depth": (
        str, "of images with more than 8 bits a channel: auto divides 16 bits by 65535 and takes "
        "floating point in [0, 1]; a number of bits, as 12, or a range, as 0:4095, become 0 to 1 "
        "(default: these are refused)", "DEPTH",
    ),
    "image-shape": (
        widths, "of the images in the rows of an array (N, F): H,W or H,W,C", "H,W,C",
    ),
    "model": (str, "the paper's networks", None),
    "norm": (str, "of the code", None),
    "hidden-norm": (str, "of every hidden layer", None),
    "affine": (bool, "trained scale and shift in batch and layer norm", None),
    "slope": (float, "of LeakyReLU, dense network only", None),
    "hidden": (widths, "neurons of the layers before the code, dense network only", "I,I,I"),
    "filters": (widths, "channels of each convolution, convolutional network only", "I,I,I"),
    "kernels": (widths, "side of its kernels, as many numbers", "I,I,I"),
    "latent-dim": (int, "length of the code", None),
    "epochs": (int, "passes over the images, all in all", None),
    "batch-size": (int, "images in a step", None),
    "optimizer": (str, "rule of the updates", None),
    "learning-rate": (float, "size of the updates", None),
    "reduction": (
        str, "of the squared error over the pixels and channels of an image, in [0, 1]; the sum is "
        "the reconstruction_error of l2ae score", None,
    ),
    "seed": (int, "of weights, shuffles and k-means", None),
    "clusters": (int, "K of k-means", None),
    "n-init": (int, "restarts of k-means", None),
    "weights": (str, "of the epoch with the lowest loss, or the last", None),
    "anomaly-class": (
        str, "name, or number where labels are numbers, of the class of which only a share is "
        "kept, as in Section IV-B (default: all of every class)", "CLASS",
    ),
    "keep": (float, "that share", None),
    "augment": (bool, "warp the images of every step at random: more data", None),
    "rotation": (float, "of --augment, up to so many degrees either way", None),
    "shift": (float, "of --augment, up to such a share of each side", None),
    "scale": (float, "of --augment, by a factor up to so far from 1", None),
    "validation": (float, "share of the images that no step is made on, and whose loss chooses "
                   "the best epoch", "SHARE"),
    "patience": (int, "end when so many epochs in a row did not lower the loss, that of the "
                 "validation images where there are some (default: never)", "N"),
    "self-label": (
        bool, "then go on training with its own clusters as labels: those of the images as they "
        "are, learnt on warped ones; by Adam, its learning rate falling to 0",
        None,
    ),
    "rounds": (int, "of --self-label, passes over the images, at most", None),
    "concentration": (float, "of --self-label, how sharp the assignment to clusters is", None),
    "gamma": (float, "of --self-label, weight of its loss beside the reconstruction", None),
    "tol": (float, "of --self-label, end when fewer labels than this share change", None),
    "label-rotation": (float, "of --self-label, as --rotation", None),
    "label-shift": (float, "of --self-label, as --shift", None),
    "label-scale": (float, "of --self-label, as --scale", None),
}  # fmt: skip
GROUPS: dict[str, tuple[str, ...]] = {  # titles in the help, and the settings below each
    "images": ("split", "size", "fit", "grey", "background", "depth", "image-shape",
               "anomaly-class", "keep"),
    "network": ("model", "norm", "hidden-norm", "affine", "slope", "hidden", "filters", "kernels",
                "latent-dim"),
    "training": ("epochs", "batch-size", "optimizer", "learning-rate", "reduction", "seed",
                 "validation", "patience", "weights"),
    "clusters": ("clusters", "n-init"),
    "warped images, beyond the paper": ("augment", "rotation", "shift", "scale"),
    "self-labelling, beyond the paper": (
        "self-label", "rounds", "concentration", "gamma", "tol", "label-rotation", "label-shift",
        "label-scale",
    ),
}  # fmt: skip


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae fit` its options.

    A setting that is not given does not occur among the arguments, so that --resume can tell.
    """
    parser.add_argument(
        "--out", type=given_folder, required=True, metavar="RUN", help="the run directory"
    )
    parser.add_argument(
        "--data", default=SUPPRESS, help=f"{DATA_HELP} (default {DEFAULTS['data']})"
    )
    add_settings(parser)
    parser.add_argument("--seeds", type=int, metavar="N",
                        help="train N networks, of seeds SEED, SEED + 1, …, as runs RUN/seed-SEED, "
                        "…; say how far their clusters agree, without labels, and choose the run "
                        "that agrees most with the others")  # fmt: skip
    parser.add_argument(
        "--checkpoint-every",
        type=epochs_or_minutes,
        default=10,
        metavar="N",
        help="epochs "
        "(default 10), or sooner where these take more than a minute; or minutes, such as 5min, "
        "for checkpoints that are large",
    )
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out; the "
                        "settings are kept, but --epochs may be larger, --patience, --clusters, "
                        "--n-init and --weights others, and --self-label may follow; once that has "
                        "begun, none of these may change")  # fmt: skip
    add_common(parser)
    parser.add_argument("--device", choices=get_args(DeviceName), default="cpu",
                        help="where the steps are made: cpu, or cuda for a GPU, with the same "
                        "weights at the start and the same batches, so that losses differ by "
                        "rounding alone; by adam, and without --self-label, which may follow on "
                        "the cpu; --resume does not keep it: a run may go on on either (default "
                        "cpu, also where there is a GPU)")  # fmt: skip


def add_settings(parser: ArgumentParser) -> None:
    """Add what says how images are read, and the settings of a training."""
    groups = {title: parser.add_argument_group(title) for title in GROUPS}
    add_data_dir(parser)
    add_reading(parser, default=SUPPRESS)
    for title, option in ((title, option) for title, of in GROUPS.items() for option in of):
        name, how = setting_argument(option)
        groups[title].add_argument(name, **how)


def setting_argument(option: str) -> tuple[str, dict[str, Any]]:
    """Return name and arguments of the option of a setting; not given, it does not occur."""
    kind, help, metavar = SETTINGS[option]
    name = option.replace("-", "_")
    how: dict[str, Any] = {"type": kind, "choices": CHOICES.get(name), "metavar": metavar}
    if kind is bool:
        how = {"action": "store_true"}
    if kind is not bool and DEFAULTS[name] is not None and "(default" not in help:
        shown = DEFAULTS[name]
        shown = ",".join(map(str, shown)) if isinstance(shown, tuple) else shown
        help = f"{help} (default {shown})"
    return f"--{option}", {**how, "default": SUPPRESS, "help": help}


def epochs_or_minutes(text: str) -> int | str:
    """Return the value of --checkpoint-every: 10, or "5min"; ArgumentTypeError for another."""
    from l2ae_core.training.checkpoint import checkpoint_interval

    value = int(text) if text.isdecimal() else text
    try:
        checkpoint_interval(value)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    return value


def main(
    out: Path, data_dir: str | None, resume: bool, checkpoint_every: int | str, quiet: bool,
    seeds: int | None, skip_unreadable: bool, device: DeviceName = "cpu", **given: Any,
) -> int:  # fmt: skip
    """Do what the command line says."""
    from l2ae_core import commands
    from l2ae_core.seeds.fit import fit_seeds
    from l2ae_core.seeds.runs import holds_seeds
    from l2ae_core.seeds.table import format_table

    how: dict[str, Any] = {"data_dir": data_dir, "resume": resume, "progress": not quiet,
                           "skip_unreadable": skip_unreadable,
                           "checkpoint_every": checkpoint_every, "device": device}  # fmt: skip
    if seeds is not None or (resume and holds_seeds(out)):
        print(format_table(out, fit_seeds(out, given, seeds, **how)))
        return 0
    trained = commands.fit(out, given, **how)
    metrics, K = trained.metrics, len(trained.clusters.centers)
    epochs, images = counted(metrics["epochs"], "epoch"), counted(metrics["images"], "image")
    took, clusters = duration(metrics["seconds"]), counted(K, "cluster")
    print(f"{out}: {epochs} of {images} in {took}, {clusters}")
    for weights in ("best", "last"):
        loss = metrics["reconstruction_mse"][weights]
        scores = describe_scores(metrics[weights])
        held_out = metrics.get("validation_mse")
        more = "" if held_out is None else f", of validation images {held_out[weights]:.5f}"
        print(f"{weights} weights: loss {loss:.5f}{more}{scores}")
    if (found := metrics.get("self_labelled")) is not None:
        rounds = counted(found["rounds"], "round")
        print(f"self-labelled: {rounds}{describe_scores(found)}")
    if not quiet:
        print(f"l2ae report {quote(str(out))}")
    return 0
