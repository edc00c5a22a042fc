"""Figure 1: t-SNE maps of the codes without and with the constraint, and a number beside each.

    a   z          of the network without the constraint
    b   z / |z|    of the same: brought to unit length after training
    c   u          of the network with the constraint
    d   u          of that with the constraint trained on warped images, then self-labelled; the
                   paper has no such panel, and it is drawn where it is asked for

    RESULTS/figure1-DATA.npz   the maps, labels, settings and measures; written map by map
    RESULTS/figure1-DATA.png   the picture of the panels that were asked for last

All maps start from the same positions, the first two principal components of the images,
which know no network. A map shows what t-SNE makes of the codes; the measures look at the
codes themselves:

    purity       share of the nearest neighbours of an image that are of its class, mean over images
    silhouette   (b − a) / max(a, b), a and b being the mean distances to the own and to the nearest
                 other class, mean over images: how compact and apart the classes are
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from l2ae_core import data as data_sets
from l2ae_core.array_readers import array_entry, json_entry
from l2ae_core.data import Dataset
from l2ae_core.files import CHECKPOINT
from l2ae_core.layers import L2Normalize
from l2ae_core.locks import locked
from l2ae_core.networks import AutoEncoder
from l2ae_core.npz import Kind
from l2ae_core.paper import tsne
from l2ae_core.paper.index import NAMES
from l2ae_core.paper.methods import self_labelled as method
from l2ae_core.paper.protocols import load_all
from l2ae_core.paper.run import ResultsDir, Run
from l2ae_core.progress import Bar
from l2ae_core.readers import entry
from l2ae_core.tables import counted
from l2ae_core.training.run import load_run
from l2ae_kernels.arrays import Array

KIND = Kind("l2ae-figure1", "a file of maps", optional=("entries",))
PANELS = {
    "a": "no constraint: z",
    "b": "no constraint, z/|z| after training",
    "c": "l2 constraint in training: u",
}
FOURTH = "d"
TEXTS = PANELS | {FOURTH: "l2, warped images, self-labelled: u"}
SYSTEMS = {"none": "cae", "l2": "cae-l2"}
SELF_LABELLED = "cae-l2-warp-self"
SETTINGS: dict[str, type] = {  # those that the picture and the page tell
    "data": str, "seed": int, "epochs": int, "images": int, "library": str, "perplexity": float,
    "neighbours": int,
}  # fmt: skip
IMAGES = 5000
NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class Figure1:
    """What `figure1-DATA.npz` holds; until all is drawn there are fewer maps.

    settings   what fixes the maps: data, seed, epochs, runs, library, …; with the fourth panel also
               "fourth", its run and the epochs before its self-labelling
    measures   panel → purity, silhouette; and "chance" → the same with shuffled labels
    """

    settings: dict[str, Any]
    labels: Array  # (N,)
    maps: dict[str, Array]  # panel → (N, 2)
    measures: dict[str, dict[str, float]]

    @property
    def complete(self) -> bool:
        """Whether the panels of the paper are drawn."""
        return set(PANELS) <= set(self.maps)

    @property
    def fourth_epochs(self) -> int | None:
        """Epochs of the fourth panel's network before its self-labelling; None without the map."""
        return self.settings["fourth"]["epochs"] if FOURTH in self.maps else None

    def note(self, panel: str) -> str:
        """Say how pure the neighbourhoods of a panel's codes are, beside chance."""
        here, chance = (self.measures[name]["purity"] for name in (panel, "chance"))
        return f"purity of {NEIGHBOURS} neighbours {here:.3f}, chance {chance:.3f}"

    def write(self, path: Path) -> None:
        """Write the file, atomically."""
        maps = {f"map_{name}": positions for name, positions in self.maps.items()}
        texts = {"settings": self.settings, "measures": self.measures}
        KIND.write(path, {"labels": self.labels, **maps}, texts, compress=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote; ValueError, naming it, when it is another."""
        entries, where = KIND.read(path), str(path)
        names = [name for name in TEXTS if f"map_{name}" in entries]
        maps = {name: array_entry(entries, f"map_{name}", 2, "f", where) for name in names}
        labels = array_entry(entries, "labels", 1, "iu", where)
        for name, found in maps.items():
            if found.shape != (len(labels), 2):
                raise ValueError(
                    f"{where}: {counted(len(labels), 'label')} but map {name} is {found.shape}"
                )
            if not len(found) or (np.ptp(found, axis=0) == 0).any():
                raise ValueError(f"{where}: map {name} has no extent")
        settings, measures = (json_entry(entries, n, where) for n in ("settings", "measures"))
        for name, kind in SETTINGS.items():
            entry(settings, name, kind, where=f"{where}: settings")
        if FOURTH in maps or "fourth" in settings:
            entry(settings, "fourth.epochs", int, where=f"{where}: settings")
        if settings["data"] not in NAMES:
            raise ValueError(f"{where}: settings: data is {settings['data']!r}")
        for panel in (*maps, "chance"):
            for name in ("purity", "silhouette"):
                entry(measures, f"{panel}.{name}", float, where=f"{where}: measures")
        return cls(settings, labels, maps, measures)


def maps_file(folder: Path, data: str) -> Path:
    """The file of the maps of a data set."""
    return folder / f"figure1-{data}.npz"


def picture_file(folder: Path, data: str) -> Path:
    """The picture of a data set."""
    return folder / f"figure1-{data}.png"


def figure1(
    folder: ResultsDir, data: str, seed: int, epochs: int, *, fourth_epochs: int | None = None,
    images: int = IMAGES, progress: bool = True,
) -> Path:  # fmt: skip
    """Draw Figure 1 from the networks of two runs in `folder`; return the path of the picture.

    With `fourth_epochs` it has a fourth panel, of the network that was self-labelled after so many
    epochs on warped images.

    `images` images of the train split, drawn by `seed`, or all where there are fewer. A panel that
    is drawn already, with equal settings, is kept. Raises ValueError when a network is not trained
    yet or was trained on another shape of images, or `figure1-DATA.npz` is damaged;
    BlockingIOError when another process draws the same.
    """
    runs = {n: Run("clustering", system, data, seed, epochs) for n, system in SYSTEMS.items()}
    networks = {norm: _network(folder, run) for norm, run in runs.items()}
    fourth = None
    if fourth_epochs is not None:
        fourth = Run("clustering", SELF_LABELLED, data, seed, fourth_epochs)
        networks["self-labelled"] = _self_labelled(folder, fourth)
    chosen = _choose(data, folder, images, seed)
    labels, codes = chosen.labels, _codes(networks, chosen)
    assert labels is not None
    settings = {
        "data": data, "seed": seed, "epochs": epochs, "images": len(chosen),
        "images_sha256": chosen.digest, "runs": {norm: run.id for norm, run in runs.items()},
        "library": tsne.library(), "perplexity": tsne.PERPLEXITY, "iterations": tsne.ITERATIONS,
        "start": "principal components of the images", "neighbours": NEIGHBOURS,
    }  # fmt: skip
    if fourth is not None:
        settings["fourth"] = {"run": fourth.id, "epochs": fourth.epochs}
    path, picture = maps_file(folder.path, data), picture_file(folder.path, data)
    with locked(path):
        found = _begin(path, settings, labels, codes, seed)
        start = tsne.start_positions(np.asarray(chosen.images).reshape(len(chosen), -1))
        missing = [name for name in codes if name not in found.maps]
        with Bar(total=len(missing) * tsne.ITERATIONS, desc="t-SNE", disable=not progress) as bar:
            for name in missing:
                bar.set_postfix_str(TEXTS[name])
                found.maps[name] = tsne.draw_map(codes[name], start, seed, bar.update)
                found.write(path)
        _picture(found, [*codes], picture)
    return picture


def measure(codes: Array, labels: Array) -> dict[str, float]:
    """Return purity and silhouette of codes (N, D) with classes (N,)."""
    from sklearn.metrics import silhouette_score
    from sklearn.neighbors import NearestNeighbors

    k = min(NEIGHBOURS, len(codes) - 1)
    index = NearestNeighbors(n_neighbors=k).fit(codes).kneighbors(return_distance=False)  # (N, k)
    purity = (labels[index] == labels[:, None]).mean()
    return {"purity": float(purity), "silhouette": float(silhouette_score(codes, labels))}


def _network(folder: ResultsDir, run: Run) -> AutoEncoder:
    if not folder.trained(run):
        raise _missing(folder, run, "table2")
    return load_run(folder.training(run))[0]


def _self_labelled(folder: ResultsDir, run: Run) -> AutoEncoder:
    checkpoint = folder.training(run) / CHECKPOINT
    if not folder.result(run).exists() or not checkpoint.exists():
        raise _missing(folder, run, "beyond")
    images = load_all(run, folder).images
    return method.train(run, folder, images, progress=False)[0]  # it is at its end: loaded


def _missing(folder: ResultsDir, run: Run, table: str) -> ValueError:
    result = folder.result(run)
    first = f"remove {result}, which has no network, and " if result.exists() else ""
    return ValueError(
        f"figure1: {run}, is not in {folder.path}; {first}make it by "
        f"`l2ae reproduce {table} --data {run.data} --systems {run.system} --seeds "
        f"{run.seed + 1} --epochs {run.epochs} --out {folder.path}`"
    )


def _choose(data: str, folder: ResultsDir, images: int, seed: int) -> Dataset:
    """Return a fixed random subset of the train split, in the order of the data set."""
    if images < 4:
        raise ValueError(f"figure1: images is {images} but expected at least 4")
    train = data_sets.load(data, data_dir=folder.data_dir, split="train")
    if train.labels is None:
        raise ValueError(f"figure1: {data} has no labels to colour the points by")
    count = min(images, len(train))
    return train.subset(np.sort(np.random.default_rng(seed).permutation(len(train))[:count]))


def _codes(networks: dict[str, AutoEncoder], chosen: Dataset) -> dict[str, Array]:
    """Return the codes (N, D) of each panel that is asked for."""
    z = networks["none"].encode(chosen.images)
    u = networks["l2"].encode(chosen.images)
    codes = {"a": z, "b": L2Normalize().forward(z)[0], "c": u}
    if "self-labelled" in networks:
        codes[FOURTH] = networks["self-labelled"].encode(chosen.images)
    return codes


def _begin(
    path: Path, settings: dict[str, Any], labels: Array, codes: dict[str, Array], seed: int
) -> Figure1:
    """Return what is on disk where its settings are these, else measures without a map.

    The fourth panel has settings of its own: another one leaves the first three, and a file that
    has one is taken where none is asked for.
    """
    if path.exists():
        found = Figure1.read(path)
        if _without_fourth(found.settings) == _without_fourth(settings):
            if settings.get("fourth") in (None, found.settings.get("fourth")):
                return found
            maps = {name: found.maps[name] for name in PANELS if name in found.maps}
            measures = found.measures | {FOURTH: measure(codes[FOURTH], labels)}
            return Figure1(settings, labels, maps, measures)
    shuffled = np.random.default_rng(seed).permutation(labels)
    measures = {name: measure(u, labels) for name, u in codes.items()}
    return Figure1(settings, labels, {}, measures | {"chance": measure(codes["a"], shuffled)})


def _without_fourth(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "fourth"}


def _picture(found: Figure1, panels: list[str], path: Path) -> None:
    from l2ae_core import figures

    s = found.settings
    images, epochs = counted(s["images"], "image"), counted(s["epochs"], "epoch")
    title = f"{images} of {NAMES[s['data']]}, seed {s['seed']}, {epochs}"
    if FOURTH in panels:
        title += f"; d: {counted(found.fourth_epochs or 0, 'epoch')}, then self-labelling"
    maps = {f"{name}: {TEXTS[name]}": found.maps[name] for name in panels}
    notes = {f"{name}: {TEXTS[name]}": found.note(name) for name in panels}
    figures.save(figures.class_maps(maps, found.labels, notes=notes, title=title), path)
