"""What the content of a result file must be, so that tables and pages can take it for granted."""

from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, TypeAlias, get_args

from l2ae_core.readers import entry, require_numbers

Task: TypeAlias = Literal["clustering", "detection"]
SCORES: dict[Task, tuple[str, ...]] = {  # what every result of a task has, and its chance level
    "clustering": ("acc", "nmi", "ari"),
    "detection": ("auc", "auprc"),
}
CONFIG: dict[str, tuple[type, ...]] = {
    "task": (str,),
    "system": (str,),
    "data": (str,),
    "seed": (int,),
    "epochs": (int,),
    "digit": (int, NoneType),
    "batch_size": (int,),
    "n_init": (int,),
}
AXES = ("fpr", "tpr")  # of a ROC curve
QUANTILES = ("min", "q25", "median", "q75", "max")  # of the lengths of the codes
MOST_IMAGES = 2**53  # counts beyond are no longer exact as floating point


def check_result(parts: Mapping[str, Any], where: str) -> None:
    """Raise ValueError, naming the entry, unless `parts` are those of a `Result`."""
    for name, kinds in CONFIG.items():
        entry(parts, f"config.{name}", *kinds, where=where)
    task, scores = parts["config"]["task"], parts["scores"]
    if task not in get_args(Task):
        raise ValueError(f"{where}: entry 'config.task' is {task!r}")
    groups = ["chance", *(f"scores.{name}" for name in scores)]
    for group in groups if task == "detection" else ["chance", "scores"]:
        for name in SCORES[task]:
            entry(parts, f"{group}.{name}", float, where=where)
    if "many_to_one" in scores:
        entry(parts, "chance.many_to_one", float, where=where)
    for name in ("scores", "chance", "seconds"):
        require_numbers(parts[name], name, where=where)
    entry(parts, "seconds.training", float, where=where)
    _check_details(parts, where)


def _check_details(parts: Mapping[str, Any], where: str) -> None:
    details = parts["details"]
    if "confusion" in details:
        _check_confusion(parts, where)
    if "norms" in details:
        for name in QUANTILES:
            entry(parts, f"details.norms.{name}", float, where=where)
    if "inertia" in details and min(_curve(parts, "details.inertia", where)) <= 0:
        raise ValueError(f"{where}: entry 'details.inertia' has a value that is not positive")
    if "history" in details:
        for name in entry(parts, "details.history", dict, where=where):
            _curve(parts, f"details.history.{name}", where)
    if "roc" in details:
        for score in entry(parts, "details.roc", dict, where=where):
            fpr, tpr = (_curve(parts, f"details.roc.{score}.{axis}", where) for axis in AXES)
            if len(fpr) != len(tpr):
                raise ValueError(f"{where}: entry 'details.roc.{score}' has curves of two lengths")


def _curve(parts: Mapping[str, Any], name: str, where: str) -> list[float]:
    """Return an entry that is a list of numbers, not empty."""
    found: list[float] = entry(parts, name, list, where=where)
    require_numbers(found, name, where=where)
    if not found or any(isinstance(value, list | dict) for value in found):
        raise ValueError(f"{where}: entry {name!r} is no list of numbers")
    return found


def _check_confusion(parts: Mapping[str, Any], where: str) -> None:
    """Counts of images: a row for each class, at least one image in it."""
    rows = entry(parts, "details.confusion", list, where=where)
    classes = entry(parts, "details.classes", list, where=where)
    good = len(rows) == len(classes) > 0 and all(isinstance(row, list) for row in rows)
    counts = [count for row in rows for count in row] if good else []
    good = good and all(type(n) is int and 0 <= n < MOST_IMAGES for n in counts)
    if not good or {len(row) for row in rows} != {len(rows[0])} or not all(map(any, rows)):
        raise ValueError(
            f"{where}: entry 'details.confusion' is no table of counts, a row for each of the "
            f"{len(classes)} classes"
        )
