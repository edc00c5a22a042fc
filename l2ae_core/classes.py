"""Classes by name.

The labels of a folder are positions in the sorted list of its own sub-folders, so that one number
means another class in another folder. What is kept in a run, asked for, and shown is the name;
only where labels are plain numbers is it the number.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from l2ae_core import data
from l2ae_core.anomaly import contaminate
from l2ae_core.data import Dataset
from l2ae_core.seeding import rngs
from l2ae_core.settings import make_preparation
from l2ae_kernels.arrays import Array

SHOWN = 20  # classes that an error names
ALL = slice(None)


def classes_of(dataset: Dataset, part: slice = ALL) -> Array:
    """Return the class of each image (N,): names as text, or numbers. There must be labels."""
    assert dataset.labels is not None
    labels = dataset.labels[part]
    if dataset.class_names is None:
        return labels
    classes: Array = np.array(dataset.class_names)[labels]
    return classes


def find_class(function: str, dataset: Dataset, anomaly_class: str | int) -> tuple[int, str | int]:
    """Return the label of a class in `dataset`, and the class: its name, or number.

    `anomaly_class` is its name, or its number where labels are plain numbers. ValueError, naming
    the classes that there are, for another one, and when there are no labels.
    """
    if dataset.labels is None:
        raise ValueError(
            f"{function}: anomaly_class is {anomaly_class!r} but {dataset.name} has no labels"
        )
    name = str(anomaly_class)
    if dataset.class_names is not None:
        there: list[str] = [*dataset.class_names]
        if name in there:
            return there.index(name), name
    else:
        numbers: list[int] = np.unique(dataset.labels).tolist()
        there = [str(number) for number in numbers]
        if name in there:
            return int(name), int(name)
    more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
    raise ValueError(
        f"{function}: anomaly_class is {anomaly_class!r} but the classes of {dataset.name} are "
        f"{', '.join(there[:SHOWN])}{more}"
    )


def find_anomalies(
    dataset: Dataset, settings: Mapping[str, Any], named: str | int | None
) -> tuple[str | int | None, Array, str]:
    """Return the class to report the AUC for, which images are of it, bool (N,), and a reason.

    Without a class named by the caller it is that of the run with these `settings`; where the data
    allow no AUC for that, the class is None and the reason says why. A class named by the caller
    that allows none is a ValueError.
    """
    nothing = np.zeros(len(dataset), bool)
    anomaly_class = settings["anomaly_class"] if named is None else named
    if anomaly_class is None or (named is None and dataset.labels is None):
        return None, nothing, ""
    if named is None and "class_names" not in settings and dataset.class_names is not None:
        reason = f"the run has its anomaly class by position alone, {anomaly_class}"
        return None, nothing, f"no AUC: {reason}; --anomaly-class names one"
    try:
        label, name = find_class("score", dataset, anomaly_class)
        assert dataset.labels is not None  # what has a class has labels
        anomalous: Array = dataset.labels == label
        if anomalous.all():
            raise ValueError(f"score: all images of {dataset.name} are of the anomaly_class {name}")
    except ValueError as error:
        if named is not None:
            raise
        return None, nothing, f"no AUC: {error}"
    return name, anomalous, ""


def training_data(
    settings: dict[str, Any],
    data_dir: str | None,
    *,
    by_position: bool = False,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Dataset:
    """Return the training images, prepared; of an anomaly class that is named the share `keep`.

    `anomaly_class` of `settings` becomes the name of that class where classes have names. With
    `by_position`, for a run that keeps no names, its number is the position among them.
    """
    dataset = data.load(
        settings["data"], data_dir=data_dir, split=settings["split"], labels=settings["labels"],
        preparation=make_preparation(settings), skip_unreadable=skip_unreadable, progress=progress,
    )  # fmt: skip
    anomaly_class = settings["anomaly_class"]
    if anomaly_class is None:
        return dataset
    if by_position and isinstance(anomaly_class, int):
        label = anomaly_class
    else:
        label, settings["anomaly_class"] = find_class("fit", dataset, anomaly_class)
    assert dataset.labels is not None  # what has a class has labels
    rng = rngs(settings["seed"]).split
    return dataset.subset(contaminate(dataset.labels, label, keep=settings["keep"], rng=rng))
