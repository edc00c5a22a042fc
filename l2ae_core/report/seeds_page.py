"""The page of a folder of seeds: how far its runs agree, and where they do not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core.clustering.metrics import ari
from l2ae_core.clustering.sweep import silhouette
from l2ae_core.files import GALLERY, METRICS, SEEDS
from l2ae_core.gallery import Gallery
from l2ae_core.gallery.seeds import SeedsGallery, changes
from l2ae_core.readers import entry, read_json
from l2ae_core.report.clusters import flat, row_of, share, swatch, thumbnail
from l2ae_core.report.markup import Markup, element, paragraph, table, tile
from l2ae_core.report.page import Section, page
from l2ae_core.report.pictures import png
from l2ae_core.report.run_images import show_command
from l2ae_core.seeds.runs import SeedAgreement, SeedRuns, seed_dir
from l2ae_core.settings import run_settings
from l2ae_core.tables import counted
from l2ae_core.training.run import read_config
from l2ae_kernels.arrays import Array

# Of the median ARI of all pairs, after Steinley (2004), Psychological Methods 9(3): above these,
# recovery of clusters is good, or moderate.
STABLE, PARTLY = 0.80, 0.65
RULE = (
    f"Rule: the clusters are stable where the median ARI of all pairs of runs is {STABLE:.2f} or "
    f"more, partly stable from {PARTLY:.2f} on, else not. ARI is 1 for equal clusters and 0 on "
    "average for random ones; no label has a part in it. Runs that agree may still all be wrong."
)
MOST_RUNS = 24  # rows of a table of pairs that can be read
TYPICAL = 6  # images of a cluster


def seeds_page(
    path: Path,
    links: Mapping[int, str],
    found: SeedsGallery | None = None,
    galleries: Mapping[int, Gallery] | None = None,
) -> str:
    """Return the page of a folder of trained seeds; `links` lead to the pages of its runs.

    `found` and `galleries` are those of other images than of the training. Raises ValueError,
    naming the file, where one is damaged or trainings have not come to their end.
    """
    runs = SeedRuns.read(path)
    seeds, agreement = runs.seeds, runs.agreement
    if agreement is None:
        raise ValueError(f"report: not all runs in {path} are trained; `l2ae fit --resume --out "
                         f"{path}` goes on with them")  # fmt: skip
    if found is None and (path / GALLERY).exists():
        found = SeedsGallery.load(path, len(seeds))
    if found is not None and seeds[found.chosen] != agreement.chosen:
        raise ValueError(f"{path / GALLERY}: is of seed {seeds[found.chosen]} but {path / SEEDS} "
                         f"has chosen {agreement.chosen}")  # fmt: skip
    if galleries is None:
        galleries = {s: Gallery.load(seed_dir(path, s)) for s in seeds
                     if (seed_dir(path, s) / GALLERY).exists()}  # fmt: skip
    aris = None if found is None else pair_aris(found.labels)
    metrics = {seed: _metrics(seed_dir(path, seed)) for seed in seeds}
    how = show_command(path, read_config(seed_dir(path, seeds[0])))
    sections = [
        Section("glance", "At a glance", _glance(seeds, agreement, found, aris, links)),
        Section("runs", "Runs", [_runs(seeds, agreement, aris, metrics, galleries, links)]),
        Section("pairs", "Agreement of pairs", _pairs(seeds, agreement, aris)),
        Section("clusters", "Clusters that stay together",
                _clusters(found, galleries.get(agreement.chosen), links[agreement.chosen]), how),
        Section("unstable", "Images that change their cluster", _unstable(found), how),
    ]  # fmt: skip
    count = len(seeds)
    lead = paragraph(f"{count} trainings that differ in their seed alone.", class_="lead")
    return page(f"{path.resolve().name}: {count} seeds", [lead], sections)


def pair_aris(labels: Array) -> Array:
    """Return the ARI of all pairs of R runs, (R, R) float64, from labels (R, N)."""
    R = len(labels)
    values = np.eye(R)
    for a in range(R):
        for b in range(a):
            values[a, b] = values[b, a] = ari(labels[a], labels[b])
    return values


def verdict(aris: Array) -> tuple[str, float]:
    """Return how stable the clusters are by RULE, and the median ARI of all pairs."""
    median = float(np.median(aris[np.triu_indices(len(aris), 1)]))
    words = "stable" if median >= STABLE else "partly stable" if median >= PARTLY else "not stable"
    return words, median


def _glance(
    seeds: Sequence[int], agreement: SeedAgreement, found: SeedsGallery | None,
    aris: Array | None, links: Mapping[int, str],
) -> list[Markup]:  # fmt: skip
    chosen = agreement.chosen
    tiles = []
    if aris is not None and found is not None:
        words, median = verdict(aris)
        moved = changes(found.labels, found.chosen)
        tiles += [
            tile("Clusters", words, [f"median ARI of all pairs {median:.3f}"]),
            tile("Unstable images", share(moved.any(axis=0).mean()),
                 [f"of {moved.shape[1]:,} change their cluster in some run",
                  f"in a run, on average {share(moved.mean())}"]),
        ]  # fmt: skip
    apart = [s for s, v in zip(seeds, agreement.verdicts or [], strict=False) if v != "agrees"]
    told = f"seeds that stand apart: {', '.join(map(str, apart))}" if apart else "none stands apart"
    link = element("a", "its page", href=links[chosen])
    mean = agreement.mean_nmi[seeds.index(chosen)]
    tiles += [
        tile("Runs", f"{len(seeds)}", [told] if agreement.verdicts else []),
        tile("Nearest to the others", f"seed {chosen}",
             [f"mean NMI with the others {mean:.3f}", link]),
    ]  # fmt: skip
    return [element("dl", *tiles, class_="glance four"), paragraph(RULE, class_="note")]


def _metrics(run: Path) -> dict[str, Any]:
    file = run / METRICS
    metrics = read_json(file)
    where = str(file)
    settings = run_settings(run)
    weights = "self_labelled" if settings["self_label"] else settings["weights"]
    scores = entry(metrics, weights, dict, where=where)
    return {
        "loss": entry(metrics, f"reconstruction_mse.{settings['weights']}", float, where=where),
        "inertia": entry(metrics, f"{weights}.inertia", float, where=where),
        **({"acc": entry(scores, "acc", float, where=where)} if "acc" in scores else {}),
    }


def _runs(
    seeds: Sequence[int], agreement: SeedAgreement, aris: Array | None,
    metrics: Mapping[int, Mapping[str, Any]], galleries: Mapping[int, Gallery],
    links: Mapping[int, str],
) -> Markup:  # fmt: skip
    """One row a run."""
    labelled = all("acc" in found for found in metrics.values())
    columns = ["seed", "mean NMI", *(["mean ARI"] if aris is not None else []),
               "loss", "inertia", "silhouette", "smallest cluster",
               *(["ACC, %"] if labelled else []), "verdict"]  # fmt: skip
    rows: list[list[str]] = []
    for i, seed in enumerate(seeds):
        link = element("a", f"seed {seed}", href=links[seed])
        found, gallery = metrics[seed], galleries.get(seed)
        cells = [link, f"{agreement.mean_nmi[i]:.3f}"]
        if aris is not None:
            cells.append(f"{(aris[i].sum() - 1) / (len(seeds) - 1):.3f}")
        cells += [f"{found['loss']:.5f}", f"{found['inertia']:.5g}", *_of_gallery(gallery)]
        if labelled:
            cells.append(f"{100 * found['acc']:.2f}")
        said = "" if agreement.verdicts is None else agreement.verdicts[i]
        nearest = "nearest to the others" if seed == agreement.chosen else ""
        rows.append([*cells, ", ".join(filter(None, (nearest, said.replace("agrees", ""))))])
    note = (
        "Mean NMI and ARI: of the clusters of a run with those of each other run. A run stands "
        "apart where it agrees clearly less than the others do with each other."
    )
    return table(columns, rows, note=note)


def _of_gallery(gallery: Gallery | None) -> list[str]:
    """Return the silhouette of a run's codes and the size of its smallest cluster."""
    if gallery is None:
        return ["–", "–"]
    found = silhouette(gallery.codes, gallery.labels[gallery.sample])
    smallest = int(np.bincount(gallery.labels, minlength=gallery.n_clusters).min())
    return ["–" if np.isnan(found) else f"{found:.3f}", f"{smallest:,}"]


def _pairs(seeds: Sequence[int], agreement: SeedAgreement, aris: Array | None) -> list[Markup]:
    if len(seeds) > MOST_RUNS:
        return [paragraph(f"{len(seeds)} runs are too many for a table of pairs.")]
    tables = [_pair_table("NMI", np.array(agreement.nmi), seeds)]
    if aris is not None:
        tables.insert(0, _pair_table("ARI", aris, seeds))
    return [element("div", *tables, class_="pair-tables")]


def _pair_table(name: str, values: Array, seeds: Sequence[int]) -> Markup:
    """Return values (R, R) between the runs of `seeds`, coloured."""
    caption = f"{name} of two seeds"
    head = element("tr", element("th", "", scope="col"),
                   *(element("th", str(s), scope="col") for s in seeds))  # fmt: skip
    body = [
        element("tr", element("th", str(seed), scope="row"),
                *(element("td", "" if i == j else f"{value:.2f}",
                          style=None if i == j else f"--share: {50 * max(value, 0):.1f}%")
                  for j, value in enumerate(values[i].tolist())))
        for i, seed in enumerate(seeds)
    ]  # fmt: skip
    inner = element("table", element("caption", element("span", caption)), element("thead", head),
                    element("tbody", *body), class_="confusion")  # fmt: skip
    return element("div", inner, class_="wide", tabindex="0", role="region", aria_label=caption)


def _clusters(found: SeedsGallery | None, gallery: Gallery | None, link: str) -> list[Markup]:
    """For each cluster of the chosen run, which share of its images the other runs keep in it."""
    if found is None or gallery is None:
        return []
    kept = ~changes(found.labels, found.chosen)  # (R − 1, N)
    rows = []
    for k in range(gallery.n_clusters):
        members = found.labels[found.chosen] == k
        if not members.any():
            continue
        by_run = kept[:, members].mean(axis=1)
        images = [thumbnail(gallery, i) for i in row_of(gallery.picks.typical[k])[:TYPICAL]]
        name = element("a", swatch(k), f"Cluster {k}", href=f"{link}#cluster-{k}")
        rows.append((float(by_run.mean()), [
            name, element("div", *images, class_="row-thumbs"), f"{members.sum():,}",
            share(by_run.mean()), share(by_run.min()),
        ]))  # fmt: skip
    rows.sort(key=lambda row: row[0])
    note = (
        "Of the run nearest to the others, the least stable first: the share of the images of a "
        "cluster that stay in it in the other runs, on average and in the run that keeps fewest."
    )
    columns = ["cluster", "most typical", "images", "kept, mean", "kept, least"]
    return [table(columns, [cells for _, cells in rows], note=note, text_columns=2)]


def _unstable(found: SeedsGallery | None) -> list[Markup]:
    """The images that are elsewhere in most runs."""
    if found is None:
        return []
    moved = changes(found.labels, found.chosen).sum(axis=0)
    others = len(found.labels) - 1
    if not len(found.shown):
        return [paragraph("No image changes its cluster.")]
    cards = []
    for at, i in enumerate(found.shown.tolist()):
        name = found.names[at]
        facts = f"elsewhere in {moved[i]} of {counted(others, 'run')}"
        cards.append(element("div", png(flat(found.thumbnails[at]), f"{name}, {facts}", "thumb"),
                             element("div", paragraph(name, class_="name"), paragraph(facts)),
                             class_="moved"))  # fmt: skip
    note = (
        f"{len(cards)} of the {int((moved > 0).sum()):,} images that are in another cluster in "
        "some run, after the clusters of each run were matched with those of the run nearest to "
        "the others."
    )
    return [paragraph(note, class_="note"), element("div", *cards, class_="odds")]
