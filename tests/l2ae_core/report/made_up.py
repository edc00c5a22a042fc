"""Made-up results of every kind, and a page taken apart."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core.paper.figure1 import FOURTH, PANELS, Figure1
from l2ae_core.paper.result import (
    ClusteringDetails,
    Count,
    Curves,
    DetectionDetails,
    Environment,
    Machine,
    Norms,
    Result,
    Roc,
    Seconds,
)
from l2ae_core.paper.run import ResultsDir, Run

VOID = {"img", "meta", "link", "br", "input", "hr"}
EPOCHS = 6
ENVIRONMENT = Environment(
    {"l2ae": "0.1.0", "numpy": "2.3.4"}, Machine("<a processor & more>", "Linux", 2), "ab" * 32,
    "2026-01-02",
)  # fmt: skip


class Page(HTMLParser):
    """What a page holds; AssertionError when elements are not nested well or an id is there twice.

    tables: caption → rows of cells, the head first. texts: all words outside of <style>.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.caption = ""
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        assert len(set(self.ids)) == len(self.ids), "an id is there twice"

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.ids += [v for k, v in attrs if k == "id" and v]
        if tag == "table":
            self.rows, self.caption = [], ""
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> was never opened"
        assert self.open[-1] == tag, f"</{tag}> inside of <{self.open[-1]}>"
        self.open.pop()
        if tag == "table":
            self.tables[self.caption or " ".join(self.rows[0])] = self.rows

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.texts.append(data)
        if "caption" in self.open:
            self.caption += data
        elif {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def clustering(
    system: str, seed: int, acc: float, data: str = "usps", epochs: int = EPOCHS,
    confusion: list[list[int]] | None = None,
) -> Result:  # fmt: skip
    """A result of Tables I–III."""
    run = Run("clustering", system, data, seed, 0 if system == "pixels" else epochs)
    scores = {"acc": acc, "nmi": acc - 0.1, "ari": acc - 0.2}
    told: dict[str, Any] = {"inertia": [10.0, 10.0, 10.5, 12.0]}
    if run.epochs:
        scores |= {"reconstruction_mse": 0.02 - acc / 100, "post_hoc_l2.acc": acc - 0.05}
        loss = [0.5 / (i + 1) for i in range(epochs)]
        told |= {
            "history": Curves(loss, [v + seed + 1 for v in loss], loss),
            "norms": Norms(1.0, 2.0, 3.0, 4.0, 5.0),
            "best_epoch": epochs,
        }
    counts = confusion or (np.eye(10, dtype=int) * 50 + 1).tolist()
    details = ClusteringDetails(images=600, confusion=counts, classes=list(range(10)), **told)
    chance = {"acc": 0.113, "nmi": 0.002, "ari": -1e-6}
    return Result(run, scores, chance, details, Seconds(90.0), ENVIRONMENT)


def detection(system: str, digit: int, seed: int, auc: float, epochs: int = EPOCHS) -> Result:
    """A result of Tables IV and V, on MNIST."""
    grid = np.linspace(0, 1, 11).tolist()
    names = ("cosine", "euclidean", "reconstruction")
    scores = {f"{name}.auc": auc - 0.1 * i for i, name in enumerate(names)}
    scores |= {f"{name}.auprc": auc / 2 for name in names}
    details = DetectionDetails(
        images=Count(90, 20), anomalies=Count(1, 2),
        roc=Roc(grid, {name: np.power(grid, 0.5).tolist() for name in names}),
    )  # fmt: skip
    run = Run("detection", system, "mnist", seed, epochs, digit)
    return Result(run, scores, {"auc": 0.5, "auprc": 0.1}, details, Seconds(60.0), ENVIRONMENT)


def some_clustering() -> list[Result]:
    """Two seeds of CAE and CAE-l2, and a control."""
    accs = {"cae": (0.7412, 0.7534), "cae-l2": (0.9123, 0.9057)}
    found = [clustering(s, seed, a) for s, pair in accs.items() for seed, a in enumerate(pair)]
    return [*found, clustering("pixels", 0, 0.6543)]


def some_detection() -> list[Result]:
    """Two partitions of two digits."""
    return [
        detection(system, digit, seed, base + 0.03 * digit + 0.01 * seed)
        for system, base in {"cae": 0.71, "cae-l2": 0.92}.items()
        for digit in (0, 1)
        for seed in (0, 1)
    ]


def write(folder: Path, results: list[Result]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        result.write(folder / f"{result.id}.json")


def write_images(folder: Path, result: Result) -> None:
    """Worst and best reconstructions of a run."""
    rng = np.random.default_rng(0)
    names = ("best", "worst", "best_reconstructions", "worst_reconstructions")
    images = {n: rng.integers(0, 256, (8, 16, 16, 1), np.uint8) for n in names}
    path = ResultsDir(folder).arrays(result.id)
    path.parent.mkdir(exist_ok=True)
    np.savez(path, allow_pickle=False, **images)


def write_figure1(folder: Path, fourth: bool = False) -> Figure1:
    """Maps of 30 points, of the panels of the paper and perhaps a fourth."""
    rng = np.random.default_rng(0)
    settings = {"data": "usps", "seed": 0, "epochs": EPOCHS, "images": 30, "library": "a library",
                "perplexity": 30, "neighbours": 10}  # fmt: skip
    panels = [*PANELS]
    if fourth:
        panels.append(FOURTH)
        settings["fourth"] = {"run": "0123456789ab", "epochs": 77}
    names = (*panels, "chance")
    measures = {n: {"purity": 0.9 - i / 7, "silhouette": 0.3 - i / 9} for i, n in enumerate(names)}
    maps = {name: rng.standard_normal((30, 2)) for name in panels}
    made = Figure1(settings, np.arange(30) % 10, maps, measures)
    made.write(folder / "figure1-usps.npz")
    return made


def write_all(folder: Path) -> None:
    """Write something for every section."""
    results = some_clustering()
    write(folder, [*results, *some_detection()])
    for result in results:
        write_images(folder, result)
    write_figure1(folder)
