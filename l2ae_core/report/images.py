"""The parts of the page that are pictures: Figure 1, confusion matrices, reconstructions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from l2ae_core.array_readers import read_npz
from l2ae_core.figures import class_maps
from l2ae_core.paper.figure1 import TEXTS, Figure1, maps_file
from l2ae_core.paper.index import NAMES
from l2ae_core.paper.result import ClusteringDetails, Result
from l2ae_core.paper.run import ResultsDir
from l2ae_core.report.evidence import in_pair, of_task, percentage, title
from l2ae_core.report.markup import Markup, element, figure, grid, join, paragraph, table
from l2ae_core.report.pictures import montage, png, svg
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

DEEPEST = 50  # per cent of the colour in a cell that has all images of its class


def figure_1(folder: Path) -> list[Markup]:
    """The maps of each data set, and what the codes themselves say; none while one of a–c lacks."""
    paths = [maps_file(folder, data) for data in NAMES]
    found = [Figure1.read(path) for path in paths if path.exists()]
    return [part for one in found if one.complete for part in _maps(one)]


def _maps(found: Figure1) -> list[Markup]:
    s = found.settings
    drawn = {name: text for name, text in TEXTS.items() if name in found.maps}
    epochs, fourth = found.fourth_epochs, ""
    if epochs is not None:
        after = counted(epochs, "epoch")
        fourth = f"; in d of CAE-l2 after {after} on warped images and self-labelling"
    panels = [
        element("div", svg(class_maps({name: found.maps[name]}, found.labels), unique, told),
                paragraph(element("strong", name), f" {text}: {found.note(name)}"),
                class_="panel")
        for name, text in drawn.items()
        for unique in [f"figure1-{s['data']}-{name}"]
        for told in [f"t-SNE map {name}, {text}, coloured by digit"]
    ]  # fmt: skip
    caption = (
        f"{s['images']:,} images of the {NAMES[s['data']]} train split in the code space of CAE "
        f"(a, b) and CAE-l2 (c), seed {s['seed']}, {counted(s['epochs'], 'epoch')}{fourth}; drawn "
        f"in 2-D by t-SNE ({s['library']}, perplexity {s['perplexity']}). All start from the same "
        "positions. Colours and numbers are the true digits; the axes have no unit, and distances "
        "between groups mean little."
    )
    rows = [
        [f"{name}: {text}", *(f"{found.measures[name][m]:.3f}" for m in ("purity", "silhouette"))]
        for name, text in {**drawn, "chance": "shuffled labels"}.items()
    ]
    rows[-1][0] = "chance"
    note = (
        f"Purity: share of the {s['neighbours']} nearest neighbours that are of the same digit. "
        "Silhouette of the digits: 1 for compact digits far apart, 0 for none. Both are measured "
        "between the codes, not in the map; chance: the same with shuffled labels."
    )
    return [
        figure(grid(panels, "three" if len(panels) == 3 else ""), caption=caption),
        table(["codes", "purity", "silhouette"], rows, note=note),
    ]


def representatives(results: Sequence[Result]) -> list[tuple[Result, int]]:
    """Return, for each data set and system, the run of median accuracy, and out of how many."""
    chosen = []
    for systems in of_task(results, "clustering").values():
        for group in systems.values():
            ordered = sorted(group, key=lambda r: r.scores["acc"])
            chosen.append((ordered[(len(group) - 1) // 2], len(group)))
    return chosen


def _name(result: Result) -> str:
    run = result.run
    return f"{NAMES[run.data]}, {title(run.system)}, seed {run.seed}"


def confusions(results: Sequence[Result]) -> list[Markup]:
    """Digits against clusters: the pairs side by side, other systems folded away."""
    chosen = representatives(results)
    if not chosen:
        return []
    intro = paragraph(
        "Rows are digits, columns clusters, each under the digit that the best one-to-one mapping "
        "(Eq. 6) gives it, or – where there are more clusters than digits; with fewer all stand "
        "under a question mark. Framed cells count as right. Colour: share of the digit. Of "
        "several seeds the one of median accuracy is shown."
    )
    paired = [_confusion(r, n) for r, n in chosen if in_pair(r.run.system)]
    others = [_confusion(r, n) for r, n in chosen if not in_pair(r.run.system)]
    parts = [intro, grid(paired)]
    if others:
        summary = element("summary", f"{len(others)} other systems")
        parts.append(element("details", summary, grid(others)))
    return [join(parts)]


def _confusion(result: Result, runs: int) -> Markup:
    assert isinstance(result.details, ClusteringDetails)  # as `representatives` are
    counts, classes = np.array(result.details.confusion), result.details.classes
    more = counts.shape[1] - len(classes)  # clusters without a class come last
    matched = more >= 0  # else columns are not in the order of the classes
    names = [*map(str, classes), *["–"] * more] if matched else ["?"] * counts.shape[1]
    own = np.eye(*counts.shape) * matched > 0
    acc, chance = (percentage(s["acc"]) for s in (result.scores, result.chance))
    of = f" (median of {runs})" if runs > 1 else ""
    caption = f"{_name(result)}{of}: accuracy {acc}, chance {chance}"
    return confusion_table(counts, [*map(str, classes)], names, own, caption)


def confusion_table(
    counts: Array, rows: Sequence[str], columns: Sequence[str], own: Array, caption: str
) -> Markup:
    """Return counts (rows, columns) as a table, coloured by the share of the row; `own` is framed.

    `own` (rows, columns) bool are the cells that count as right.
    """
    share = counts / counts.sum(axis=1, keepdims=True)
    head = element("tr", element("th", "", scope="col"),
                   *(element("th", name, scope="col") for name in columns))  # fmt: skip
    body = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(
                element("td", str(count), class_=_kind(count, own[r, k]),
                        style=f"--share: {DEEPEST * share[r, k]:.1f}%" if count else None)
                for k, count in enumerate(counts[r].tolist())
            ),
        )
        for r, name in enumerate(rows)
    ]  # fmt: skip
    inner = element("table", element("caption", element("span", caption)), element("thead", head),
                    element("tbody", *body), class_="confusion")  # fmt: skip
    return element("div", inner, class_="wide", tabindex="0", role="region", aria_label=caption)


def _kind(count: int, own: bool) -> str | None:
    return "own" if own else None if count else "zero"


def reconstructions(results: Sequence[Result], folder: ResultsDir) -> list[Markup]:
    """What the network of each pair reproduces worst and best."""
    panels = []
    for result, _ in representatives(results):
        path = folder.arrays(result.id)
        if in_pair(result.run.system) and path.exists():
            panels.append(_tiles(result, path))
    caption = (
        "Above: images; below: what the network makes of the ten numbers of their codes. The worst "
        "and the best of all images by squared error, for the seed of median accuracy. The "
        "paper (Section IV-B) argues that a digit of few strokes is reproduced well however rare "
        "it is, so that this error is a poor sign of an anomaly."
    )
    return [figure(grid(panels), caption=caption)] if panels else []


def _tiles(result: Result, path: Path) -> Markup:
    arrays = read_npz(path)
    name = _name(result)
    parts: list[Markup] = [paragraph(element("strong", name))]
    for kind in ("worst", "best"):
        rows = _rows(arrays, kind, path)
        told = f"{name}: the {len(rows[0])} images that are reproduced {kind}, and the results"
        parts += [paragraph(kind), png(montage(rows), told, "tiles")]
    return element("div", *parts, class_="panel")


def _rows(arrays: dict[str, Array], kind: str, path: Path) -> list[Array]:
    names = (kind, f"{kind}_reconstructions")
    found = [arrays.get(name) for name in names]
    rows = [a for a in found if a is not None and a.ndim == 4 and a.dtype == np.uint8]
    if len(rows) != 2 or rows[0].shape != rows[1].shape:
        what = ["missing" if a is None else f"{a.dtype} {a.shape}" for a in found]
        raise ValueError(
            f"{path}: {names} are {what} but expected uint8 (N, H, W, C), equal shapes"
        )
    return rows
