"""The parts of the page that are curves: ROC, loss, latent norms, inertia of the restarts."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import TypeAlias

import numpy as np

from l2ae_core.figures import epoch_curves, restart_dots, roc_curves
from l2ae_core.figures.style import line_styles
from l2ae_core.paper.index import NAMES
from l2ae_core.paper.result import DetectionDetails, Result
from l2ae_core.paper.run import Task
from l2ae_core.paper.statistics import summarize
from l2ae_core.report.evidence import (
    families,
    in_pair,
    of_task,
    styles_of,
    title,
)
from l2ae_core.report.markup import Markup, element, figure, grid, join, table
from l2ae_core.report.pictures import legend, svg

ROC = (
    ("cae-l2", "cosine", "CAE-l2, cluster"),
    ("cae", "cosine", "CAE, cluster"),
    ("cae-l2", "reconstruction", "CAE-l2, reconstruction"),
    ("neighbours", "distance", "nearest neighbours on pixels"),
)
SAME_SOLUTION = 1e-4  # relative gap in inertia below which two restarts count as one solution
Curve: TypeAlias = tuple[str, str, str]  # system, score, name
TASKS: tuple[Task, ...] = ("clustering", "detection")


def roc_grid(results: Sequence[Result]) -> list[Markup]:
    """Ten panels for each data set, one for each digit as the anomaly, and their AUC."""
    shown: list[Markup] = []
    for data, systems in of_task(results, "detection").items():
        curves = [c for c in ROC if c[0] in systems]
        if not curves:
            continue
        styles = line_styles([name for *_, name in curves])
        panels = [_roc_panel(data, digit, systems, curves) for digit in range(10)]
        caption = (
            f"{NAMES[data]}, test images: share of the anomalies found against the share of normal "
            "images that raise a false alarm. Lines: median over the random partitions; bands: "
            "from the lowest to the highest. Grey diagonal: chance."
        )
        head = legend(styles, "grey: chance")
        shown += [
            element("h3", NAMES[data]),
            figure(head, grid([p for p in panels if p], "small"), caption=caption),
            _auc_table(systems, curves),
        ]
    return shown


def _of_digit(results: Sequence[Result], digit: int) -> list[Result]:
    return [r for r in results if r.run.digit == digit]


def _roc_panel(
    data: str, digit: int, systems: Mapping[str, list[Result]], curves: Sequence[Curve]
) -> Markup:
    """One panel; empty where the digit was never the anomaly."""
    runs = {}
    styles = line_styles([name for *_, name in curves])
    for system, score, name in curves:
        results = _of_digit(systems[system], digit)
        found = [r.details.roc for r in results if isinstance(r.details, DetectionDetails)]
        if found:
            runs[name] = [(np.array(roc.fpr), np.array(roc.tpr[score])) for roc in found]
    if not runs:
        return Markup("")
    drawn = roc_curves(runs, panel=f"anomaly {digit}", styles=styles)
    told = f"ROC curves, {NAMES[data]}, anomaly {digit}: {', '.join(runs)}"
    return element("div", svg(drawn, f"roc-{data}-{digit}", told), class_="panel")


def _auc_table(systems: Mapping[str, list[Result]], curves: Sequence[Curve]) -> Markup:
    rows = []
    for digit in range(10):
        cells, count = [], 0
        for system, score, _ in curves:
            values = [r.scores[f"{score}.auc"] for r in _of_digit(systems[system], digit)]
            cells.append(_mean_sd(values))
            count = max(count, len(values))
        if count:
            rows.append([str(digit), *cells, "0.500", str(count)])
    columns = ["anomaly", *(name for *_, name in curves), "chance", "partitions"]
    return table(columns, rows, caption="Area under these curves",
                 note="Mean ± sample standard deviation over partitions.")  # fmt: skip


def _mean_sd(values: Sequence[float]) -> str:
    if not values:
        return ""
    s = summarize(values)
    return f"{s.mean:.3f} ± {s.sd:.3f}" if s.count > 1 else f"{s.mean:.3f}"


def loss_curves(results: Sequence[Result]) -> list[Markup]:
    """The training loss, epoch by epoch."""
    return _epochs(results, "loss", "loss", "Loss of the training. Lines: median over "
                   "runs; bands: from the lowest to the highest.")  # fmt: skip


def latent_norms(results: Sequence[Result]) -> list[Markup]:
    """How long z is before the normalization: while training, and at the best epoch."""
    shown = _epochs(
        results, "latent_norm_mean", "mean |z|",
        "Length |z| of the codes before the normalization, mean of the first 1,000 images after "
        "each epoch. Nothing in the loss of the network with the constraint pulls on "
        "this length; it sets how far one step turns a code.",
    )  # fmt: skip
    rows = []
    for data, systems in of_task(results, "clustering").items():
        for system, group in systems.items():
            norms = [astuple(r.details.norms) for r in group if r.details.norms]
            if norms:
                means = [
                    f"{summarize(quantile).mean:#.3g}" for quantile in zip(*norms, strict=True)
                ]
                rows.append([NAMES[data], title(system), *means, str(len(norms))])
    columns = ["data", "system", "least", "lower quarter", "median", "upper quarter", "greatest",
               "runs"]  # fmt: skip
    if rows:
        shown.append(table(columns, rows, caption="|z| over all images at the best epoch",
                           note="Means over runs.", text_columns=2))  # fmt: skip
    return shown


def _epochs(results: Sequence[Result], name: str, y: str, caption: str) -> list[Markup]:
    """A panel for each family of systems of a task and data set."""
    panels = []
    for task in TASKS:
        for data, systems in of_task(results, task).items():
            curves = {s: c for s, rs in systems.items() if (c := _histories(rs, name))}
            for family in families(curves):
                panels.append(_epoch_panel(task, data, {s: curves[s] for s in family}, name, y))
    return [figure(grid(panels), caption=caption)] if panels else []


def _histories(results: Sequence[Result], name: str) -> list[list[float]]:
    """Return one curve of the longest runs."""
    found = [getattr(r.details.history, name) for r in results if r.details.history]
    longest = max(map(len, found), default=0)
    return [curve for curve in found if len(curve) == longest]


def _epoch_panel(
    task: str, data: str, curves: Mapping[str, list[list[float]]], name: str, y: str
) -> Markup:
    looks = styles_of(list(curves))
    styles = {_told(s, curves): looks[s] for s in curves}
    log = all(np.min(c) > 0 for c in curves.values())
    where = f"{NAMES[data]}, {task}"
    drawn = epoch_curves({_told(s, curves): c for s, c in curves.items()}, y=y, panel=where,
                        styles=styles, log=log)  # fmt: skip
    told = f"{y} by epoch, {where}: {', '.join(styles)}"
    unique = f"{name}-{task}-{data}-{'-'.join(curves)}"
    return element("div", svg(drawn, unique, told), legend(styles), class_="panel")


def _told(system: str, curves: Mapping[str, list[list[float]]]) -> str:
    count = len(curves[system])
    return f"{title(system)}, {count} run{'s' if count > 1 else ''}"


def restarts(results: Sequence[Result]) -> list[Markup]:
    """The inertia at the end of every restart of k-means: which solutions there are."""
    panels, rows = [], []
    for data, systems in of_task(results, "clustering").items():
        for system, group in systems.items():
            found = {f"seed {r.run.seed}": r.details.inertia for r in group if r.details.inertia}
            if not found:
                continue
            rows.append([NAMES[data], title(system), *_basins(list(found.values()))])
            if in_pair(system):
                name = f"{NAMES[data]}, {title(system)}"
                told = f"inertia of each restart above the best of its run, {name}"
                drawn = svg(restart_dots(found, panel=name), f"inertia-{data}-{system}", told)
                panels.append(element("div", drawn, class_="panel"))
    if not rows:
        return []
    columns = ["data", "system", "runs", "restarts a run", "in the best solution",
               "solutions a run", "worst above best"]  # fmt: skip
    note = (
        "Mean over runs. Restarts within 0.01 % of each other count as one solution; of all "
        "restarts of a run the one with the lowest inertia gives the clusters."
    )
    caption = (
        "One dot a restart of k-means, one row a seed: dark spots are solutions that many restarts "
        "find; dots at zero found the best one."
    )
    parts = [figure(grid(panels), caption=caption)] if panels else []
    return [join([*parts, table(columns, rows, note=note, text_columns=2)])]


def _basins(runs: Sequence[Sequence[float]]) -> list[str]:
    """Runs, restarts, share in the best solution, number of solutions, worst above best."""
    share, solutions, worst = [], [], []
    for restart in runs:
        v = np.sort(restart)
        share.append(float(np.mean(v <= v[0] * (1 + SAME_SOLUTION))))
        solutions.append(1 + int(np.sum(np.diff(v) > SAME_SOLUTION * v[:-1])))
        worst.append(float(v[-1] / v[0] - 1))
    return [
        str(len(runs)),
        f"{np.mean([len(r) for r in runs]):.0f}",
        f"{100 * np.mean(share):.0f} %",
        f"{np.mean(solutions):.1f}",
        f"{100 * np.mean(worst):.1f} %",
    ]
